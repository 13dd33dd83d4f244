//go:build linux

package serve

import (
	"os"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

// stuck is a gateway from which a process takes over that stops in the middle, with a client.
type stuck struct {
	*upgrades
	client *tooltest.Client
	s      *successor
}

func startStuck(t *testing.T) *stuck {
	t.Helper()
	u := startUpgrades(t, 4)
	c := &stuck{upgrades: u, client: u.dial(), s: u.dialed(t)}
	c.client.Do("+OK", "SET", "k", "v")
	c.s.hello(u.running, nil)
	c.s.until(takeover.Offer)
	return c
}

// fail makes the takeover fail. The other process does not end.
func (c *stuck) fail() {
	c.t.Helper()
	c.s.send(takeover.Message{Kind: takeover.Hello})
	c.log.Until(c.t, "the takeover failed: this gateway goes on", 1)
}

// waits checks that the gateway has a part of its connections, because the other process has not ended.
func (c *stuck) waits() {
	c.t.Helper()
	if most := c.running.client.Engine().Stats().Nodes[0].Max; most != 2 {
		c.t.Errorf("%d connections: want 2, while the other process runs", most)
	}
}

// The watchdog of systemd is fed while a failed takeover ends.
func TestTheWatchdogIsFedAfterAFailedTakeover(t *testing.T) {
	notifications(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	c := startStuck(t)
	c.fail()
	next := notifications(t) // at another path, without those from before the failure
	next(systemd.Alive)
	c.client.Do("v", "GET", "k")
	c.waits()
}

// A reload waits for the end of a failed takeover, and so does the next process.
func TestAReloadFollowsAFailedTakeover(t *testing.T) {
	c := startStuck(t)
	c.fail()
	c.hup <- syscall.SIGHUP
	c.client.Do("v", "GET", "k")
	c.waits()
	c.counts(t, 0, 0)
	next := begin(t, &c.flags)
	next.log.Until(t, "busy with another takeover or a reload", 1)
	c.s.end()
	c.log.Until(t, isActive, 1)
	c.succeed(next)
	c.client.Do("v", "GET", "k")
	c.bounded(4)
}

// A gateway stops at once in a takeover, although the other process neither continues nor ends. That process learns why.
func TestAStopDoesNotWaitForTheOtherProcess(t *testing.T) {
	for name, fail := range map[string]func(*stuck){"before it is ready": func(*stuck) {}, "after a failure": (*stuck).fail} {
		t.Run(name, func(t *testing.T) {
			c := startStuck(t)
			fail(c)
			c.stop <- os.Interrupt
			c.log.Until(t, "msg=stopping", 1)
			c.waits()
			if err := c.ended(); err != nil {
				t.Error(err)
			}
			c.s.until(takeover.Refusal)
		})
	}
}
