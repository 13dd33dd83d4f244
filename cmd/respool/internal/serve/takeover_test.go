//go:build linux

package serve

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// upgradable returns the flags of gateways that take over from each other.
func upgradable(t *testing.T, url string) Flags {
	return Flags{URL: url, Listen: []string{"127.0.0.1:0"}, Takeover: filepath.Join(tooltest.ShortDir(t), "takeover")}
}

// upgrades is a gateway that others succeed in turn, with its server.
type upgrades struct {
	*running // the one that serves now
	t        *testing.T
	server   *redistest.Server
	count    *redistest.ClientWatch
	flags    Flags
	addr     string // of the first listener
}

// startUpgrades starts a gateway with a limit of connections. change may change its flags.
func startUpgrades(t *testing.T, most int, change ...func(*Flags)) *upgrades {
	t.Helper()
	s := redistest.Start(t, redistest.Config{})
	u := &upgrades{t: t, server: s, count: s.WatchClients(), flags: upgradable(t, fmt.Sprintf("%s?max_connections=%d", s.URL(), most))}
	for _, f := range change {
		f(&u.flags)
	}
	u.running = served(t, &u.flags)
	u.addr = u.at(t, 1)
	return u
}

// next starts a gateway that takes over.
func (u *upgrades) next() *running {
	u.t.Helper()
	return served(u.t, &u.flags)
}

// succeed waits until next has taken over.
func (u *upgrades) succeed(next *running) {
	u.t.Helper()
	u.succeededBy(u.t, next)
	u.running = next
}

// dial connects a client.
func (u *upgrades) dial() *tooltest.Client {
	u.t.Helper()
	return tooltest.Dial(u.t, "tcp", u.addr)
}

// bounded checks that the server counted most connections at most.
func (u *upgrades) bounded(most int) {
	u.t.Helper()
	if peak := u.count.Stop(); peak > most {
		u.t.Errorf("%d connections: want %d at most", peak, most)
	}
}

// succeededBy waits until r has ended, because another gateway took over from it.
func (r *running) succeededBy(t *testing.T, next *running) {
	t.Helper()
	next.log.Until(t, `msg="took over the gateway"`, 1)
	if err := r.ended(); err != nil {
		t.Errorf("the old gateway: %v\n%s", err, r.log)
	}
}

// expect reads lines, each with a prefix.
func expect(t *testing.T, c *tooltest.Client, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if got, err := c.Reader.ReadString('\n'); err != nil || !strings.HasPrefix(got, want) {
			t.Fatalf("%q, %v: want %q", got, err, want)
		}
	}
}

// Subscribers get each message once and in order, while messages are published all the time.
func TestSubscribersMissNothingInATakeover(t *testing.T) {
	u := startUpgrades(t, 8)
	const subscribers = 12
	failed := make(chan error, subscribers)
	for i := range subscribers {
		c := u.dial()
		lines := 7 // of a message
		switch i % 3 {
		case 0:
			c.Send("SUBSCRIBE", "news")
		case 1:
			c.Do("%7", "HELLO", "3")
			for range 7 * 2 { // reads the map
				line, _ := c.Reader.ReadString('\n')
				if strings.HasPrefix(line, "$") {
					_, _ = c.Reader.ReadString('\n')
				}
			}
			c.Send("SUBSCRIBE", "news")
		case 2:
			c.Send("PSUBSCRIBE", "n*")
			lines = 9
		}
		for line := ""; line != ":1\r\n"; {
			line, _ = c.Reader.ReadString('\n')
		}
		go func() {
			for n := 0; ; n++ {
				text := ""
				for range lines {
					line, err := c.Reader.ReadString('\n')
					if err != nil {
						failed <- fmt.Errorf("subscriber %d, after %d messages: %w", i, n, err)
						return
					}
					text = line
				}
				if text == "end\r\n" {
					failed <- nil
					return
				}
				if text != fmt.Sprint(n, "\r\n") {
					failed <- fmt.Errorf("subscriber %d: %q: want message %d", i, text, n)
					return
				}
			}
		}()
	}
	stop, published := make(chan struct{}), make(chan struct{})
	publisher := tooltest.Dial(t, "tcp", u.server.Addr())
	go func() {
		defer close(published)
		for n := 0; ; n++ {
			text := strconv.Itoa(n)
			select {
			case <-stop:
				text = "end"
			default:
			}
			publisher.Send("PUBLISH", "news", text)
			if _, err := publisher.Reader.ReadString('\n'); err != nil || text == "end" {
				return
			}
		}
	}()
	for range 3 {
		u.succeed(u.next())
	}
	close(stop)
	<-published
	for range subscribers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if st := u.gateway.Stats(); st.Adopted != subscribers || st.Subscribed != subscribers {
		t.Errorf("%+v: want %d subscribers, all adopted", st, subscribers)
	}
	u.bounded(8 + 1) // and the publisher
}

// Clients stay connected over several takeovers, and keep their state: an idle one, one with a name and a database, one that
// waits in BLPOP, one in the middle of a request, and one in a transaction.
func TestClientsStayOverTakeovers(t *testing.T) {
	u := startUpgrades(t, 8)
	idle, named, blocked, partial, open := u.dial(), u.dial(), u.dial(), u.dial(), u.dial()
	named.Do("+OK", "CLIENT", "SETNAME", "me")
	named.Do("+OK", "SELECT", "3")
	named.Do("+OK", "SET", "k", "three")
	for i := 1; i <= 3; i++ {
		open.Do("+OK", "MULTI")
		open.Do("+QUEUED", "INCR", "k")
		blocked.Send("BLPOP", "list", "0")
		if _, err := fmt.Fprint(partial, "*2\r\n$4\r\nECHO\r\n$6\r\nhal"); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "one client is blocked", func() bool { return u.gateway.Stats().Blocked == 1 })
		next := u.next()
		idle.Do("+PONG", "PING")
		testkit.Eventually(t, "all clients but one have moved", func() bool { return next.gateway.Stats().Clients == 4 })
		open.Do("*1", "EXEC")
		expect(t, open, fmt.Sprint(":", i))
		u.succeed(next)
		named.Do("me", "CLIENT", "GETNAME")
		named.Do("three", "GET", "k")
		idle.Do(fmt.Sprint(i), "GET", "k")
		idle.Do(":1", "RPUSH", "list", "element")
		expect(t, blocked, "*2", "$4", "list", "$7", "element")
		if _, err := fmt.Fprint(partial, "ves\r\n"); err != nil {
			t.Fatal(err)
		}
		expect(t, partial, "$6", "halves")
	}
	u.dial().Do("+PONG", "PING")
	if st := u.gateway.Stats(); st.Clients != 6 || st.Adopted != 5 {
		t.Errorf("%+v: want 6 clients, 5 of them adopted", st)
	}
	u.bounded(8)
}

// A client beyond max_clients may run an operator's commands only, also after it has moved, or while it stays and others move. That
// ends when there is room for it.
func TestClientsBeyondTheLimitStayLimitedInATakeover(t *testing.T) {
	const refused = "-ERR max number of clients reached"
	u := startUpgrades(t, 8, func(f *Flags) {
		most := 2
		f.MaxClients = &most
	})
	open, idle := u.dial(), u.dial()
	open.Do("+OK", "MULTI") // stays until EXEC
	idle.Do("+OK", "SET", "k", "v")
	moves, stays := u.dial(), u.dial()
	moves.Do(refused, "GET", "k")
	stays.Send("HELLO", "3")
	stays.Send("CLIENT", "TRACKING", "ON") // on a connection of its own
	for line := ""; line != "+OK\r\n"; {
		line, _ = stays.Reader.ReadString('\n')
	}
	next := u.next()
	testkit.Eventually(t, "two clients have moved", func() bool { return next.gateway.Stats().Adopted == 2 })
	moves.Do(refused, "GET", "k")
	moves.Do("+PONG", "PING")
	stays.Do(refused, "GET", "k")
	open.Do("*0", "EXEC")
	stays.Send("CLIENT", "TRACKING", "OFF")
	expect(t, stays, "+OK")
	u.succeed(next)
	moves.Do(refused, "GET", "k")
	open.Close()
	idle.Close()
	testkit.Eventually(t, "there is room", func() bool {
		moves.Send("GET", "k")
		line, _ := moves.Reader.ReadString('\n')
		if line == "$1\r\n" {
			_, _ = moves.Reader.ReadString('\n')
		}
		return !strings.HasPrefix(line, refused)
	})
	u.bounded(8)
}
