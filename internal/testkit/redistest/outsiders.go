//go:build unix

package redistest

import (
	"strings"
	"testing"
	"time"
)

// outsiders is one look at the connections that belong neither to this
// package, nor to replication, nor to a sentinel. Those have a name or a flag
// that tells, except for a moment after they were accepted: then it is looked up
// whose socket it is. Where that can't be told, since the other side has closed
// it or this package was just dialing, a connection without a name counts when it stays: a
// server that was paused finds what sentinels gave up meanwhile.
func (s *Server) outsiders() (n int, seen string, err error) {
	begun := s.dialsBegun.Load()
	quiet := begun == s.dialsEnded.Load()
	list, err := s.TryDo("CLIENT", "LIST")
	if err != nil {
		return 0, "", err
	}
	quiet = quiet && begun == s.dialsBegun.Load() // else one without a name may be this package's
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

// staysFor is from when on a connection whose owner can't be told counts.
const staysFor = 100 * time.Millisecond

// relatives are the processes of the set.
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

// WatchOutsiders is WatchClients for the connections of clients alone, where
// sentinels and replicas are connected as well.
func (s *Server) WatchOutsiders() *ClientWatch { return s.watch(s.outsiders) }

// WaitOutsiders waits until the server counts n connections of clients, and
// fails the test if it does not within the time.
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
