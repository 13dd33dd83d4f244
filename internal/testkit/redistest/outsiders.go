//go:build unix

package redistest

import (
	"strings"
	"testing"
	"time"
)

// outsiders counts the connections of clients: those that belong neither to this package, nor to
// replication, nor to a sentinel. A name or a flag identifies the others, except in the moment after
// the server has accepted them. For a connection without a name, outsiders looks up the owner of the
// socket. The owner is unknown if the other side has closed the socket or this package is dialing.
// Then the connection counts if it stays open: a server that was paused also lists connections that
// sentinels have closed meanwhile.
func (s *Server) outsiders() (n int, seen string, err error) {
	begun := s.dialsBegun.Load()
	quiet := begun == s.dialsEnded.Load()
	list, err := s.TryDo("CLIENT", "LIST")
	if err != nil {
		return 0, "", err
	}
	quiet = quiet && begun == s.dialsBegun.Load() // else a connection without a name may be this package's
	unnamed, now := map[string]time.Time{}, time.Now()
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
			n++
			seen += line
		default:
			mine, known := owned(f["addr"], f["laddr"], s.relatives())
			known = known && quiet
			since, before := s.unnamed[f["id"]]
			if !before {
				since = now
			}
			unnamed[f["id"]] = since
			if known && !mine || !known && now.Sub(since) > staysFor {
				n++
				seen += line
			}
		}
	}
	s.unnamed = unnamed
	return n, seen, nil
}

// staysFor is how long a connection of an unknown owner must stay open to count.
const staysFor = 100 * time.Millisecond

// relatives are the process IDs of the set.
func (s *Server) relatives() []int {
	if s.set == nil {
		return nil
	}
	var pids []int
	for _, list := range [][]*Server{s.set.Nodes, s.set.Sentinels} {
		for _, r := range list {
			pids = append(pids, int(r.pid.Load()))
		}
	}
	return pids
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
