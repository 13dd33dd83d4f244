package session_test

import (
	"bytes"
	"encoding/gob"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

// stateful are requests that change the state of a session.
var stateful = strings.Split(strings.TrimSpace(`
CLIENT SETNAME me
CLIENT SETINFO LIB-NAME lib
CLIENT SETINFO LIB-VER 1.2
CLIENT NO-EVICT ON
CLIENT NO-TOUCH ON
CLIENT REPLY OFF
CLIENT REPLY SKIP
CLIENT REPLY ON
HELLO 2
HELLO 3
SELECT 3
READONLY
SUBSCRIBE c1 c2
PSUBSCRIBE p1
SSUBSCRIBE s1
UNSUBSCRIBE c1
UNSUBSCRIBE
AUTH secret
AUTH default secret
WATCH {key}
MULTI
EXEC
CONFIG GET maxmemory
RESET
`), "\n")

// moved returns a session that was moved to another process.
func moved(t *rapid.T, cfg *session.Config, s *session.Session) *session.Session {
	var wire bytes.Buffer
	if err := gob.NewEncoder(&wire).Encode(s.Snapshot()); err != nil {
		t.Fatal(err)
	}
	var snap session.Snapshot
	if err := gob.NewDecoder(&wire).Decode(&snap); err != nil {
		t.Fatal(err)
	}
	r, err := session.Restore(cfg, &snap)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sameExported checks the exported fields of two values.
func sameExported(t *rapid.T, what string, a, b any) {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if f := x.Type().Field(i); f.IsExported() && !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			t.Fatalf("%s: %s is %v in the original, and %v in the restored session", what, f.Name, x.Field(i), y.Field(i))
		}
	}
}

// A session that was restored from a snapshot takes the same steps, with the same outcomes, as the original. So does one that
// was moved several times.
func TestARestoredSessionBehavesAsTheOriginal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := &session.Config{
			NeedAuth: rapid.Bool().Draw(t, "auth"), Databases: rapid.SampledFrom([]int{0, 16}).Draw(t, "databases"),
			Cluster: rapid.Bool().Draw(t, "cluster"), MaxTopics: 5, Lookup: drawLookup(t),
		}
		s := session.New(cfg, 7, "10.0.0.1:5000")
		r, turn := moved(t, cfg, s), drawTurn(t)
		for range rapid.IntRange(1, 30).Draw(t, "length") {
			if s.Movable() != r.Movable() {
				t.Fatalf("the original is movable: %v; the restored session: %v", s.Movable(), r.Movable())
			}
			if s.Movable() && rapid.Bool().Draw(t, "moves") {
				r = moved(t, cfg, r)
			}
			words := drawAny(t, turn)
			if rapid.Bool().Draw(t, "stateful") {
				words = strings.Fields(strings.ReplaceAll(rapid.SampledFrom(stateful).Draw(t, "request"), "{key}", "k1"))
			}
			if compareStep(t, s, r, words) {
				break
			}
			if a, b := s.AppendInfo(nil, session.ConnInfo{}), r.AppendInfo(nil, session.ConnInfo{}); !bytes.Equal(a, b) {
				t.Fatalf("CLIENT LIST after %q:\n%s%s", words, a, b)
			}
		}
		sameExported(t, "the end", s.End(), r.End())
	})
}

// compareStep sends the same request and the same replies to both sessions, and reports whether they end.
func compareStep(t *rapid.T, s, r *session.Session, words []string) (ends bool) {
	what := strings.Join(words, " ")
	step, other := s.Next(request(words...)), r.Next(request(words...))
	sameExported(t, what, step, other)
	if step.Kind == session.Learn {
		step, other = s.NextLearned(request(words...)), r.NextLearned(request(words...))
		sameExported(t, what, step, other)
	}
	if !step.NeedsDone() {
		return step.Kind == session.Close
	}
	frame := rapid.SampledFrom([]string{"+OK\r\n", "+OK\r\n", "-ERR no\r\n", "*-1\r\n", ":1\r\n"})
	var frames, copies [][]byte
	for range max(step.Replies, 1) {
		text := frame.Draw(t, "frame")
		frames, copies = append(frames, []byte(text)), append(copies, []byte(text))
	}
	if step.Kind == session.Subscribe || step.Kind == session.Identify {
		frames, copies = nil, nil
	}
	out := s.Done(&step, frames, nil)
	sameExported(t, what, out, r.Done(&other, copies, nil))
	return out.Close
}

func TestASnapshotOfNoSessionIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*session.Snapshot){
		"protocol": func(s *session.Snapshot) { s.Identity.Proto = 4 },
		"database": func(s *session.Snapshot) { s.Identity.DB = -1 },
		"user":     func(s *session.Snapshot) { s.Identity.User = "" },
		"name":     func(s *session.Snapshot) { s.Name = "two words" },
		"library":  func(s *session.Snapshot) { s.LibraryVersion = "1\n2" },
		"topic":    func(s *session.Snapshot) { s.Topics = []session.Topic{{Kind: 3, Name: "c"}} },
	} {
		cfg := &session.Config{}
		snap := session.New(cfg, 1, "10.0.0.1:5000").Snapshot()
		spoil(&snap)
		if _, err := session.Restore(cfg, &snap); err == nil {
			t.Errorf("%s: it was restored", name)
		}
	}
}

func TestASessionThatHoldsMoreThanItsStateStays(t *testing.T) {
	for _, words := range [][]string{{"MULTI"}, {"WATCH", "k"}, {"MONITOR"}, {"CLIENT", "TRACKING", "ON"}} {
		s := session.New(&session.Config{}, 1, "10.0.0.1:5000")
		if !s.Movable() {
			t.Fatal("a new session is not movable")
		}
		if step := s.Next(request(words...)); step.NeedsDone() {
			s.Done(&step, [][]byte{[]byte("+OK\r\n")}, nil)
		}
		if s.Movable() {
			t.Errorf("%q: it is movable", words)
		}
	}
}
