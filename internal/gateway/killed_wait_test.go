package gateway

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// KillAtTheEndOfItsWait kills the only client in the moment in which end has ended its wait, and the client has not
// noticed.
func (g *Gateway) KillAtTheEndOfItsWait(t *testing.T, end func()) {
	c := g.list()[0]
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.parked
	end()
	testkit.Eventually(t, "the wait has ended", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.result != nil
	})
	c.disconnectLocked()
}
