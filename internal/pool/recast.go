package pool

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Key says what the conn works as.
func (c *Conn) Key() Key {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	return c.group.key
}

// Rekey takes its holder's word that the conn works as another key by now: it
// belongs to that key's group when it comes back.
func (c *Conn) Rekey(k Key) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.group = c.pool.Group(k)
}

// needsSlotLocked reports whether somebody waits in the group for whom it has no
// conn, nor one on its way.
func (g *Group) needsSlotLocked() bool { return g.missingLocked() > 0 }

// missingLocked is how many conns the group needs beyond those that it has and
// that are on their way to it.
func (g *Group) missingLocked() int {
	p := g.p
	lanes := 0
	if g.waitLane.n > 0 && g.openLaneLocked() == nil {
		lanes = 1
	}
	conns := min(g.waitConn.n, p.maxLentLocked()-p.lentLocked())
	return max(lanes, 0) + max(conns, 0) - g.dialing - g.turning - len(g.stack)
}

// recastLocked turns idle conns of groups that need them less into what those need who
// have waited longest, while the bound lets no further conn be dialed.
func (p *Pool) recastLocked() {
	if len(p.groups) == 1 || p.usedLocked() < p.max {
		return
	}
	for _, g := range p.byAgeLocked() {
		for g.oldest() != ^uint64(0) && g.needsSlotLocked() {
			c := p.oldestIdleLocked(g)
			if c == nil {
				return
			}
			if p.cfg.Recast == nil {
				p.closeLocked(c, "its place is needed for another user, database or protocol")
				break // the dial follows when its slot is free
			}
			p.turnLocked(c, g)
		}
	}
}

// oldestIdleLocked takes the conn that was idle longest in other groups than g, or
// in all if that is nil.
func (p *Pool) oldestIdleLocked(g *Group) *Conn {
	var oldest *Conn
	for _, h := range p.groups {
		if h == g || g != nil && h.oldest() < g.oldest() && h.needsSlotLocked() {
			continue
		}
		for _, c := range h.stack {
			if c.lane.Depth() >= 0 && (oldest == nil || c.idleSince.Before(oldest.idleSince)) {
				oldest = c
			}
		}
	}
	if oldest != nil {
		oldest.group.dropLocked(oldest)
	}
	return oldest
}

// dropLocked takes a conn from the idle ones.
func (g *Group) dropLocked(c *Conn) {
	if i := slices.Index(g.stack, c); i >= 0 {
		g.stack = slices.Delete(g.stack, i, i+1)
	}
}

// turnLocked begins to make a conn, which is in no list, one of g's.
func (p *Pool) turnLocked(c *Conn, g *Group) {
	p.moveLocked(c, turning)
	c.lane.Undrain(nil)
	g.turning++
	p.turns++
	p.statistic.recasts++
	ctx, from := p.dials, c.group.key
	go func() {
		err := p.cfg.Recast(ctx, c.lane, from, g.key)
		p.mu.Lock()
		p.turns--
		g.turning--
		p.turnedLocked(c, g, err)
		p.serveLocked()
		p.unlock()
	}()
}

func (p *Pool) turnedLocked(c *Conn, g *Group, err error) {
	switch {
	case err != nil:
		if keyed(err) {
			g.failLocked(err)
		}
		if c.class == turning {
			p.closeLocked(c, "it could not be given another user, database or protocol")
		}
	case c.class == turning:
		c.group = g.listedLocked()
		p.moveLocked(c, idle)
		c.idleSince = time.Now()
		c.group.stack = append(c.group.stack, c)
	}
}

// failLocked ends the waits of a group whose key is no good.
func (g *Group) failLocked(err error) {
	g.laneWanted = 0
	for _, q := range g.queues() {
		for q.n > 0 {
			g.p.grantLocked(q, grant{err: err})
		}
	}
}

// keyed reports whether a failure is that of the key, a wrong password for one, and
// says nothing of the node.
func keyed(err error) bool {
	var se *resp.ServerError
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code {
	case "WRONGPASS", "NOPERM", "NOPROTO", "NOAUTH":
		return true
	}
	return se.Code == "ERR" && (strings.Contains(se.Message, "DB index") || strings.Contains(se.Message, "AUTH") ||
		strings.Contains(se.Message, "SELECT"))
}
