package gateway_test

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// opened returns the number of connections that the server has accepted.
func opened(s *redistest.Server) int {
	n, _ := strconv.Atoi(s.Info("stats")["total_connections_received"])
	return n
}

// siege runs one caller per line for a time. Each call uses the peer that next returns. Every reply must contain want.
// It returns the number of replies.
func siege(t *testing.T, lines []string, limit time.Duration, want string, next func(i int) *peer) (refused int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i, line := range lines {
		wg.Go(func() {
			for end := time.Now().Add(limit); time.Now().Before(end); {
				got := next(i).ask(line)
				if !strings.Contains(got, want) {
					t.Errorf("got %s: want %s", got, want)
					return
				}
				mu.Lock()
				refused++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return refused
}

// Clients that the server refuses cause at most two dials a second, whatever their number, and do not affect other
// clients.
func TestRefusedClientsCostFewDials(t *testing.T) {
	const limit = 1500 * time.Millisecond
	for name, c := range map[string]struct {
		login []string // commands of the clients
		spoil []string // commands on the server after the login
		want  string
		ends  bool // the earlier clients are closed
	}{
		"switched off":       {[]string{"AUTH alice alice"}, []string{"ACL SETUSER alice off"}, "WRONGPASS", true},
		"password changed":   {[]string{"AUTH alice alice"}, []string{"ACL SETUSER alice resetpass >new"}, "WRONGPASS", true},
		"no right to SELECT": {[]string{"SELECT 9"}, []string{"ACL SETUSER default -select"}, "NOPERM", false},
		"wants a password":   {nil, []string{"CONFIG SET requirepass x"}, "NOAUTH", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, h := withUsers(t)
			var peers []*peer
			for range 8 {
				p := h.dial()
				for _, line := range c.login {
					if got := p.ask(line); got != "+OK|" {
						t.Fatal(got)
					}
				}
				p.ask("GET alice")
				peers = append(peers, p)
			}
			other := h.dial()
			if got := other.ask("AUTH bob bob"); got != "+OK|" {
				t.Fatal(got)
			}
			other.ask("GET bob")
			for _, line := range c.spoil {
				s.Do(strings.Fields(line)...)
			}
			closed := h.client.Stats().Closed
			killed, err := strconv.Atoi(s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
			if err != nil || killed == 0 {
				t.Fatalf("%d connections were killed: %v", killed, err)
			}
			testkit.Await(t, "the connections are gone", h.client.Stats, func(s respool.Stats) bool { return s.Closed >= closed+uint64(killed) })
			before, began := opened(s), time.Now()
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 50 {
					if got := other.ask("GET bob"); got != "$-1|" {
						t.Errorf("another client got %s", got)
						return
					}
				}
			})
			lines := slices.Repeat([]string{"GET alice"}, len(peers))
			next := func(i int) *peer { return peers[i] }
			if c.ends {
				for _, p := range peers {
					p.ends()
				}
				lines = slices.Repeat([]string{"AUTH alice alice"}, len(peers))
				for i := range peers { // they retry on their connections
					peers[i] = h.dial()
				}
			}
			refused := siege(t, lines, limit, c.want, next)
			wg.Wait()
			dials, took := opened(s)-before, time.Since(began)
			// four dials may be in flight at first, and bob has some
			if most := 4 + 4 + int(took/(500*time.Millisecond)); dials > most {
				t.Errorf("%d connections opened in %v: want %d at most", dials, took, most)
			}
			if refused < 10*dials {
				t.Errorf("%d commands refused, %d connections opened", refused, dials)
			}
			if st := h.client.Stats(); st.LastDialError == nil || !strings.Contains(st.LastDialError.Error(), c.want) {
				t.Errorf("the last dial failed with %v", st.LastDialError)
			}
		})
	}
}
