package gateway_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// busy keeps n clients of the gateway busy until the returned function is called.
func (h *testGateway) busy(n int) (stop func()) {
	done := make(chan struct{})
	ended := make(chan struct{}, n)
	for i := range n {
		p := h.dial()
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := fmt.Fprintf(p, "INCR k%d\r\n", i); err != nil {
					return
				}
				if _, err := p.tryFrame(); err != nil {
					return
				}
			}
		}()
	}
	return func() {
		close(done)
		for range n {
			<-ended
		}
	}
}

// The path to the server drops everything but acknowledges it, and new connections work. Clients get replies long
// before the stall limit, on new connections, and the gateway closes the dead ones.
func TestADeadPathToTheServerIsReplaced(t *testing.T) {
	const stall = 10 * patience
	s := redistest.Start(t, redistest.Config{TLS: true})
	for _, protocol := range []int{2, 3} {
		for _, scheme := range []string{"redis", "rediss", "unix"} {
			t.Run(fmt.Sprintf("RESP%d, %s", protocol, scheme), func(t *testing.T) {
				t.Parallel()
				at := &url.URL{Scheme: scheme, Host: s.PlainAddr()}
				if scheme == "rediss" {
					at, _ = url.Parse(s.URL())
				}
				var relay *faultnet.Relay
				if scheme == "unix" {
					at = &url.URL{Scheme: scheme, Path: filepath.Join(t.TempDir(), "relay")}
					relay = faultnet.StartUnix(t, at.Path, s.PlainAddr())
				} else {
					relay = faultnet.Start(t, at.Host)
					at.Host = relay.Addr()
				}
				keys := at.Query()
				keys.Set("max_connections", "12")
				keys.Set("stall_limit", stall.String())
				keys.Set("socket_timeout", stall.String())
				keys.Set("linger_limit", "1")
				at.RawQuery = keys.Encode()
				// Several loops might open lanes at the moment of the fault.
				leavesADeadPath(t, open(t, at.String(), gateway.Config{Loops: 1}), protocol, relay)
			})
		}
	}
}

// leavesADeadPath checks that clients of h get replies after all connections through relay have died, and that the
// gateway closes the dead ones.
func leavesADeadPath(t *testing.T, h *testGateway, protocol int, relay *faultnet.Relay) {
	hello := fmt.Sprint("HELLO ", protocol)
	warm := h.dial()
	warm.send(hello)
	warm.frame()
	for _, p := range []*peer{warm, h.dial()} { // a lane for each protocol
		p.ask("GET k")
	}
	stop := h.busy(16)
	defer stop()
	testkit.Await(t, "a connection", h.client.Stats, func(s respool.Stats) bool { return s.RepliesDue > 0 })
	before, dead := relay.Accepted(), h.client.Stats().Lanes
	relay.Swallow()
	testkit.Eventually(t, "a reply", func() bool {
		p := h.dial()
		defer p.Close()
		p.send(hello)
		p.frame()
		_ = p.SetDeadline(time.Now().Add(time.Second))
		_, err := fmt.Fprintf(p, "INCR n\r\n")
		if err != nil {
			return false
		}
		reply, err := p.tryFrame()
		return err == nil && strings.HasPrefix(reply, ":")
	})
	if relay.Accepted() == before {
		t.Error("there was an answer without a new connection")
	}
	testkit.Await(t, "the dead connections are given up", h.client.Stats, func(s respool.Stats) bool { return s.FailedLanes >= uint64(dead) })
}

// A script of one client runs longer than the stall limit. Other clients get BUSY, as without a gateway, and the
// script's client gets its reply.
func TestOtherClientsGetBusyDuringAScript(t *testing.T) {
	const stall = time.Second
	s := redistest.Start(t, redistest.Config{Args: []string{"--lua-time-limit", "500"}})
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			h := open(t, s.URL()+fmt.Sprintf("?stall_limit=%v&socket_timeout=60", stall), gateway.Config{})
			hello := fmt.Sprint("HELLO ", protocol)
			script, other := h.dial(), h.dial()
			for _, p := range []*peer{script, other} {
				p.send(hello)
				p.frame()
				p.ask("GET k")
			}
			began := time.Now()
			script.write("*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n")
			told := 0
			for time.Since(began) < 2*stall || told < 10 {
				p := h.dial()
				p.send(hello)
				p.frame()
				_ = p.SetDeadline(time.Now().Add(stall / 2))
				if _, err := fmt.Fprintf(p, "GET k\r\n"); err == nil {
					if reply, err := p.tryFrame(); err == nil && strings.HasPrefix(reply, "-BUSY") {
						told++
					}
				}
				p.Close()
				if time.Since(began) > patience {
					t.Fatalf("others were told %d times", told)
				}
			}
			s.Do("SCRIPT", "KILL")
			if reply := script.frame(); !strings.Contains(reply, "killed") {
				t.Errorf("the script's client got %q", reply)
			}
			other.ask("GET k")
		})
	}
}

// New clients without a connection get BUSY too. The server accepts no connection before the script exceeds its limit.
func TestNewClientsGetBusyDuringAScript(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--lua-time-limit", "4000"}})
	h := open(t, s.URL(), gateway.Config{Loops: 1}) // it receives the script first
	script := h.dial()
	script.ask("GET k")
	script.write("*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n")
	replies := make(chan string)
	const others = 20
	for range others {
		p := h.dial()
		p.send("INCR n")
		go func() {
			reply, _ := p.tryFrame()
			replies <- reply
		}()
		time.Sleep(100 * time.Millisecond)
	}
	first := <-replies // the replies on the script's connection wait for its end
	s.Do("SCRIPT", "KILL")
	told := 0
	for n := range others {
		reply := first
		if n > 0 {
			reply = <-replies
		}
		switch {
		case strings.HasPrefix(reply, "-BUSY"):
			told++
		case n == 0 || !strings.HasPrefix(reply, ":"):
			t.Errorf("number %d to be answered got %q", n, reply)
		}
	}
	if n := s.Do("GET", "n"); n != fmt.Sprint(others-told) {
		t.Errorf("%d of %d were told, and n is %s", told, others, n)
	}
	if reply := script.frame(); !strings.Contains(reply, "killed") {
		t.Errorf("the script's client got %q", reply)
	}
}

// A client with several connections checks one of them with CLIENT LIST on another one. The gateway must not look like
// a server that replies on a dead path.
func TestAClientWithASlowReplyIsListedAsBlocked(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	slow, other := h.dial(), h.dial()
	id := slow.ask("CLIENT ID")
	other.ask("GET k")
	s.Do("CLIENT", "PAUSE", "60000", "WRITE")
	defer s.Do("CLIENT", "UNPAUSE")
	slow.send("SET k v")
	line := "CLIENT LIST ID " + strings.Trim(id, ":|\r\n")
	testkit.Eventually(t, "flag b", func() bool { return strings.Contains(other.ask(line), "flags=b ") })
	s.Do("CLIENT", "UNPAUSE")
	slow.want("+OK|")
	testkit.Eventually(t, "no flag b", func() bool { return strings.Contains(other.ask(line), "flags=N ") })
}
