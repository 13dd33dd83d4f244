//go:build linux

package serve

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/takeover"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// last waits until all of the gateways but one have handed over, and returns that one.
func last(t *testing.T, all ...*running) *running {
	t.Helper()
	handed := func(r *running) bool { return strings.Contains(r.log.String(), `msg="handed over"`) }
	testkit.Eventually(t, "one gateway is left", func() bool {
		n := 0
		for _, r := range all {
			if handed(r) {
				n++
			}
		}
		return n == len(all)-1
	})
	left := all[slices.IndexFunc(all, func(r *running) bool { return !handed(r) })]
	for _, r := range all {
		if r == left {
			continue
		}
		if err := r.ended(); err != nil {
			t.Errorf("%v\n%s", err, r.log)
		}
	}
	return left
}

// Of processes that start at the same time without a running one, one starts, and the others take over in turn.
func TestProcessesStartAtTheSameTime(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	count := s.WatchClients()
	flags := upgradable(t, s.URL()+"?max_connections=4")
	var all []*running
	for range 4 {
		all = append(all, begin(t, &flags))
	}
	r := last(t, all...)
	testkit.Eventually(t, "it has all connections", func() bool { return r.client.Engine().Stats().Nodes[0].Max == 4 })
	if peak := count.Stop(); peak > 4 {
		t.Errorf("%d connections: want 4 at most", peak)
	}
}

// Processes that take over at the same time do so in turn. No client is disconnected.
func TestProcessesTakeOverAtTheSameTime(t *testing.T) {
	u := startUpgrades(t, 4)
	client := u.dial()
	client.Do("+OK", "SET", "k", "v")
	for range 5 {
		u.running = last(t, u.running, begin(t, &u.flags), begin(t, &u.flags), begin(t, &u.flags))
		client.Do("v", "GET", "k")
	}
	u.bounded(4)
}

// endpoint returns the endpoint of an offer.
func (s *successor) endpoint(path string, offer takeover.Message) *takeover.Endpoint {
	s.t.Helper()
	i := slices.IndexFunc(offer.Names, func(l takeover.Listener) bool { return l.Takeover })
	f := os.NewFile(uintptr(s.files[i]), path)
	s.files = slices.Delete(s.files, i, i+1)
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := takeover.Adopt(path, l)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(e.Close)
	return e
}

// A process that starts between the end of the old process's offers and the first offer of the new one waits. It takes over from
// the one that is left.
func TestAProcessStartsBetweenTheOffersOfTwo(t *testing.T) {
	u := startUpgrades(t, 4)
	client := u.dial()
	client.Do("+OK", "SET", "k", "v")
	s := u.dialed(t)
	s.hello(u.running, nil)
	e := s.endpoint(u.flags.Takeover, s.until(takeover.Offer))
	s.ready(takeover.Go)
	third := begin(t, &u.flags)
	c, err := e.Accept() // it has found a process
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	e.Close()
	s.end()
	u.succeed(third)
	client.Close()
	u.dial().Do("v", "GET", "k")
	u.bounded(4)
}

// A new process of an earlier version replaces the path. If it ends in the takeover, the gateway listens there again.
func TestAProcessThatReplacesThePathEnds(t *testing.T) {
	u := startUpgrades(t, 4)
	s := u.dialed(t)
	s.takeOver(u.running, takeover.Go)
	e, err := takeover.Listen(u.flags.Takeover)
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	s.end()
	u.log.Until(t, "the new process ended during the takeover", 1)
	testkit.Eventually(t, "the gateway listens", func() bool {
		c, err := takeover.Dial(u.flags.Takeover)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	u.succeed(u.next())
	u.dial().Do("+PONG", "PING")
}

// A process that listens, and is stopped, is not mistaken for one that has ended.
func TestAStoppedProcessIsNotReplaced(t *testing.T) {
	t.Parallel() // it takes helloTimeout
	flags := upgradable(t, "redis://127.0.0.1:1")
	e, err := takeover.Listen(flags.Takeover)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := notServed(t, &flags); err == nil || !strings.Contains(err.Error(), "the process that listens there is stopped") {
		t.Errorf("%v: want an error", err)
	}
}
