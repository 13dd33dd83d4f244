package gateway_test

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// onEachFar is onEach with a delay between the gateway and the server. Commands wait for subscriptions without a limit, since the
// machine may be busy.
func onEachFar(t *testing.T, test func(t *testing.T, s *redistest.Server, h *testGateway, dial func() *peer)) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	relay := faultnet.Start(t, s.PlainAddr())
	relay.Delay(3*time.Millisecond, 0)
	onEachBefore(t, s, relay.Addr(), gateway.Config{SubscribeWait: time.Hour}, func(t *testing.T, h *testGateway, dial func() *peer) {
		test(t, s, h, dial)
	})
}

// topicKind is a kind of subscription for a client of one protocol.
type topicKind struct {
	name, prefix, publish, topic string
	proto                        int
}

// eachTopicKind runs a test for every kind and both protocols. It skips shards if the server lacks them.
func eachTopicKind(t *testing.T, s *redistest.Server, dial func() *peer, test func(t *testing.T, k topicKind)) {
	shards := s.Has("SSUBSCRIBE")
	for _, k := range []topicKind{
		{name: "channel", publish: "PUBLISH", topic: "news"},
		{name: "pattern", prefix: "p", publish: "PUBLISH", topic: "n?ws"},
		{name: "shard", prefix: "s", publish: "SPUBLISH", topic: "news"},
	} {
		for _, k.proto = range []int{2, 3} {
			t.Run(fmt.Sprintf("%s-RESP%d", k.name, k.proto), func(t *testing.T) {
				if shards || k.prefix != "s" {
					test(t, k)
				} else if got := k.client(dial).ask(k.subscribe()); !strings.HasPrefix(got, "-ERR unknown command") {
					t.Error(got)
				}
			})
		}
	}
}

// client dials a client of the protocol.
func (k topicKind) client(dial func() *peer) *peer {
	p := dial()
	p.ask(fmt.Sprintf("HELLO %d", k.proto))
	return p
}

func (k topicKind) array(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%c%d|", map[int]byte{2: '*', 3: '>'}[k.proto], len(words))
	for _, w := range words {
		if w[0] == ':' {
			b.WriteString(w + "|")
			continue
		}
		b.WriteString(bulk(w))
	}
	return b.String()
}

func (k topicKind) subscribe() string   { return strings.ToUpper(k.prefix) + "SUBSCRIBE " + k.topic }
func (k topicKind) unsubscribe() string { return strings.ToUpper(k.prefix) + "UNSUBSCRIBE" }
func (k topicKind) confirmed() string   { return k.array(k.prefix+"subscribe", k.topic, ":1") }
func (k topicKind) ended() string       { return k.array(k.prefix+"unsubscribe", k.topic, ":0") }

func (k topicKind) message(text string) string {
	if k.prefix == "p" {
		return k.array("pmessage", k.topic, "news", text)
	}
	return k.array(k.prefix+"message", k.topic, text)
}

// sendSubscription sends commands that end with a subscription, and waits until the gateway has received it. other is
// another client.
func (p *peer) sendSubscription(other *peer, lines ...string) {
	p.t.Helper()
	id := strings.Trim(p.ask("CLIENT ID"), ":|")
	p.send(lines...)
	testkit.Eventually(p.t, "the gateway has received the subscription", func() bool {
		return strings.Contains(other.ask("CLIENT LIST ID "+id), "subscribe ")
	})
}

func TestNoPublishOvertakesASubscription(t *testing.T) {
	onEachFar(t, func(t *testing.T, s *redistest.Server, h *testGateway, dial func() *peer) {
		eachTopicKind(t, s, dial, func(t *testing.T, k topicKind) {
			q := dial()
			q.ask("GET none") // opens its lane
			for _, others := range []bool{false, true} {
				p := k.client(dial)
				p.sendSubscription(q, "GET none", k.subscribe()) // it waits for the earlier reply
				if got := q.ask(k.publish + " news hello"); got != ":1|" {
					t.Errorf("with others %v, PUBLISH counted %s behind a subscription", others, got)
				}
				p.frame()
				p.want(k.confirmed(), k.message("hello"))
				if others {
					p.Close()
				}
				defer p.Close()
			}
		})
	})
}

// A server reports subscribers of all connections.
func TestNoSubscriberQueryOvertakesASubscription(t *testing.T) {
	onEachFar(t, func(t *testing.T, s *redistest.Server, h *testGateway, dial func() *peer) {
		for _, c := range []struct{ before, subscribe, query, want string }{
			{"", "SUBSCRIBE a b", "PUBSUB NUMSUB a b none", "*6|$1|a|:1|$1|b|:1|$4|none|:0|"},
			{"", "SUBSCRIBE a", "PUBSUB CHANNELS", "*1|$1|a|"},
			{"", "PSUBSCRIBE a*", "PUBSUB NUMPAT", ":1|"},
			{"", "SSUBSCRIBE a", "PUBSUB SHARDNUMSUB a", "*2|$1|a|:1|"},
			{"", "SSUBSCRIBE a", "PUBSUB SHARDCHANNELS", "*1|$1|a|"},
			{"", "PSUBSCRIBE a*", "MULTI;PUBSUB NUMPAT;EXEC", "*1|:1|"},
			{"WATCH k", "PSUBSCRIBE a*", "PUBSUB NUMPAT", ":1|"},
			{"WATCH k", "PSUBSCRIBE a*", "MULTI;PUBSUB NUMPAT;EXEC", "*1|:1|"},
		} {
			shards := s.Version().Since(7, 0)
			if !shards && strings.HasPrefix(c.subscribe, "SS") {
				continue
			}
			p, q, other := dial(), dial(), dial()
			q.ask(cmp.Or(c.before, "GET none"))
			p.sendSubscription(other, c.subscribe)
			commands := strings.Split(c.query, ";")
			q.send(commands...)
			for range commands[1:] {
				q.frame()
			}
			if got := strings.ReplaceAll(q.frame(), "\r\n", "|"); got != c.want {
				t.Errorf("%q, %s behind %s: %s: want %s", c.before, c.query, c.subscribe, got, c.want)
			}
			p.Close()
			testkit.Eventually(t, "no client is subscribed", func() bool {
				return s.Do("PUBSUB", "NUMPAT") == "0" && s.Do("PUBSUB", "CHANNELS") == "" && (!shards || s.Do("PUBSUB", "SHARDCHANNELS") == "")
			})
		}
	})
}

func TestNoIndirectPublishOvertakesASubscription(t *testing.T) {
	const message, notification = "*3|$7|message|$4|news|$5|hello|", "*4|$8|pmessage|$8|*__:news|$19|__keyspace@0__:news|$3|set|"
	onEachFar(t, func(t *testing.T, s *redistest.Server, h *testGateway, dial func() *peer) {
		s.Do("CONFIG", "SET", "notify-keyspace-events", "KEA")
		for _, c := range []struct {
			name, before, commands, topic, want string
		}{
			{"transaction", "", "MULTI;PUBLISH news hello;EXEC", "SUBSCRIBE news", message},
			{"script", "", "EVAL return(redis.call('publish','news','hello')) 0", "SUBSCRIBE news", message},
			{"client that watches", "WATCH k", "PUBLISH news hello", "SUBSCRIBE news", message},
			{"transaction that watches", "WATCH k", "MULTI;PUBLISH news hello;EXEC", "SUBSCRIBE news", message},
			{"pipeline", "", "GET none;PUBLISH news hello;GET none", "SUBSCRIBE news", message},
			{"notification", "", "SET news hello", "PSUBSCRIBE *__:news", notification},
			{"notification of a transaction", "", "MULTI;SET news hello;EXEC", "PSUBSCRIBE *__:news", notification},
		} {
			t.Run(c.name, func(t *testing.T) {
				p, q, other := dial(), dial(), dial()
				q.ask(cmp.Or(c.before, "GET none"))
				p.sendSubscription(other, c.topic)
				commands := strings.Split(c.commands, ";")
				q.send(commands...)
				for range commands {
					q.frame()
				}
				p.frame()
				p.want(c.want)
				p.Close()
				testkit.Eventually(t, "no client is subscribed", func() bool { return q.ask("PUBSUB NUMPAT") == ":0|" && q.ask("PUBLISH news none") == ":0|" })
			})
		}
	})
}

// The test publishes on the server directly: the message is in flight when the subscription ends.
func TestCountedMessagesPrecedeTheUnsubscription(t *testing.T) {
	onEachFar(t, func(t *testing.T, s *redistest.Server, h *testGateway, dial func() *peer) {
		eachTopicKind(t, s, dial, func(t *testing.T, k topicKind) {
			for _, others := range []int{0, 1} {
				for _, end := range []struct{ command, reply string }{
					{k.unsubscribe() + " " + k.topic, k.ended()},
					{k.unsubscribe(), k.ended()},
					{"RESET", "+RESET|"},
					{"QUIT", "+OK|"},
				} {
					p := k.client(dial)
					p.send(k.subscribe())
					p.want(k.confirmed())
					for range others {
						other := k.client(dial)
						other.send(k.subscribe())
						other.want(k.confirmed())
						defer other.Close()
					}
					if got := s.Do(k.publish, "news", "hello"); got != "1" {
						t.Fatalf("the server counted %s", got)
					}
					p.send(end.command)
					p.want(k.message("hello"), end.reply)
					p.Close()
				}
			}
		})
	})
}

func TestResubscribingWhileAnUnsubscriptionIsInFlight(t *testing.T) {
	onEachFar(t, func(t *testing.T, s *redistest.Server, h *testGateway, dial func() *peer) {
		eachTopicKind(t, s, dial, func(t *testing.T, k topicKind) {
			p, q := k.client(dial), k.client(dial)
			p.send(k.subscribe())
			p.want(k.confirmed())
			for n := range 3 {
				text := fmt.Sprint("to-p-", n)
				s.Do(k.publish, "news", text)
				p.send(k.unsubscribe(), k.subscribe(), k.unsubscribe(), k.subscribe())
				p.want(k.message(text), k.ended(), k.confirmed(), k.ended(), k.confirmed())
			}
			s.Do(k.publish, "news", "old")
			q.send(k.subscribe())
			p.send(k.unsubscribe())
			p.want(k.message("old"), k.ended())
			q.want(k.confirmed()) // and no earlier message
			if got := s.Do(k.publish, "news", "new"); got != "1" {
				t.Errorf("the server counted %s", got)
			}
			q.want(k.message("new"))
			q.send(k.unsubscribe())
			q.want(k.ended())
		})
	})
}

// abort resets the connection, so that the gateway does not mistake the end for a half-close.
func (p *peer) abort() {
	conn := p.Conn
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	if conn, ok := conn.(*net.TCPConn); ok {
		_ = conn.SetLinger(0)
	}
	conn.Close()
}

// A client leaves while the server does not reply, so its subscription is not confirmed. Commands that publish do not
// wait for it any more.
func TestAClientThatLeavesBeforeTheConfirmationDelaysNoOther(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true})
	relay := faultnet.Start(t, s.PlainAddr())
	onEachBefore(t, s, relay.Addr(), gateway.Config{SubscribeWait: time.Hour}, func(t *testing.T, h *testGateway, dial func() *peer) {
		if strings.HasSuffix(t.Name(), "/tls") {
			return // the gateway does not read from it, so it notices the end later
		}
		eachTopicKind(t, s, dial, func(t *testing.T, k topicKind) {
			for _, others := range []int{0, 1} {
				q, stays := dial(), k.client(dial)
				q.ask("GET none") // opens its lane
				stays.ask("GET none")
				p := k.client(dial)
				relay.StallReplies()
				p.send(k.subscribe())
				testkit.Await(t, "the subscription is taken", h.Unconfirmed, testkit.Is(1))
				for n := range others {
					stays.send(k.subscribe())
					testkit.Await(t, "the next subscription is taken", h.Unconfirmed, testkit.Is(2+n))
				}
				p.abort()
				testkit.Await(t, "only the other subscriptions are unconfirmed", h.Unconfirmed, testkit.Is(others))
				relay.Resume()
				if got, want := q.ask(k.publish+" news hello"), fmt.Sprintf(":%d|", others); got != want && others > 0 {
					t.Errorf("PUBLISH counted %s: want %s", got, want)
				}
				for range others {
					stays.want(k.confirmed(), k.message("hello"))
				}
				testkit.Await(t, "no subscription is unconfirmed", h.Unconfirmed, testkit.Is(0))
				stays.Close()
				testkit.Await(t, "no client is subscribed", func() string { return q.ask(k.publish + " news none") }, testkit.Is(":0|"))
			}
		})
	})
}
