package gateway_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var livesPerWorker = flag.Int("lives", 8, "how many clients each worker of TestClientsAreIsolated is, one after the other")

// users are the users of the server besides default. Each has its own keys.
var users = []string{"ann", "ben", "cid"}

// Clients with different users, databases, protocols, names, watched and tracked keys, subscriptions and modes run at
// the same time and disconnect at any moment. Every reply must belong to its client.
func TestClientsAreIsolated(t *testing.T) {
	rules := make([]string, len(users))
	for i, name := range users {
		rules[i] = fmt.Sprintf("user %s on >secret-%s ~key-%s-* ~none-* ~left-* &* +@all", name, name, name)
	}
	s := redistest.Start(t, redistest.Config{Args: []string{"--hz", "100"}, Users: rules})
	const bound = 8
	h := open(t, s.URL()+fmt.Sprintf("?max_connections=%d&timeout=60", bound), gateway.Config{MaxClients: 5000, PassThrough: true})
	watch := s.WatchClients()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	var lives, replies atomic.Int64
	for w := range 80 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for n := 0; n < *livesPerWorker && !t.Failed(); n++ {
				g := &isolatedClient{peer: h.dial(), version: s.Version(), r: r, id: fmt.Sprintf("%d.%d", w, n), proto: 2}
				g.live()
				lives.Add(1)
				replies.Add(int64(g.replies))
			}
		})
	}
	wg.Wait()
	testkit.Await(t, "all clients are gone", h.Stats, func(s gateway.Stats) bool { return s.Clients == 0 })
	if peak := watch.Stop(); peak > bound {
		t.Errorf("the server counted %d connections: want %d at most", peak, bound)
	}
	// The server must have no state of any client.
	p := h.dial()
	if got := p.ask("CLIENT GETNAME"); got != "$-1|" {
		t.Errorf("a new client has a name: %s", got)
	}
	if got := p.ask("ACL WHOAMI"); got != bulk("default") {
		t.Errorf("a new client is %s", got)
	}
	for db := range 4 {
		p.send(fmt.Sprintf("SELECT %d", db), "MULTI", "EXEC", "PING")
		p.want("+OK|", "+OK|", "*0|", "+PONG|")
	}
	t.Logf("%d clients, %d replies", lives.Load(), replies.Load())
}

// isolatedClient is one client. It knows its expected state.
type isolatedClient struct {
	*peer
	version redistest.Version
	r       *rand.Rand
	id      string
	user    string // empty for default
	proto   int
	db      int
	name    string
	serial  int
	replies int
	said    map[string]string // the value of its key, by user and database
}

func (g *isolatedClient) live() {
	defer g.Close()
	g.said = map[string]string{}
	for range 5 + g.r.IntN(30) {
		switch g.r.IntN(16) {
		case 0:
			g.proto = 2 + g.r.IntN(2)
			if got := g.ask(fmt.Sprintf("HELLO %d", g.proto)); !strings.Contains(got, fmt.Sprintf("proto|:%d|", g.proto)) {
				g.t.Errorf("HELLO: %s", got)
			}
		case 1, 2:
			g.db = g.r.IntN(4)
			g.expect(fmt.Sprintf("SELECT %d", g.db), "+OK|")
		case 3:
			g.name = "name-" + g.id
			g.expect("CLIENT SETNAME "+g.name, "+OK|")
		case 4:
			want := g.null()
			if g.name != "" {
				want = bulk(g.name)
			}
			g.expect("CLIENT GETNAME", want)
		case 5:
			g.pipeline()
		case 6:
			g.transaction()
		case 7:
			g.watched()
		case 8:
			g.expect(fmt.Sprintf("BLPOP none-%s 0.01", g.id), map[int]string{2: "*-1|", 3: "_|"}[g.proto])
		case 9:
			g.subscribed()
		case 10:
			g.silent()
		case 11:
			g.expect("RESET", "+RESET|")
			g.user, g.proto, g.db, g.name = "", 2, 0, ""
		case 12:
			if g.r.IntN(4) == 0 {
				g.abort()
				return
			}
		case 13:
			g.become()
		case 14:
			g.tracked()
		default:
			g.set()
			g.get()
		}
		if g.t.Failed() {
			return
		}
	}
}

func (g *isolatedClient) null() string {
	if g.proto == 3 {
		return "_|"
	}
	return "$-1|"
}

func (g *isolatedClient) expect(line, want string) {
	g.replies++
	if got := g.ask(line); got != want {
		g.t.Errorf("client %s, user %q, RESP%d, db %d: %s gave %s: want %s", g.id, g.user, g.proto, g.db, line, got, want)
	}
}

// become changes the client's user with valid or invalid credentials.
func (g *isolatedClient) become() {
	name := users[g.r.IntN(len(users))]
	if g.r.IntN(4) == 0 {
		g.expect("AUTH "+name+" wrong", "-WRONGPASS invalid username-password pair or user is disabled.|")
	} else {
		g.expect("AUTH "+name+" secret-"+name, "+OK|")
		g.user = name
	}
	g.expect("ACL WHOAMI", bulk(cmp.Or(g.user, "default")))
	if g.user != "" {
		g.expect("GET key-"+g.id, "-"+g.version.NoKey()+"|")
	}
}

// Only this client changes its tracked keys, so only it gets the invalidations.
func (g *isolatedClient) tracked() {
	if g.proto == 2 {
		return
	}
	g.expect("CLIENT TRACKING ON", "+OK|")
	g.get()
	g.set()
	g.want(">2|$10|invalidate|*1|" + bulk(g.key()))
	if g.r.IntN(2) == 0 {
		g.get() // the next client of the connection must not get the invalidation
	}
	g.expect("CLIENT TRACKING OFF", "+OK|")
}

// key returns the client's key, which is the same in each database.
func (g *isolatedClient) key() string {
	if g.user == "" {
		return "key-" + g.id
	}
	return "key-" + g.user + "-" + g.id
}

// next returns a value that no other client writes.
func (g *isolatedClient) next() string {
	g.serial++
	return fmt.Sprintf("%s/%s/%d/%d", g.id, g.user, g.db, g.serial)
}

func (g *isolatedClient) set() {
	v := g.next()
	g.expect("SET "+g.key()+" "+v, "+OK|")
	g.say(v)
}

// say records the value of the key.
func (g *isolatedClient) say(v string) { g.said[fmt.Sprint(g.user, g.db)] = v }

func (g *isolatedClient) held() string {
	if v, ok := g.said[fmt.Sprint(g.user, g.db)]; ok {
		return bulk(v)
	}
	return g.null()
}

func (g *isolatedClient) get() { g.expect("GET "+g.key(), g.held()) }

func (g *isolatedClient) pipeline() {
	var lines, want []string
	for range 1 + g.r.IntN(100) {
		v := g.next()
		lines, want = append(lines, "SET "+g.key()+" "+v, "GET "+g.key(), "ECHO "+v), append(want, "+OK|", bulk(v), bulk(v))
		g.say(v)
	}
	g.send(lines...)
	g.want(want...)
	g.replies += len(want)
}

func (g *isolatedClient) transaction() {
	v := g.next()
	g.send("MULTI", "SET "+g.key()+" "+v, "GET "+g.key(), "EXEC")
	g.want("+OK|", "+QUEUED|", "+QUEUED|", "*2|+OK|"+bulk(v))
	g.say(v)
	g.replies += 4
}

// Only this client changes its watched keys, so EXEC fails if and only if it changed them itself.
func (g *isolatedClient) watched() {
	changes := g.r.IntN(2) == 0
	g.send("WATCH "+g.key(), "GET "+g.key())
	g.want("+OK|", g.held())
	if changes {
		g.set()
	}
	v := g.next()
	g.send("MULTI", "SET "+g.key()+" "+v, "EXEC")
	if changes {
		g.want("+OK|", "+QUEUED|", map[int]string{2: "*-1|", 3: "_|"}[g.proto])
	} else {
		g.want("+OK|", "+QUEUED|", "*1|+OK|")
		g.say(v)
	}
	g.replies += 5
}

func (g *isolatedClient) subscribed() {
	kind := map[int]string{2: "*", 3: ">"}[g.proto]
	channel := "channel-" + g.id
	g.send("SUBSCRIBE " + channel)
	g.want(kind + "3|$9|subscribe|" + bulk(channel) + ":1|")
	if g.proto == 3 {
		v := g.next()
		g.send("PUBLISH " + channel + " " + v)
		// the message and the reply come on different connections
		message, reply := kind+"3|$7|message|"+bulk(channel)+bulk(v), ":1|"
		a := strings.ReplaceAll(g.frame(), "\r\n", "|")
		b := strings.ReplaceAll(g.frame(), "\r\n", "|")
		if !(a == message && b == reply || a == reply && b == message) {
			g.t.Errorf("client %s: %s and %s came", g.id, a, b)
		}
		g.get()
	}
	g.send("UNSUBSCRIBE")
	g.want(kind + "3|$11|unsubscribe|" + bulk(channel) + ":0|")
	g.replies += 4
}

func (g *isolatedClient) silent() {
	v := g.next()
	g.send("CLIENT REPLY OFF", "SET "+g.key()+" "+v, "GET "+g.key(), "CLIENT REPLY ON", "GET "+g.key(), "CLIENT REPLY SKIP", "GET "+g.key(), "PING")
	g.say(v)
	g.want("+OK|", bulk(v), "+PONG|")
	g.replies += 3
}

// abort disconnects during a command.
func (g *isolatedClient) abort() {
	switch g.r.IntN(7) {
	case 0:
		g.send("MULTI", "SET "+g.key()+" lost")
	case 1:
		g.send("WATCH " + g.key())
	case 2:
		g.send("SUBSCRIBE left-"+g.id, "PSUBSCRIBE left-"+g.id+"*")
	case 3:
		g.send("BLPOP left-" + g.id + " 0")
	case 4:
		g.write("*3\r\n$3\r\nSET\r\n$5\r\nab")
	case 5:
		lines := make([]string, 500)
		for i := range lines {
			lines[i] = "GET " + g.key()
		}
		g.send(lines...)
	case 6:
		g.send("HELLO 3", "CLIENT TRACKING ON BCAST") // would get the invalidations of all clients
	}
	time.Sleep(time.Duration(g.r.IntN(2000)) * time.Microsecond) // disconnect at any moment
}

func TestReleasedConnectionsLeaveNoGoroutines(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	p := h.dial()
	if got := p.ask("HELLO 3"); got[0] != '%' {
		t.Fatal(got)
	}
	watch := func(n int) {
		for range n {
			p.send("WATCH a", "UNWATCH", "WATCH a", "MULTI", "SET a 1", "EXEC")
			p.want("+OK|", "+OK|", "+OK|", "+OK|", "+QUEUED|", "*1|+OK|")
		}
	}
	watch(1)
	const more = 200
	before := runtime.NumGoroutine()
	watch(more)
	testkit.Eventually(t, "the goroutines have ended", func() bool { return runtime.NumGoroutine() < before+more/2 })
}

func TestAClientThatLosesItsDedicatedConnectionIsClosed(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4&protocol=2", gateway.Config{})
	p := h.dial()
	if got := p.ask("CLIENT TRACKING ON"); got != "+OK|" {
		t.Fatal(got)
	}
	s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	testkit.Await(t, "its connection is gone", h.client.Stats, func(s respool.Stats) bool { return s.Dedicated == 0 })
	p.send("GET a")
	p.ends()
}

func TestNoMessageFollowsAReset(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	var stop atomic.Bool
	var wg sync.WaitGroup
	publisher := h.dial()
	wg.Go(func() {
		for !stop.Load() {
			publisher.write(strings.Repeat("PUBLISH news one\r\n", 50))
			for range 50 {
				publisher.frame()
			}
		}
	})
	p := h.dial()
	for range 300 {
		p.send("SUBSCRIBE news")
		p.want("*3|$9|subscribe|$4|news|:1|")
		p.send("RESET", "ECHO after")
		got := p.frame()
		for strings.HasPrefix(got, "*3\r\n$7\r\nmessage") {
			got = p.frame()
		}
		if got != "+RESET\r\n" {
			t.Errorf("%q came: want the reply to RESET", got)
		}
		p.want(bulk("after"))
	}
	stop.Store(true)
	wg.Wait()
}

// A client's command ends at the moment when another client unblocks it. Its connection may already serve another
// client.
func TestUnblockAffectsOnlyItsClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=8", gateway.Config{})
	p := h.dial()
	id := strings.Trim(p.ask("CLIENT ID"), ":|")
	const n = 3000
	s.Do("EVAL", "for i = 1, ARGV[1] do redis.call('LPUSH', 'k', i) end", "0", fmt.Sprint(n))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		q, other := h.dial(), h.dial()
		wg.Go(func() {
			for !stop.Load() {
				q.ask("CLIENT UNBLOCK " + id + " ERROR")
			}
		})
		wg.Go(func() {
			for !stop.Load() {
				if got := other.ask("BLPOP none 0.01"); got != "*-1|" {
					t.Errorf("a client without an UNBLOCK got %q", got)
				}
			}
		})
	}
	for range n {
		p.ask("BLPOP k 1")
	}
	stop.Store(true)
	wg.Wait()
}
