package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/identity"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// A user without a password logs in with any password. The client keeps a bounded number of them, and none after the clients
// have left.
func TestTheNumberOfKeptLoginsIsBounded(t *testing.T) {
	const clients, logins = 10, 10_000
	s := redistest.Start(t, redistest.Config{Users: []string{"user guest on nopass ~* &* +@all", "user alice on >a >b >c >d >e >f ~* &* +@all"}})
	c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 4})
	g, err := gateway.New(c.Engine(), gateway.Config{PassThrough: true})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Shutdown(bounded(t))
	var wg sync.WaitGroup
	var conns []net.Conn
	for i := range clients {
		conn, err := g.DialContext(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		conns = append(conns, conn)
		wg.Go(func() {
			in := bufio.NewReader(conn)
			ask := func(line string, frames int) {
				_, _ = io.WriteString(conn, line+"\r\n")
				for range frames {
					if got, err := in.ReadString('\n'); err != nil || strings.HasPrefix(got, "-") {
						t.Errorf("%s: %s %v", line, got, err)
					}
				}
			}
			for n := range logins / clients {
				ask(fmt.Sprintf("AUTH guest password-%d-%d", i, n), 1)
				if n%100 == 0 {
					ask("AUTH alice "+string("abcdef"[n/100%6]), 1)
					ask("SET key value", 1)
					ask("SUBSCRIBE news", 6)
					ask("UNSUBSCRIBE news", 6)
				}
			}
		})
	}
	wg.Wait()
	if kept := c.Engine().Stats().Users; kept.Users > 2 || kept.Passwords > 8 || kept.Hubs > 2 || kept.Users == 0 {
		t.Errorf("after %d logins %+v are kept: want 2 users, 4 passwords and 1 hub each at most", logins, kept)
	}
	for _, conn := range conns {
		conn.Close()
	}
	testkit.Await(t, "no user is kept", func() identity.Stats { return c.Engine().Stats().Users }, testkit.Is(identity.Stats{}))
	if st := c.Stats(); st.Sockets() > 4 || st.Dials > 100 {
		t.Errorf("%d connections, %d dials: want 4 connections at most, and few dials", st.Sockets(), st.Dials)
	}
}
