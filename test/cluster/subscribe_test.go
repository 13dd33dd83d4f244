package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
)

// receiver receives the messages of a subscription on its own goroutine.
type receiver struct {
	t    *testing.T
	sub  *respool.Subscription
	next chan respool.Message
}

func receive(t *testing.T, sub *respool.Subscription) *receiver {
	r := &receiver{t: t, sub: sub, next: make(chan respool.Message, 1<<16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := sub.Receive(context.Background())
			if err != nil {
				if !errors.Is(err, respool.ErrSubscriptionClosed) && !errors.Is(err, respool.ErrClosed) {
					t.Errorf("receive: %v", err)
				}
				return
			}
			r.next <- m
		}
	}()
	t.Cleanup(func() {
		_ = sub.Close()
		<-done
	})
	return r
}

// within limits the wait for a message that a defect loses. It is shorter than the interval at which clients ask for
// the map without a reason.
const within = 15 * time.Second

// message returns the next message or gap.
func (r *receiver) message() respool.Message {
	r.t.Helper()
	select {
	case m := <-r.next:
		return m
	case <-time.After(within):
		r.t.Fatal("no message arrived")
		return respool.Message{}
	}
}

// gap waits for a gap, and ignores messages before it.
func (r *receiver) gap() {
	r.t.Helper()
	for {
		if m := r.message(); m.Gap != nil {
			if m.Gap.Cause != respool.GapReconnected || m.Gap.Lost != -1 {
				r.t.Fatalf("gap %+v: want %s", m.Gap, respool.GapReconnected)
			}
			return
		}
	}
}

// until publishes one text after the other to a channel until one arrives, and ignores earlier messages. Each one after
// a gap is received, but the test does not know when the last gap has passed.
func (r *receiver) until(publish func(text string)) {
	r.t.Helper()
	r.untilPayload(func(text string) string {
		publish(text)
		return text
	})
}

// untilPayload is until for publish functions that return the payload of the message for a text.
func (r *receiver) untilPayload(publish func(text string) string) {
	r.t.Helper()
	deadline := time.Now().Add(within)
	for i := 0; time.Now().Before(deadline); i++ {
		text := publish(fmt.Sprintf("%d %d", time.Now().UnixNano(), i))
		for timeout := time.After(50 * time.Millisecond); ; {
			select {
			case m := <-r.next:
				if m.Gap == nil && m.Payload == text {
					return
				}
				continue
			case <-timeout:
			}
			break
		}
	}
	r.t.Fatal("no message arrives any more")
}

// channels returns shard channels in slots of all primaries.
func channels(c *clustertest.Cluster, each int) (all []string, of map[*clustertest.Node][]string) {
	of = map[*clustertest.Node][]string{}
	for i := 0; len(all) < each*len(c.Primaries()); i++ {
		name := fmt.Sprint("channel:", i)
		if n := c.OwnerOf(name); len(of[n]) < each {
			of[n] = append(of[n], name)
			all = append(all, name)
		}
	}
	return all, of
}

// hasShardChannels reports whether the servers have shard channels. If not, it checks that clients receive their error.
func hasShardChannels(t *testing.T, c *clustertest.Cluster, client *respool.Client) bool {
	t.Helper()
	if c.Nodes()[0].Has("SSUBSCRIBE") {
		return true
	}
	_, err := client.SSubscribe(t.Context(), "a", "b")
	if se := (*respool.ServerError)(nil); !errors.As(err, &se) {
		t.Errorf("SSUBSCRIBE at a server without it: %v: want the server's error", err)
	}
	return false
}

// spublish publishes a message to a shard channel at the node that serves it.
func spublish(c *clustertest.Cluster, channel string) func(text string) {
	return func(text string) { c.OwnerOf(channel).Do("SPUBLISH", channel, text) }
}

func TestShardChannelsFollowTheirSlots(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	const limit = 3
	client := open(t, c, "max_connections="+strconv.Itoa(limit))
	if !hasShardChannels(t, c, client) {
		return
	}
	watch := c.Watch()
	all, of := channels(c, 20)
	sub, err := client.SSubscribe(t.Context(), all...)
	if err != nil {
		t.Fatal(err)
	}
	r := receive(t, sub)
	round := 0
	// receiveAll receives one message of each channel. Those from before the end of a gap may come late or twice.
	receiveAll := func() {
		t.Helper()
		round++
		prefix, want := fmt.Sprint("round ", round, ":"), map[string]string{}
		for i, name := range all {
			text := prefix + strconv.Itoa(i)
			if err := client.Do(t.Context(), "SPUBLISH", name, text).Err(); err != nil {
				t.Fatal(err)
			}
			want[name] = text
		}
		for len(want) > 0 {
			m := r.message()
			if m.Gap != nil || !strings.HasPrefix(m.Payload, prefix) {
				continue
			}
			if want[m.Channel] != m.Payload {
				t.Fatalf("message %q on %s: want %q", m.Payload, m.Channel, want[m.Channel])
			}
			delete(want, m.Channel)
		}
	}
	receiveAll()

	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	moved := of[from]
	for _, name := range moved {
		c.MoveSlots(from, to, command.Slot(name))
	}
	r.gap()
	for _, name := range moved {
		r.until(spublish(c, name))
	}
	receiveAll()

	c.Failover(to, "")
	r.gap()
	for _, name := range append(moved, of[to]...) {
		r.until(spublish(c, name))
	}
	receiveAll()

	victim := c.OwnerOf(all[0])
	slot := command.Slot(all[0])
	victim.Kill()
	c.WaitOwner(t, slot, victim, within)
	r.gap()
	r.until(spublish(c, all[0]))
	for _, name := range all {
		r.until(spublish(c, name))
	}
	receiveAll()
	watch.Stop()
	for _, n := range c.Nodes() {
		if peak := watch.PeakOf(n); peak > limit {
			t.Errorf("%d connections to %s: want %d at most", peak, n.Addr(), limit)
		}
	}
}

// A removed node accepts subscriptions, but receives no messages. A client that only subscribes sends no commands that
// the node could refuse.
func TestAClassicSubscriptionLeavesARemovedNode(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	leaving, staying := c.AddPrimary(), c.Owner(0)
	c.MoveSlots(staying, leaving, 0, 1)
	client := open(t, c)
	sub := subscribeAt(t, c, client, leaving)
	r := receive(t, sub)
	publish := func(text string) { staying.Do("PUBLISH", "news", text) }
	r.until(publish)
	c.MoveSlots(leaving, staying, 0, 1)
	c.Remove(leaving)
	r.gap()
	r.until(publish)
	testkit.Await(t, "connections to the removed node", leaving.ClientCount, testkit.Is(0))
}

// subscribeAt returns a subscription to the channel news whose connection leads to a node.
func subscribeAt(t *testing.T, c *clustertest.Cluster, client *respool.Client, node *clustertest.Node) *respool.Subscription {
	t.Helper()
	for range 100 {
		sub, err := client.Subscribe(t.Context(), "news")
		if err != nil {
			t.Fatal(err)
		}
		if node.Do("PUBSUB", "NUMSUB", "news") == "news\n1" {
			return sub
		}
		_ = sub.Close()
		for _, n := range c.Nodes() {
			testkit.Await(t, "subscribers", func() string { return n.Do("PUBSUB", "NUMSUB", "news") }, testkit.Is("news\n0"))
		}
	}
	t.Fatal("no subscription uses the node")
	return nil
}

func TestASubscriptionSurvivesItsPrimary(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{})
	client := open(t, c)
	victim := c.Primaries()[1]
	r := receive(t, subscribeAt(t, c, client, victim))
	publish := func(text string) { c.Primaries()[0].Do("PUBLISH", "news", text) }
	r.until(publish)
	victim.Kill()
	r.gap()
	r.until(publish)
}

func TestMessagesOfAChannelKeepTheirOrder(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	client, err := respool.Open(t.Context(), c.URL())
	if err != nil {
		t.Fatal(err)
	}
	classic, err := client.Subscribe(t.Context(), "news")
	if err != nil {
		t.Fatal(err)
	}
	subs, shard := []*respool.Subscription{classic}, "PUBLISH" // a channel without subscribers
	if hasShardChannels(t, c, client) {
		sub, err := client.SSubscribe(t.Context(), "shard:1", "shard:2", "shard:3")
		if err != nil {
			t.Fatal(err)
		}
		subs, shard = append(subs, sub), "SPUBLISH"
	}
	const n = 1000
	pipe := client.Pipeline()
	for i := range n {
		if i%2 == 0 {
			pipe.Do("PUBLISH", "news", i).Do(shard, "shard:1", i)
			continue
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		pipe = client.Pipeline()
		for _, args := range [][]any{{"PUBLISH", "news", i}, {shard, "shard:1", i}} {
			if err := client.Do(t.Context(), args...).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, sub := range subs {
		r := receive(t, sub)
		for i := range n {
			if m := r.message(); m.Payload != strconv.Itoa(i) {
				t.Fatalf("message %d is %+v", i, m)
			}
		}
	}
	if err := client.Close(t.Context()); err != nil {
		t.Error(err)
	}
	c.WaitClients(t, 0, within)
}

func TestClientsOfTheGatewayFollowShardChannels(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Users: []string{"alice on >secret ~* &* +@all"}})
	client := open(t, c)
	if !hasShardChannels(t, c, client) {
		return
	}
	g, err := gateway.New(client.Engine(), gateway.Config{PassThrough: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Shutdown(context.Background()) })
	all, of := channels(c, 3)
	subscribe := "SSUBSCRIBE " + strings.Join(all, " ")
	clients := []*gatewayClient{dialGateway(t, g, "HELLO 2", subscribe), dialGateway(t, g, "HELLO 3 AUTH alice secret", subscribe)}
	check := func() {
		t.Helper()
		for _, name := range all {
			for _, client := range clients {
				client.until(spublish(c, name))
			}
		}
	}
	check()
	from, to := c.Owner(0), c.Owner(clustertest.Slots-1)
	for _, name := range of[from] {
		c.MoveSlots(from, to, command.Slot(name))
	}
	check()
	c.Failover(to, "")
	check()
}

// gatewayClient is a client of a gateway that receives messages.
type gatewayClient struct {
	t     *testing.T
	lines chan string
}

// dialGateway connects to a gateway and sends commands.
func dialGateway(t *testing.T, g *gateway.Gateway, commands ...string) *gatewayClient {
	t.Helper()
	conn, err := g.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := &gatewayClient{t: t, lines: make(chan string, 1<<16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(client.lines)
		for in := bufio.NewScanner(conn); in.Scan(); {
			client.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	if _, err := io.WriteString(conn, strings.Join(commands, "\r\n")+"\r\n"); err != nil {
		t.Fatal(err)
	}
	return client
}

// until publishes one text after the other until one arrives.
func (client *gatewayClient) until(publish func(text string)) {
	client.t.Helper()
	client.untilLine(func(text string) string {
		publish(text)
		return text
	})
}

// untilLine is until for publish functions that return the payload of the message for a text.
func (client *gatewayClient) untilLine(publish func(text string) string) {
	client.t.Helper()
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		text := publish(fmt.Sprint(time.Now().UnixNano()))
		for timeout := time.After(50 * time.Millisecond); ; {
			select {
			case line, ok := <-client.lines:
				if line == text {
					return
				}
				if !ok || strings.HasPrefix(line, "-") {
					client.t.Fatalf("the gateway sent %q, and closed the connection: %t", line, !ok)
				}
				continue
			case <-timeout:
			}
			break
		}
	}
	client.t.Fatal("no message arrives any more")
}
