package pubsub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestWhichNamesMatchKeyspaceNotifications(t *testing.T) {
	for _, c := range []struct {
		kind Kind
		name string
		want filter
	}{
		{Channel, "news", everything},
		{Channel, "__keyspace@0__:k", notifications},
		{Channel, "__keyevent@0__:del", notifications},
		{Channel, "__key*", everything},
		{Channel, "*", everything},
		{Shard, "__keyspace@0__:k", everything},
		{Pattern, "news.*", everything},
		{Pattern, "__keyspac*", others},
		{Pattern, "__keyspace", everything},
		{Pattern, "__keyspace@*", notifications},
		{Pattern, "__keyevent@0__:[de]*", notifications},
		{Pattern, "__key*__:*", others},
		{Pattern, "__keye*", others},
		{Pattern, "__keyx*", everything},
		{Pattern, "*", others},
		{Pattern, "?_keyspace@0__:k", others},
		{Pattern, `\__keyspace@0__:k`, others},
		{Pattern, "[_]_keyevent@*", others},
		{Pattern, "", everything},
	} {
		if got := filterOf(c.kind, c.name); got != c.want {
			t.Errorf("kind %d, %q: filter %d, want %d", c.kind, c.name, got, c.want)
		}
	}
}

// notifiedCluster is a fakeCluster whose hub has another node for ordinary topics.
type notifiedCluster struct {
	*fakeCluster
	any *fakeserver.Server
}

// onNotified runs a test with such a hub.
func onNotified(t *testing.T, test func(t *testing.T, c notifiedCluster)) {
	onCluster(t, Config{}, func(t *testing.T, c *fakeCluster) {
		n := notifiedCluster{c, newFake(t, func(_ *fakeserver.Conn, command []string) (string, bool) { return c.reply(2, command) })}
		source := newPool(t, &wire.Config{Addr: "fake", Protocol: 3, DialFunc: n.any.Dial}, setup{})
		c.hub = newHubOn(t, source, setup{hub: Config{Cluster: c}})
		test(t, n)
	})
}

// wantSorted is fakeCluster.want for commands in any order.
func (c notifiedCluster) wantSorted(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	c.set(func() { slices.Sort(c.seen) })
	c.want(t, want...)
}

// demote makes a node a replica; number from 1 on, 0: none.
func (c notifiedCluster) demote(number int) {
	c.set(func() { c.demoted = number })
	c.hub.Reroute()
}

func TestKeyspaceNotificationsComeFromAllPrimaries(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		const channel = "__keyspace@0__:k"
		s := mustSubscribe(t, c.hub, Channel, channel)
		c.wantSorted(t, "0 SUBSCRIBE "+channel, "1 SUBSCRIBE "+channel)
		again := mustSubscribe(t, c.hub, Channel, channel, "news")
		c.wantSorted(t, "0 SUBSCRIBE "+channel, "1 SUBSCRIBE "+channel, "2 SUBSCRIBE news")
		for i := range c.nodes {
			send(t, c.nodes[i], push("message", channel, fmt.Sprint("set", i)))
			wantMessages(t, s, fmt.Sprint(channel, " set", i))
			wantMessages(t, again, fmt.Sprint(channel, " set", i))
		}
		_ = again.Close()
		c.want(t, "2 UNSUBSCRIBE news")
		if err := s.Remove(channel); err != nil {
			t.Fatal(err)
		}
		c.wantSorted(t, "0 UNSUBSCRIBE "+channel, "1 UNSUBSCRIBE "+channel)
		if n := c.nodes[0].Open() + c.nodes[1].Open() + c.any.Open(); n != 0 {
			t.Errorf("%d connections without a subscription", n)
		}
		if n := len(c.hub.notified) + len(c.hub.links); n != 0 {
			t.Errorf("%d interests and links without a subscription", n)
		}
	})
}

func TestAPatternReceivesEachMessageOnce(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		s := mustSubscribe(t, c.hub, Pattern, "*")
		c.wantSorted(t, "0 PSUBSCRIBE *", "1 PSUBSCRIBE *", "2 PSUBSCRIBE *")
		message := push("pmessage", "*", "news", "x")
		for _, node := range []*fakeserver.Server{c.nodes[0], c.any, c.nodes[1]} { // nodes pass messages on
			send(t, node, message)
			synctest.Wait()
		}
		event := push("pmessage", "*", "__keyevent@0__:del", "k")
		send(t, c.nodes[1], event)
		synctest.Wait()
		send(t, c.any, event) // of node 0, which has one connection for each of both
		send(t, c.nodes[0], event)
		wantMessages(t, s, "* news x", "* __keyevent@0__:del k", "* __keyevent@0__:del k")
		synctest.Wait()
		send(t, c.any, push("pmessage", "*", "news", "y"))
		wantMessages(t, s, "* news y")
	})
}

func TestNotificationsFollowAFailover(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		const channel = "__keyspace@0__:k"
		c.demote(2)
		s := mustSubscribe(t, c.hub, Channel, channel)
		c.want(t, "0 SUBSCRIBE "+channel)
		withheld := true
		c.set(func() {
			c.answer = func(node int, command []string) (string, bool) {
				return "", withheld && node == 1 && command[0] == "SUBSCRIBE"
			}
		})
		c.demote(1)
		// The former primary sends the notifications of the new one too.
		send(t, c.nodes[0], push("message", channel, "late"))
		c.wantSorted(t, "0 UNSUBSCRIBE "+channel, "1 SUBSCRIBE "+channel)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if msg, err := s.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("received %q, %v before the new primary has confirmed", text(msg), err)
		}
		c.set(func() { withheld = false })
		send(t, c.nodes[1], push("subscribe", channel, "1")+push("message", channel, "set"))
		wantMessages(t, s, "gap(reconnected, -1)", channel+" set")
		if n := c.nodes[0].Open(); n != 0 {
			t.Errorf("%d connections to the replica", n)
		}
	})
}

func TestNotificationsComeFromANewPrimary(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		c.demote(2)
		s := mustSubscribe(t, c.hub, Pattern, "__key*")
		c.settle()
		c.demote(0)
		c.want(t, "1 PSUBSCRIBE __key*")
		c.hub.Reroute()
		c.want(t)
		send(t, c.nodes[1], push("pmessage", "__key*", "__keyevent@0__:set", "b"))
		wantMessages(t, s, "gap(reconnected, -1)", "__key* __keyevent@0__:set b")
		send(t, c.nodes[0], push("pmessage", "__key*", "__keyevent@0__:set", "a"))
		wantMessages(t, s, "__key* __keyevent@0__:set a")
	})
}

func TestACallWaitsForAllPrimaries(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		refused := "-NOPERM no\r\n"
		c.set(func() {
			c.answer = func(node int, command []string) (string, bool) {
				return refused, node == 1 && command[0] == "PSUBSCRIBE"
			}
		})
		_, err := c.hub.Subscribe(context.Background(), Pattern, []string{"__key*"})
		if se := (*resp.ServerError)(nil); !errors.As(err, &se) || se.Code != "NOPERM" {
			t.Fatalf("Subscribe: %v: want the refusal of one primary", err)
		}
		synctest.Wait()
		if n := len(c.hub.notified) + len(c.hub.links) + c.nodes[0].Open() + c.any.Open(); n != 0 {
			t.Errorf("%d interests, links and connections remain", n)
		}

		c.set(func() { refused = "" })
		done := make(chan error, 1)
		go func() {
			_, err := c.hub.Subscribe(context.Background(), Pattern, []string{"__key*"})
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Subscribe returned %v before the second primary has confirmed", err)
		default:
		}
		c.demote(2) // it leaves: nobody waits for it
		synctest.Wait()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// The primary comes while the call waits for another name.
func TestAFailedCallLeavesNothingAtANewPrimary(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		const channel = "__keyevent@0__:set"
		c.demote(2)
		c.set(func() {
			c.answer = func(_ int, command []string) (string, bool) {
				return "", command[0] == "SUBSCRIBE" && command[1] == "late"
			}
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			_, err := c.hub.Subscribe(ctx, Channel, []string{channel, "late"})
			done <- err
		}()
		synctest.Wait()
		c.demote(0)
		c.wantSorted(t, "0 SUBSCRIBE "+channel, "1 SUBSCRIBE "+channel, "2 SUBSCRIBE late")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("Subscribe: %v", err)
		}
		synctest.Wait()
		if n := len(c.hub.notified) + c.nodes[0].Open() + c.nodes[1].Open(); n != 0 {
			t.Errorf("%d interests and connections remain", n)
		}
	})
}

func TestAListenerLeavesNotificationsInOrder(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		var got []string
		l := c.hub.Listen(recorder{&got})
		defer l.Close()
		if err := l.Add(testContext(t), Pattern, []string{"__key*"}); err != nil {
			t.Fatal(err)
		}
		event := func(key string) string { return push("pmessage", "__key*", "__keyevent@0__:set", key) }
		c.set(func() {
			c.answer = func(node int, command []string) (string, bool) {
				// Messages that the node sent before it received the command.
				return event(fmt.Sprint("k", node)) + push("punsubscribe", "__key*", "0"), command[0] == "PUNSUBSCRIBE"
			}
		})
		l.Leave(testContext(t), Pattern, "__key*")
		slices.Sort(got)
		if want := "__key* k0 __key* k1"; strings.Join(got, " ") != want {
			t.Errorf("delivered %q: want %q", got, want)
		}
		synctest.Wait()
		if n := len(c.hub.notified) + len(c.hub.links); n != 0 {
			t.Errorf("%d interests and links remain", n)
		}
	})
}

func TestANewPrimaryGetsNoSubscriptionThatEnds(t *testing.T) {
	onNotified(t, func(t *testing.T, c notifiedCluster) {
		const channel = "__keyevent@0__:set"
		var got []string
		c.demote(2)
		l := c.hub.Listen(recorder{&got})
		defer l.Close()
		if err := l.Add(testContext(t), Channel, []string{channel}); err != nil {
			t.Fatal(err)
		}
		c.set(func() {
			c.answer = func(_ int, command []string) (string, bool) { return "", command[0] == "UNSUBSCRIBE" }
			c.seen = nil
		})
		left := make(chan struct{})
		go func() {
			defer close(left)
			l.Leave(testContext(t), Channel, channel)
		}()
		synctest.Wait()
		c.demote(0)
		c.want(t, "0 UNSUBSCRIBE "+channel)
		send(t, c.nodes[0], push("message", channel, "k")+push("unsubscribe", channel, "0"))
		<-left
		if want := []string{channel + " k"}; !slices.Equal(got, want) {
			t.Errorf("delivered %q: want %q", got, want)
		}
	})
}

// recorder is a Listener that records the payloads of messages.
type recorder struct{ got *[]string }

func (r recorder) Deliver(_ Kind, topic string, _, payload []byte) {
	*r.got = append(*r.got, topic+" "+string(payload))
}
func (recorder) Lost()                       {}
func (recorder) Refused(Kind, string, error) {}
