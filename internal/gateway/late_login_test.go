package gateway_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// A server since 7.2 sends no reply to a refused login among other commands. After a password change, logins with the
// old password are refused, and earlier clients get their own replies.
func TestRefusedLoginsShiftNoReplies(t *testing.T) {
	const clients, rounds, batch = 8, 60, 8
	s := fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Valkey80, Users: map[string]string{"alice": "old"}})
	h := open(t, "redis://"+s.Addr()+"?max_connections=2", gateway.Config{PassThrough: true})
	var peers []*peer
	for n := range clients {
		p := h.dial()
		key := "key-" + strconv.Itoa(n)
		p.send("AUTH alice old", "SET "+key+" value-"+strconv.Itoa(n))
		p.want("+OK|", "+OK|")
		peers = append(peers, p)
	}
	s.SetPassword("alice", "new")
	var wg sync.WaitGroup
	for n, p := range peers {
		wg.Go(func() {
			lines, want := make([]string, batch), "$7\r\nvalue-"+strconv.Itoa(n)+"\r\n"
			for i := range lines {
				lines[i] = "GET key-" + strconv.Itoa(n)
			}
			for range rounds {
				p.send(lines...)
				for range lines {
					if got := p.frame(); got != want {
						t.Errorf("client %d got %s", n, got)
						return
					}
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range rounds {
				if got := h.dial().ask("AUTH alice old"); got != "-WRONGPASS invalid username-password pair or user is disabled.|" {
					t.Errorf("a late login got %s", got)
					return
				}
			}
		})
	}
	wg.Wait()
}
