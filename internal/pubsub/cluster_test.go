package pubsub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// fakeCluster is two fake nodes. The first one serves all slots, except those that give moves.
type fakeCluster struct {
	nodes [2]*fakeserver.Server
	pools [2]*pool.Pool
	hub   *Hub

	mu      sync.Mutex
	second  map[int]bool                                    // slots of the second node
	demoted int                                             // number of the node that is no primary, from 1 on; 0: none
	answer  func(node int, command []string) (string, bool) // replies of the nodes; nil: their own
	refused func(node, slot int, err error)                 // nil: ignore
	seen    []string                                        // commands, with the number of the node
}

// onCluster runs a test with a hub on a fake cluster.
func onCluster(t *testing.T, cfg Config, test func(t *testing.T, c *fakeCluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCluster{second: map[int]bool{}}
		for i := range c.nodes {
			c.nodes[i] = newFake(t, func(_ *fakeserver.Conn, command []string) (string, bool) { return c.reply(i, command) })
			c.pools[i] = newPool(t, &wire.Config{Addr: "fake", Protocol: 3, DialFunc: c.nodes[i].Dial}, setup{})
		}
		cfg.Cluster = c
		c.hub = newHubOn(t, c.pools[0], setup{hub: cfg})
		test(t, c)
	})
}

func (c *fakeCluster) reply(node int, command []string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.HasSuffix(command[0], "SUBSCRIBE") {
		c.seen = append(c.seen, fmt.Sprintf("%d %s", node, strings.Join(command, " ")))
	}
	if c.answer == nil {
		return "", false
	}
	return c.answer(node, command)
}

func (c *fakeCluster) Source(slot int) Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.second[slot] {
		return c.pools[1]
	}
	return c.pools[0]
}

func (c *fakeCluster) Primaries() []Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sources []Source
	for i := range c.nodes {
		if i != c.demoted-1 {
			sources = append(sources, c.pools[i])
		}
	}
	return sources
}

func (c *fakeCluster) Refused(by Source, slot int, err error) {
	c.mu.Lock()
	refused := c.refused
	c.mu.Unlock()
	if refused != nil {
		refused(slices.Index(c.pools[:], by.(*pool.Pool)), slot, err)
	}
}

// set changes what the nodes do.
func (c *fakeCluster) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// give assigns the slot of a channel to a node, and reroutes.
func (c *fakeCluster) give(channel string, node int) {
	c.set(func() { c.second[command.Slot(channel)] = node == 1 })
	c.hub.Reroute()
}

// settle waits until all is quiet, and forgets the commands so far.
func (c *fakeCluster) settle() {
	synctest.Wait()
	c.set(func() { c.seen = nil })
}

// want waits until all is quiet, and checks the commands since the last call.
func (c *fakeCluster) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.seen, want) {
		t.Errorf("the nodes received %q: want %q", c.seen, want)
	}
	c.seen = nil
}

func movedTo(channel string) string {
	return fmt.Sprintf("-MOVED %d second:1\r\n", command.Slot(channel))
}

func push(parts ...string) string { return ">" + frame(parts...)[1:] }

func TestOneCommandSubscribesTheChannelsOfOneSlot(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		c.set(func() { c.second[command.Slot("far")] = true })
		s := mustSubscribe(t, c.hub, Shard, "{x}1", "{x}2", "far", "y")
		mustSubscribe(t, c.hub, Channel, "news", "sport")
		synctest.Wait()
		c.set(func() {
			for i, got := range c.seen {
				words := strings.Fields(got)
				slices.Sort(words[2:])
				c.seen[i] = strings.Join(words, " ")
			}
			slices.Sort(c.seen)
		})
		c.want(t, "0 SSUBSCRIBE y", "0 SSUBSCRIBE {x}1 {x}2", "0 SUBSCRIBE news sport", "1 SSUBSCRIBE far")
		send(t, c.nodes[0], push("smessage", "y", "1"))
		wantMessages(t, s, "y 1")
		send(t, c.nodes[1], push("smessage", "far", "2"))
		wantMessages(t, s, "far 2")
	})
}

func TestAChannelMovesWithTheMap(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		s := mustSubscribe(t, c.hub, Shard, "a", "b")
		other := mustSubscribe(t, c.hub, Shard, "b")
		c.settle()
		c.give("a", 1)
		c.want(t, "1 SSUBSCRIBE a")
		send(t, c.nodes[0], push("smessage", "a", "late")) // the map was ahead of the node
		send(t, c.nodes[0], push("smessage", "b", "1"))
		send(t, c.nodes[1], push("smessage", "a", "2"))
		wantMessages(t, s, "gap(reconnected, -1)")
		got := []string{text(mustReceive(t, s)), text(mustReceive(t, s))}
		slices.Sort(got)
		if !slices.Equal(got, []string{"a 2", "b 1"}) {
			t.Errorf("messages %q", got)
		}
		wantMessages(t, other, "b 1") // without a gap
		c.give("b", 1)
		wantMessages(t, other, "gap(reconnected, -1)")
		synctest.Wait()
		if n := c.nodes[0].Open(); n != 0 {
			t.Errorf("%d connections to the node without channels", n)
		}
	})
}

func TestALostNodeHoldsNoMessagesOfOthersBack(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		c.set(func() { c.second[command.Slot("far")] = true })
		s := mustSubscribe(t, c.hub, Shard, "near", "near2", "far")
		silent := true
		c.set(func() {
			c.answer = func(_ int, words []string) (string, bool) {
				return "", silent && words[0] == "SSUBSCRIBE" && words[1] == "near2"
			}
		})
		send(t, c.nodes[0], push("smessage", "near", "1"))
		wantMessages(t, s, "near 1")
		c.nodes[0].CloseConns()
		time.Sleep(time.Second)
		for i := range 3 {
			send(t, c.nodes[1], push("smessage", "far", fmt.Sprint(i)))
			wantMessages(t, s, fmt.Sprint("far ", i))
		}
		send(t, c.nodes[0], push("smessage", "near", "2")) // is subscribed again, but near2 is not
		synctest.Wait()
		c.set(func() { silent = false })
		c.nodes[0].CloseConns()
		time.Sleep(time.Second)
		send(t, c.nodes[0], push("smessage", "near2", "3"))
		send(t, c.nodes[1], push("smessage", "far", "4"))
		wantMessages(t, s, "gap(reconnected, -1)", "near 2", "gap(reconnected, -1)", "near2 3", "far 4")
	})
}

func TestAMovedReplyIsReportedAndFollowed(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		var reports []string
		c.answer = func(node int, command []string) (string, bool) {
			return movedTo("a"), node == 0 && command[0] == "SSUBSCRIBE"
		}
		c.refused = func(node, slot int, err error) {
			reports = append(reports, fmt.Sprint(node, " ", slot, " ", err))
			c.give("a", 1)
		}
		s := mustSubscribe(t, c.hub, Shard, "a")
		c.want(t, "0 SSUBSCRIBE a", "1 SSUBSCRIBE a")
		slot := command.Slot("a")
		if want := []string{fmt.Sprintf("0 %d MOVED %d second:1", slot, slot)}; !slices.Equal(reports, want) {
			t.Errorf("reports %q: want %q", reports, want)
		}
		send(t, c.nodes[1], push("smessage", "a", "1"))
		wantMessages(t, s, "a 1") // it had never been subscribed before: no gap
	})
}

func TestAnEndedChannelIsSubscribedAgain(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		var reports []error
		c.refused = func(_, _ int, err error) { reports = append(reports, err) }
		s := mustSubscribe(t, c.hub, Shard, "a")
		c.want(t, "0 SSUBSCRIBE a")
		send(t, c.nodes[0], push("smessage", "a", "1"))
		send(t, c.nodes[0], push("sunsubscribe", "a", "0"))
		wantMessages(t, s, "a 1", "gap(reconnected, -1)")
		c.want(t, "0 SSUBSCRIBE a")
		if !slices.Equal(reports, []error{nil}) {
			t.Errorf("reports %v: want one without an error", reports)
		}
		send(t, c.nodes[0], push("sunsubscribe", "unknown", "0"))
		send(t, c.nodes[0], push("smessage", "a", "2"))
		wantMessages(t, s, "a 2")
	})
}

// The slot moves while SUNSUBSCRIBE is in flight. The push looks like its reply, which is an error.
func TestTheReplyBehindAnEndIsIgnored(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		s := mustSubscribe(t, c.hub, Shard, "a", "b", "{a}2")
		c.settle()
		c.set(func() {
			c.answer = func(_ int, command []string) (string, bool) {
				return push("sunsubscribe", "a", "2") + movedTo("a"), command[0] == "SUNSUBSCRIBE"
			}
		})
		if err := s.Remove("a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		send(t, c.nodes[0], push("smessage", "b", "1"))
		wantMessages(t, s, "b 1")
		if n := c.nodes[0].Accepted(); n != 1 {
			t.Errorf("%d connections: want 1", n)
		}
	})
}

func TestACallWaitsWhileTheClusterIsDown(t *testing.T) {
	onCluster(t, Config{RefusalLimit: time.Minute}, func(t *testing.T, c *fakeCluster) {
		down := true
		c.answer = func(_ int, command []string) (string, bool) {
			return "-CLUSTERDOWN Hash slot not served\r\n", down && command[0] == "SSUBSCRIBE"
		}
		done := make(chan error, 1)
		go func() {
			_, err := c.hub.Subscribe(context.Background(), Shard, []string{"a"})
			done <- err
		}()
		time.Sleep(10 * time.Second)
		c.set(func() {
			if n := len(c.seen); n < 10 || n > 200 {
				t.Errorf("%d attempts in 10 s", n)
			}
			down = false
		})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c.set(func() { down = true })
		_, err := c.hub.Subscribe(context.Background(), Shard, []string{"b"})
		if se := (*resp.ServerError)(nil); !errors.As(err, &se) || se.Code != "CLUSTERDOWN" {
			t.Errorf("after the limit: %v: want the server's error", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = c.hub.Subscribe(ctx, Shard, []string{"c"})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "CLUSTERDOWN") {
			t.Errorf("after the end of ctx: %v: want an error that names the refusal", err)
		}
		if n := c.nodes[0].Accepted(); n != 1 {
			t.Errorf("%d connections: want 1", n)
		}
	})
}

func TestNodesThatNameEachOtherAreAskedRarely(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		loop := true
		c.answer = func(_ int, command []string) (string, bool) { return movedTo("a"), loop && command[0] == "SSUBSCRIBE" }
		c.refused = func(node, _ int, _ error) { c.give("a", 1-node) }
		done := make(chan error, 1)
		go func() {
			_, err := c.hub.Subscribe(context.Background(), Shard, []string{"a"})
			done <- err
		}()
		time.Sleep(2 * time.Second)
		c.set(func() {
			if n := len(c.seen); n < 5 || n > 60 {
				t.Errorf("%d attempts in 2 s", n)
			}
			loop = false
		})
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// ended is a source of a node that has left.
type ended struct{}

func (ended) AcquireSubscriber(context.Context) (*pool.Conn, error) { return nil, ErrRouteChanged }

func TestASourceWithoutANodeHandsItsTopicsOver(t *testing.T) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		asked := 0
		c.hub.cfg.Cluster = sourceFunc(func() Source {
			if asked++; asked == 1 {
				return ended{}
			}
			return c.pools[1]
		})
		mustSubscribe(t, c.hub, Shard, "a")
		c.want(t, "1 SSUBSCRIBE a")
	})
}

// sourceFunc is a cluster that ignores refusals.
type sourceFunc func() Source

func (f sourceFunc) Source(int) Source        { return f() }
func (f sourceFunc) Primaries() []Source      { return []Source{f()} }
func (sourceFunc) Refused(Source, int, error) {}
