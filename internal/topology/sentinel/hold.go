package sentinel

// holdRest is the number of times that HoldFor must pass between two holds. A sentinel whose failovers all fail must
// not delay writes permanently.
const holdRest = 5

// hold makes writes wait while a sentinel promotes a replica. After this announcement the replica stops following,
// and the switch discards the writes that the old primary acknowledges meanwhile.
func (m *Machine) hold(p *peer, msg message) {
	if m.cfg.HoldFor <= 0 || !m.known || msg.of != m.primary || msg.addr == m.primary || m.heldUntil != 0 || m.now < m.holdAgain {
		return
	}
	m.heldUntil = m.now + m.cfg.HoldFor
	m.holdAgain = m.heldUntil + holdRest*m.cfg.HoldFor
	m.do(Hold{Epoch: m.epoch, Reason: p.addr + " promotes " + m.cfg.MapAddr(msg.addr)})
}

// expireHold ends a hold without a failover.
func (m *Machine) expireHold() {
	if m.heldUntil != 0 && m.now >= m.heldUntil {
		m.heldUntil = 0
		m.do(Unhold{Epoch: m.epoch})
		m.lookNow()
	}
}
