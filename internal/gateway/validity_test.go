package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// everyUser may do everything except change users. A new user of Redis 6.2 may use all channels, and accepts a pattern
// only after resetchannels. There, -@admin removes all of ACL.
const everyUser = "user %s on >%[1]s ~%[1]s* resetchannels &%[1]s* +@all -@admin +acl|whoami"

// goesOn runs commands of every kind as a user, except subscriptions.
func (p *peer) goesOn(proto int, name string) {
	p.t.Helper()
	p.send("ACL WHOAMI", "SET "+name+" 1", "GET "+name, "BLPOP "+name+":none 0.01", "BLPOP "+name+":none 0.01",
		"MULTI", "GET "+name, "EXEC", "WATCH "+name, "GET "+name, "UNWATCH", "SELECT 2", "GET "+name, "ACL WHOAMI", "SELECT 0", "PING")
	p.want(bulk(name), "+OK|", "$1|1|", nullArray(proto), nullArray(proto), "+OK|", "+QUEUED|", "*1|$1|1|",
		"+OK|", "$1|1|", "+OK|", "+OK|", map[int]string{2: "$-1|", 3: "_|"}[proto], bulk(name), "+OK|", "+PONG|")
}

// listens subscribes as a user. The connection for it ends with the subscription.
func (p *peer) listens(proto int, name string) {
	p.t.Helper()
	p.send("SUBSCRIBE "+name, "UNSUBSCRIBE "+name)
	kind := map[int]string{2: "*", 3: ">"}[proto]
	p.want(kind+"3|$9|subscribe|"+bulk(name)+":1|", kind+"3|$11|unsubscribe|"+bulk(name)+":0|")
}

// A server verifies a password once. Clients of a user that the server now refuses continue on existing connections.
func TestAClientContinuesWhenTheServerRefusesItsUser(t *testing.T) {
	for what, rule := range map[string][]string{"password changed": {"resetpass", ">new"}, "switched off": {"off"}} {
		onEachProtocol(t, func(t *testing.T, proto, most int) {
			s := redistest.Start(t, redistest.Config{Users: []string{fmt.Sprintf(everyUser, "alice"), fmt.Sprintf(everyUser, "bob")}})
			h := passing(t, s, most, "")
			p, q := h.login("alice", proto), h.login("alice", 5-proto)
			p.goesOn(proto, "alice")
			q.goesOn(5-proto, "alice")
			p.listens(proto, "alice")
			testkit.Eventually(t, "the subscription's connection is gone", func() bool {
				st := h.client.Stats()
				return st.Subscribed == 0 && st.Closing == 0 // with two connections, the other is the last one of alice until then
			})
			s.Do(append([]string{"ACL", "SETUSER", "alice"}, rule...)...)
			for range 2 {
				if got := h.dial().ask("AUTH alice alice"); !strings.HasPrefix(got, "-WRONGPASS") {
					t.Errorf("%s: a late login got %s", what, got)
				}
				if most > 1 { // the only connection has switched to another user and cannot switch back
					p.goesOn(proto, "alice")
					q.goesOn(5-proto, "alice")
				}
			}
			if most > 2 {
				p.listens(proto, "alice")
				p.goesOn(proto, "alice")
			}
			if what == "password changed" {
				r := h.dial()
				r.send("AUTH alice new")
				r.want("+OK|")
				r.goesOn(2, "alice")
				if most > 1 {
					p.goesOn(proto, "alice")
				}
			}
			h.login("bob", proto).goesOn(proto, "bob")
		})
	}
}

// A server closes all connections of a deleted user.
func TestTheClientsOfADeletedUserAreClosed(t *testing.T) {
	states := map[string][]string{
		"idle": {"PING"}, "subscribed": {"SUBSCRIBE alice"}, "blocked": {"BLPOP alice 0"}, "watching": {"WATCH alice"},
		"tracking": {"CLIENT TRACKING ON"}, "in a transaction": {"MULTI", "GET alice"}, "silent": nil,
	}
	onEachProtocol(t, func(t *testing.T, proto, most int) {
		s := redistest.Start(t, redistest.Config{Users: []string{fmt.Sprintf(everyUser, "alice"), fmt.Sprintf(everyUser, "bob")}})
		h := passing(t, s, most, "&timeout=1")
		bob := h.login("bob", proto)
		bob.goesOn(proto, "bob")
		for state, lines := range states {
			if most == 1 && state != "idle" {
				continue // the only connection is leased or has another user
			}
			s.Do("ACL", "SETUSER", "alice", "reset", "on", ">alice", "~alice*", "resetchannels", "&alice*", "+@all")
			p := h.login("alice", proto)
			p.ask("GET alice")
			p.send(lines...)
			if state == "blocked" {
				testkit.Eventually(t, "a client is blocked", func() bool { return h.Stats().Blocked == 1 })
			} else {
				for range lines {
					p.frame()
				}
			}
			s.Do("ACL", "DELUSER", "alice")
			p.ends()
			bob.goesOn(proto, "bob")
		}
		testkit.Await(t, "the other clients have left", h.Stats, func(s gateway.Stats) bool { return s.Clients == 1 })
	})
}

func TestARecreatedUserWorksImmediately(t *testing.T) {
	onEachProtocol(t, func(t *testing.T, proto, most int) {
		s := redistest.Start(t, redistest.Config{})
		h := passing(t, s, most, "")
		for i := range 30 {
			s.Do("ACL", "SETUSER", "alice", "on", ">alice", "~alice*", "resetchannels", "&alice*", "+@all")
			p := h.login("alice", proto)
			p.send(fmt.Sprintf("SET alice %d", i), "GET alice", "ACL WHOAMI")
			p.want("+OK|", bulk(fmt.Sprint(i)), bulk("alice"))
			s.Do("ACL", "DELUSER", "alice")
		}
	})
}

// Users change their passwords and are disabled, deleted and recreated while clients use them. Every reply must be the
// user's own, or report that the server refuses the user.
func TestNoReplyCrossesUsersWhileUsersChange(t *testing.T) {
	const limit = 3 * time.Second
	names := []string{"ann", "ben", "cid"}
	s := redistest.Start(t, redistest.Config{})
	for _, name := range names {
		s.Do("SET", name, name)
		s.Do("ACL", "SETUSER", name, "on", ">"+name, "~"+name+"*", "+@all")
	}
	h := passing(t, s, 5, "&timeout=60")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	end := time.Now().Add(limit)
	var wg sync.WaitGroup
	wg.Go(func() {
		r := rand.New(rand.NewPCG(seed, 0))
		for time.Now().Before(end) {
			name := names[r.IntN(len(names))]
			changes := [][]string{{"resetpass", ">other"}, {"off"}, {"-get"}, nil}
			if change := changes[r.IntN(len(changes))]; change != nil {
				s.Do(append([]string{"ACL", "SETUSER", name}, change...)...)
			} else {
				s.Do("ACL", "DELUSER", name)
			}
			s.Do("CONFIG", "GET", "port")
			s.Do("ACL", "SETUSER", name, "reset", "on", ">"+name, "~"+name+"*", "+@all")
		}
	})
	var mu sync.Mutex
	seen := map[string]int{}
	for w := range 12 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w+1)))
			for time.Now().Before(end) && !t.Failed() {
				p := h.dial()
				name, db := names[r.IntN(len(names))], 0
				lines := []string{"AUTH " + name + " " + name}
				allowed := []string{"+OK|"}
				for range 10 {
					switch r.IntN(4) {
					case 0:
						lines, allowed = append(lines, "ACL WHOAMI"), append(allowed, bulk(name))
					case 1:
						db = r.IntN(2)
						lines, allowed = append(lines, fmt.Sprintf("SELECT %d", db)), append(allowed, "+OK|")
					default:
						lines, allowed = append(lines, "GET "+name), append(allowed, map[int]string{0: bulk(name), 1: "$-1|"}[db])
					}
				}
				for i, line := range lines {
					if _, err := fmt.Fprintf(p, "%s\r\n", line); err != nil {
						break
					}
					got, err := p.tryFrame()
					if err != nil {
						break // the user was deleted
					}
					got = strings.ReplaceAll(got, "\r\n", "|")
					code, _, _ := strings.Cut(got, " ")
					mu.Lock()
					seen[code]++
					mu.Unlock()
					if got != allowed[i] && !slices.Contains([]string{"-WRONGPASS", "-NOPERM", "-LOADING", "-ERR"}, code) {
						t.Errorf("user %s, db %d: %s gave %s: want %s", name, db, line, got, allowed[i])
					}
					if got[0] == '-' && (i == 0 || strings.HasPrefix(line, "SELECT")) {
						break // the client has no user, or another database
					}
				}
				p.Close()
			}
		})
	}
	wg.Wait()
	t.Logf("%v", seen)
}
