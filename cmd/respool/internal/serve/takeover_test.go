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
	s := redistest.Start(t, redistest.Config{})
	count := s.WatchClients()
	flags := upgradable(t, s.URL()+"?max_connections=8")
	r := served(t, &flags)
	addr := r.at(t, 1)
	const subscribers = 12
	failed := make(chan error, subscribers)
	for i := range subscribers {
		c := tooltest.Dial(t, "tcp", addr)
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
	publisher := tooltest.Dial(t, "tcp", s.Addr())
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
		next := served(t, &flags)
		r.succeededBy(t, next)
		r = next
	}
	close(stop)
	<-published
	for range subscribers {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if st := r.gateway.Stats(); st.Adopted != subscribers || st.Subscribed != subscribers {
		t.Errorf("%+v: want %d subscribers, all adopted", st, subscribers)
	}
	if peak := count.Stop(); peak > 9 {
		t.Errorf("%d connections: want 8 at most, and the publisher", peak)
	}
}

// Clients stay connected over several takeovers, and keep their state: an idle one, one with a name and a database, one that
// waits in BLPOP, one in the middle of a request, and one in a transaction.
func TestClientsStayOverTakeovers(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	count := s.WatchClients()
	flags := upgradable(t, s.URL()+"?max_connections=8")
	r := served(t, &flags)
	addr := r.at(t, 1)
	idle, named, blocked, partial := tooltest.Dial(t, "tcp", addr), tooltest.Dial(t, "tcp", addr), tooltest.Dial(t, "tcp", addr), tooltest.Dial(t, "tcp", addr)
	named.Do("+OK", "CLIENT", "SETNAME", "me")
	named.Do("+OK", "SELECT", "3")
	named.Do("+OK", "SET", "k", "three")
	open := tooltest.Dial(t, "tcp", addr)
	for i := 1; i <= 3; i++ {
		open.Do("+OK", "MULTI")
		open.Do("+QUEUED", "INCR", "k")
		blocked.Send("BLPOP", "list", "0")
		if _, err := fmt.Fprint(partial, "*2\r\n$4\r\nECHO\r\n$6\r\nhal"); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "one client is blocked", func() bool { return r.gateway.Stats().Blocked == 1 })
		next := served(t, &flags)
		idle.Do("+PONG", "PING")
		testkit.Eventually(t, "all clients but one have moved", func() bool { return next.gateway.Stats().Clients == 4 })
		open.Do("*1", "EXEC")
		expect(t, open, fmt.Sprint(":", i))
		r.succeededBy(t, next)
		r = next
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
	tooltest.Dial(t, "tcp", addr).Do("+PONG", "PING")
	if st := r.gateway.Stats(); st.Clients != 6 || st.Adopted != 5 {
		t.Errorf("%+v: want 6 clients, 5 of them adopted", st)
	}
	if peak := count.Stop(); peak > 8 {
		t.Errorf("%d connections: want 8 at most", peak)
	}
}
