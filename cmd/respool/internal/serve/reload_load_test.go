package serve

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// reloads changes the URL of a gateway under load.
type reloads struct {
	*running
	*load
	file, url string
}

// startReloads starts a gateway with a URL and the keys of serve, and its load.
func startReloads(t *testing.T, url, serve string) *reloads {
	file := tooltest.File(t, "respool.yaml", "url: '"+url+"'\ntell: []\nserve: "+serve+"\n")
	r := served(t, &Flags{Config: file})
	c := &reloads{r, startLoad(t, r.at(t, 1), 4), file, url}
	c.advance()
	return c
}

// to changes the URL, waits for lines of the log, and until the clients have gone on.
func (c *reloads) to(url string, want ...string) {
	c.t.Helper()
	tooltest.Rewrite(c.t, c.file, c.url, url)
	const active = "configuration is active"
	before := strings.Count(c.log.String(), active)
	for i, line := range want {
		if i == 0 {
			c.reload(c.t, line)
			continue
		}
		c.log.Until(c.t, line, 1)
	}
	c.log.Until(c.t, active, before+1)
	c.url = url
	c.advance()
}

// refuses checks that a URL changes nothing.
func (c *reloads) refuses(url string) {
	c.t.Helper()
	tooltest.Rewrite(c.t, c.file, c.url, url)
	c.reload(c.t, "the new configuration is invalid; the old one stays")
	tooltest.Rewrite(c.t, c.file, url, c.url)
	c.advance()
}

// Each setting of the connections changes under load: no client sees an error, no reply is lost or doubled, and the server
// never counts more connections than the limit.
func TestReloadsUnderLoad(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true, Users: []string{"app on >one >two ~* &* +@all", "other on >three ~* &* +@all"}})
	plain, other := "redis://app:one@"+s.PlainAddr()+"?max_connections=8", tooltest.File(t, "ca.pem", "")
	ca, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	count := s.WatchClients()
	c := startReloads(t, plain, "{listen: ['127.0.0.1:0']}")
	c.to(strings.Replace(plain, "=8", "=4", 1), "msg=changed option=MaxConnections from=8 to=4")
	testkit.Eventually(t, "the server counts 4 connections at most", func() bool { return s.ClientCount() <= 4 })
	few := s.WatchClients()
	c.advance()
	if peak := few.Stop(); peak > 4 {
		t.Errorf("%d connections with max_connections=4", peak)
	}
	c.to(plain, "msg=changed option=MaxConnections from=4 to=8")
	c.to(plain+"&lanes=1", "msg=changed option=Lanes from=4 to=1")
	c.to(plain, "msg=changed option=Lanes from=1 to=4")
	c.to(strings.Replace(plain, "one", "two", 1), "msg=changed option=Password from=(hidden) to=(hidden)")
	c.to(strings.Replace(plain, "app:one", "other:three", 1), "msg=changed option=Username from=app to=other")
	testkit.Eventually(t, "the lanes belong to the other user", func() bool { return strings.Contains(s.Do("CLIENT", "LIST", "TYPE", "NORMAL"), " user=other ") })

	// What does not work changes nothing.
	for _, wrong := range []string{"redis://other:three@127.0.0.1:1?max_connections=8", strings.Replace(plain, "one", "wrong", 1)} {
		c.refuses(wrong)
	}
	if text := c.log.String(); !strings.Contains(text, "connection refused") || !strings.Contains(text, "refused the username or password") {
		t.Error(text)
	}

	// From here on the server has another address, so the subscriptions move as at a failover.
	c.allowGaps()
	secure := "rediss://app:one@" + s.Addr() + "?max_connections=8&ssl_ca_certs="
	c.to(secure+s.CAFile(), "msg=changed option=Addr from="+s.PlainAddr()+" to="+s.Addr(), `msg=changed option=TLS from=off to="on, TLS 1.2 or later"`)
	c.to(secure+other, "msg=changed option=TLSFiles ")
	c.to(c.url+"&db=3&client_name=x", "option=DB kept=0 configured=3", "option=ClientName kept=")
	c.end()
	if peak := count.Stop(); peak > 8 {
		t.Errorf("%d connections with max_connections=8", peak)
	}
	if text := c.log.String(); strings.Contains(text, "three") || strings.Contains(text, ":one@") {
		t.Error("the log shows a password")
	}
}

// The nodes of a service and of a cluster change their limit, lanes and login under load, as a single server does. A login
// that the nodes refuse changes nothing. A new primary gets the new login.
func TestReloadsOfSeveralNodesUnderLoad(t *testing.T) {
	change := func(t *testing.T, url string) *reloads {
		app := strings.Replace(url, "://", "://app:one@", 1)
		c := startReloads(t, app, "{listen: ['127.0.0.1:0']}")
		c.to(strings.Replace(app, "=8", "=4", 1), "msg=changed option=MaxConnections from=8 to=4")
		c.to(app, "msg=changed option=MaxConnections from=4 to=8")
		c.to(app+"&lanes=1", "msg=changed option=Lanes ")
		c.to(app, "msg=changed option=Lanes from=1 ")
		c.refuses(strings.Replace(app, "one", "wrong", 1))
		c.to(strings.Replace(app, "one", "two", 1), "msg=changed option=Password from=(hidden) to=(hidden)")
		c.to(strings.Replace(app, "app:one", "other:three", 1), "msg=changed option=Username from=app to=other")
		c.end()
		if text := c.log.String(); strings.Contains(text, "three") || strings.Contains(text, ":one@") {
			t.Error("the log shows a password")
		}
		return c
	}
	login := func(s *redistest.Server) {
		s.Do("ACL", "SETUSER", "app", "on", ">one", ">two", "~*", "&*", "+@all")
		s.Do("ACL", "SETUSER", "other", "on", ">three", "~*", "&*", "+@all")
	}
	replaced := func(t *testing.T, s *redistest.Server) {
		t.Helper()
		testkit.Eventually(t, "no connection belongs to the former user", func() bool {
			return !strings.Contains(s.Do("CLIENT", "LIST", "TYPE", "NORMAL"), " user=app ")
		})
	}
	t.Run("service", func(t *testing.T) {
		set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
		var counts []*redistest.ClientWatch
		for _, n := range set.Nodes {
			login(n)
			counts = append(counts, n.WatchOutsiders())
		}
		c := change(t, set.URL("max_connections=8"))
		for _, n := range set.Nodes {
			replaced(t, n)
		}
		old := set.Failover()
		primary := set.WaitPrimary(t, old, 2*tooltest.Patience)
		testkit.Eventually(t, "the gateway writes to the new primary", func() bool {
			conn := tooltest.Dial(t, "tcp", c.at(t, 1))
			defer conn.Close()
			conn.Send("SET", "after", "failover")
			line, err := conn.Reader.ReadString('\n')
			return err == nil && line == "+OK\r\n" && primary.Do("GET", "after") == "failover"
		})
		if list := primary.Do("CLIENT", "LIST", "TYPE", "NORMAL"); !strings.Contains(list, " user=other ") || strings.Contains(list, " user=app ") {
			t.Errorf("want connections of the new user only:\n%s", list)
		}
		for i, count := range counts {
			if peak := count.Stop(); peak > 8 || peak == 0 {
				t.Errorf("%d connections to node %d: want 1 to 8", peak, i)
			}
		}
	})
	t.Run("cluster", func(t *testing.T) {
		cluster := clustertest.Start(t, clustertest.Config{})
		for _, n := range cluster.Nodes() {
			login(n.Server)
		}
		count := cluster.Watch()
		change(t, cluster.URL("max_connections=8"))
		for _, n := range cluster.Primaries() {
			replaced(t, n.Server)
		}
		count.Stop()
		for _, n := range cluster.Primaries() {
			if peak := count.PeakOf(n); peak > 8 || peak == 0 {
				t.Errorf("%d connections to %s: want 1 to 8", peak, n.Addr())
			}
		}
	})
}

// With pass_through, a reload changes the login of the gateway and the address of the server. Clients keep their own users.
func TestAReloadKeepsTheUsersOfTheServer(t *testing.T) {
	users := []string{"app on >one >two ~* &* +@all", "ann on >secret ~a* &* +@all"}
	old, fresh := redistest.Start(t, redistest.Config{Users: users}), redistest.Start(t, redistest.Config{Users: users})
	url := "redis://app:one@" + old.PlainAddr() + "?max_connections=8"
	file := tooltest.File(t, "respool.yaml", "url: '"+url+"'\ntell: []\nserve: {listen: ['127.0.0.1:0'], pass_through: true}\n")
	r := served(t, &Flags{Config: file})
	counts := []*redistest.ClientWatch{old.WatchClients(), fresh.WatchClients()}
	ann := tooltest.Dial(t, "tcp", r.at(t, 1))
	ann.Do("+OK", "AUTH", "ann", "secret")
	ann.Do("+OK", "SET", "a", "1")
	for _, next := range []string{strings.Replace(url, "one", "two", 1), "redis://app:two@" + fresh.PlainAddr() + "?max_connections=8"} {
		tooltest.Rewrite(t, file, url, next)
		r.reload(t, "configuration is active")
		url = next
		ann.Do("ann", "ACL", "WHOAMI")
		ann.Do("-NOPERM", "GET", "b")
		ann.Do("+OK", "SET", "a", "2")
	}
	if got := fresh.Do("GET", "a"); got != "2" {
		t.Errorf("the new server has %q", got)
	}
	stranger := tooltest.Dial(t, "tcp", r.at(t, 1))
	stranger.Do("-WRONGPASS", "AUTH", "ann", "wrong")
	stranger.Do("+OK", "AUTH", "ann", "secret")
	stranger.Do("2", "GET", "a")
	for i, count := range counts {
		if peak := count.Stop(); peak > 8 || peak == 0 {
			t.Errorf("%d connections to server %d: want 1 to 8", peak, i)
		}
	}
}

// After a change of the address, all commands go to the new server. Blocked and subscribed clients move, a client with WATCH
// executes nothing, and clients with MONITOR or CLIENT TRACKING are closed.
func TestANewAddressIsLikeAFailover(t *testing.T) {
	old, fresh := redistest.Start(t, redistest.Config{}), redistest.Start(t, redistest.Config{})
	file := tooltest.File(t, "respool.yaml", "url: "+old.URL()+"\ntell: []\nserve: {listen: ['127.0.0.1:0'], admin: true}\n")
	r := served(t, &Flags{Config: file})
	dial := func() *tooltest.Client { return tooltest.Dial(t, "tcp", r.at(t, 1)) }
	watching, blocked, subscribed, plain := dial(), dial(), dial(), dial()
	watching.Do("+OK", "WATCH", "k")
	blocked.Send("BLPOP", "jobs", "0")
	subscribed.Do("*3", "SUBSCRIBE", "news")
	for _, part := range []string{"$9", "subscribe", "$4", "news", ":1"} {
		if line, err := subscribed.Reader.ReadString('\n'); err != nil || strings.TrimSpace(line) != part {
			t.Fatalf("%q, %v: want %s", line, err, part)
		}
	}
	monitoring, tracking := dial(), dial()
	monitoring.Do("+OK", "MONITOR")
	tracking.Send("HELLO", "3")
	tracking.Send("CLIENT", "TRACKING", "ON")
	for line := ""; line != "+OK\r\n"; { // the reply to HELLO has no such line
		var err error
		if line, err = tracking.Reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	plain.Do("+OK", "SET", "k", "old")
	testkit.Eventually(t, "one client is blocked", func() bool { return r.gateway.Stats().Blocked == 1 })
	tooltest.Rewrite(t, file, old.URL(), fresh.URL())
	r.reload(t, "configuration is active")
	plain.Do("$-1", "GET", "k")
	plain.Do("+OK", "SET", "k", "fresh")
	if got := fresh.Do("GET", "k"); got != "fresh" {
		t.Error(got)
	}
	for _, c := range []*tooltest.Client{monitoring, tracking} {
		if _, err := io.Copy(io.Discard, c.Reader); err != nil {
			t.Errorf("%v: want the connection closed", err)
		}
	}
	watching.Do("+OK", "MULTI")
	watching.Send("SET", "k", "watched")
	watching.Send("EXEC")
	if line, err := watching.Reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+QUEUED") {
		t.Errorf("%q, %v", line, err)
	}
	if line, err := watching.Reader.ReadString('\n'); err != nil || line != "*-1\r\n" {
		t.Errorf("EXEC: %q, %v", line, err)
	}
	if got := fresh.Do("GET", "k"); got != "fresh" {
		t.Error(got)
	}
	fresh.Do("RPUSH", "jobs", "a")
	if line, err := blocked.Reader.ReadString('\n'); err != nil || line != "*2\r\n" {
		t.Errorf("BLPOP: %q, %v", line, err)
	}
	testkit.Eventually(t, "the subscription is made again", func() bool { return fresh.Do("PUBLISH", "news", "x") == "1" })
	old.WaitClients(t, 0, tooltest.Patience)
}
