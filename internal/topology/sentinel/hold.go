package sentinel

// holdRest is how many times HoldFor must pass after a hold before the next one:
// a sentinel whose failovers come to nothing can't keep writes waiting.
const holdRest = 5

// hold has writes wait while a sentinel promotes a replica: it has announced the
// order, the replica stops to follow, and what the old primary acknowledges
// meanwhile is lost at the switch.
func (m *Machine) hold(p *peer, msg message) {
	if m.cfg.HoldFor <= 0 || !m.known || msg.of != m.primary || msg.addr == m.primary || m.heldUntil != 0 || m.now < m.holdAgain {
		return
	}
	m.heldUntil = m.now + m.cfg.HoldFor
	m.holdAgain = m.heldUntil + holdRest*m.cfg.HoldFor
	m.do(Hold{Epoch: m.epoch, Reason: p.addr + " promotes " + m.cfg.MapAddr(msg.addr)})
}

// expireHold ends a hold that led to nothing.
func (m *Machine) expireHold() {
	if m.heldUntil != 0 && m.now >= m.heldUntil {
		m.heldUntil = 0
		m.do(Unhold{Epoch: m.epoch})
		m.lookNow()
	}
}
