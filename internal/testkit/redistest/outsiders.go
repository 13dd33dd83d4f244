//go:build unix

package redistest

import (
	"strings"
	"testing"
	"time"
)

// unnamed is a connection without a name.
type unnamed struct {
	since       time.Time // of the first look
	mine, known bool      // the owner of the socket
}

// Outsiders returns the lines of CLIENT LIST for the connections of clients: those that belong neither
// to this package, nor to replication, nor to a peer. It may be called on any goroutine.
//
// A name or a flag identifies most connections, except in the moment after the server has accepted
// them. For a connection without a name, Outsiders looks up the owner of the socket. The owner is
// unknown if the other side has closed the socket or this package is dialing. Then the connection
// counts if it stays open: a server that was paused also lists connections that its peers have closed
// meanwhile.
func (s *Server) Outsiders() ([]string, error) {
	begun := s.dialsBegun.Load()
	quiet := begun == s.dialsEnded.Load()
	list, err := s.TryDo("CLIENT", "LIST")
	if err != nil {
		return nil, err
	}
	quiet = quiet && begun == s.dialsBegun.Load() // else a connection without a name may be this package's
	var outsiders []string
	seen, now := map[string]unnamed{}, time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(list) {
		f := map[string]string{}
		for pair := range strings.FieldsSeq(line) {
			key, value, _ := strings.Cut(pair, "=")
			f[key] = value
		}
		switch name := f["name"]; {
		case name == ownName || strings.HasPrefix(name, "sentinel-"):
		case strings.ContainsAny(f["flags"], "SM"):
		case name != "":
			outsiders = append(outsiders, line)
		default:
			key := f["id"] + " " + f["addr"]
			u, before := s.unnamed[key]
			if !before {
				u.since = now
			}
			if !u.known {
				u.mine, u.known = s.ownedByPeer(f["addr"], f["laddr"])
				u.known = u.known && quiet
			}
			seen[key] = u
			if u.known && !u.mine || !u.known && now.Sub(u.since) > staysFor {
				outsiders = append(outsiders, line)
			}
		}
	}
	s.unnamed = seen
	return outsiders, nil
}

// staysFor is how long a connection of an unknown owner must stay open to count.
const staysFor = 100 * time.Millisecond

// ownedByPeer reports whether a peer owns the socket behind a connection. While a relay connects, its
// connection looks like one of this process.
func (s *Server) ownedByPeer(from, to string) (mine, known bool) {
	var peers []int
	if s.cfg.Peers != nil {
		peers = pids(s.cfg.Peers())
	}
	if s.cfg.Origin == nil {
		return owned(from, to, peers)
	}
	if client, relay, ok := s.cfg.Origin(from); ok {
		return owned(client, relay, peers)
	}
	mine, known = owned(from, to, peers)
	return mine, known && mine
}

func pids(servers []*Server) []int {
	var pids []int
	for _, s := range servers {
		pids = append(pids, s.PID())
	}
	return pids
}

// Own reports whether one of the servers owns the socket with these addresses: its own and that of
// the other end. It reports false on systems other than Linux.
func Own(servers []*Server, local, remote string) bool {
	mine, known := owned(local, remote, pids(servers))
	return known && mine
}

// outsiders counts the connections of clients and lists them.
func (s *Server) outsiders() (n int, seen string, err error) {
	lines, err := s.Outsiders()
	return len(lines), strings.Join(lines, ""), err
}

// WatchOutsiders is WatchClients without the connections of sentinels and replicas.
func (s *Server) WatchOutsiders() *ClientWatch { return s.watch(s.outsiders) }

// WaitOutsiders waits until the server counts n connections of clients. It fails the test after the
// time limit.
func (s *Server) WaitOutsiders(t testing.TB, n int, within time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		got, _, err := s.outsiders()
		if err == nil && got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%s counts %d connections of clients (error: %v): want %d", s.PlainAddr(), got, err, n)
			return
		}
	}
}
