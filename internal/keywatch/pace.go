package keywatch

import "time"

// pace limits how often keys are tracked again while almost all pushes are in vain. The server's tracking table is then
// full: it evicts keys to track others, and without a limit the watched keys evict each other as fast as the server can
// work. EXISTS counts the keys that exist, which most keys do after a change that somebody waits for.
type pace struct {
	vain  int           // keys pushed and then found missing; each key found subtracts some
	room  int           // keys that may be sent in the current period
	since time.Duration // its start
}

const (
	vainFrom   = 10_000 // vain pushes from which the pace is limited
	vainMost   = 2 * vainFrom
	vainFor    = 16 // vain pushes that are usual for each key found
	paceKeys   = 100
	pacePeriod = 10 * time.Millisecond
)

// limit returns how many keys may be sent now. If none, it returns the time when some may.
func (p *pace) limit(now time.Duration) (keys int, at time.Duration) {
	if p.vain < vainFrom {
		return mostKeys, 0
	}
	if now >= p.since+pacePeriod {
		p.room, p.since = paceKeys, now
	}
	return p.room, p.since + pacePeriod
}

// sent records that keys were sent.
func (p *pace) sent(keys int) { p.room -= min(keys, p.room) }

// replied records the reply to an EXISTS: how many of its keys had been pushed, and how many of all exist.
func (p *pace) replied(pushed, exist int) {
	if exist > 0 {
		p.vain = max(0, p.vain-vainFor*exist)
		return
	}
	p.vain = min(p.vain+pushed, vainMost)
}
