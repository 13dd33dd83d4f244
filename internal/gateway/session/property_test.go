package session_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
	"pgregory.net/rapid"
)

// more are requests that the comparison with a server cannot contain.
var more = strings.Split(strings.TrimSpace(`
WATCH {key}
CLIENT TRACKING ON
CLIENT TRACKING OFF
CLIENT CACHING YES
MONITOR
SCRIPT DEBUG YES
SCRIPT DEBUG NO
SUBSCRIBE c1 c2
SSUBSCRIBE c1
AUTH secret
AUTH user secret
HELLO 2 AUTH user secret
HELLO 3 AUTH user secret
CLIENT INFO
CLIENT LIST
CLIENT KILL ID 3
WAIT 1 0
CONFIG SET a b
SHUTDOWN
CLUSTER RESET
SENTINEL MASTERS
RESPOOL STATS
JSON.GET {key}
`), "\n")

// holder tracks what a session holds.
type holder struct {
	conn, monitor bool
	cluster       bool // commands need not use the connection
	topics        map[session.Topic]bool
}

func (h *holder) release(t *rapid.T, r session.Release) {
	if r.Conn != session.Keep && !h.conn {
		t.Fatal("a connection is released, but none is held")
	}
	if r.Monitor && !h.monitor {
		t.Fatal("the connection of MONITOR is released, but there is none")
	}
	h.conn = h.conn && r.Conn == session.Keep
	h.monitor = h.monitor && !r.Monitor
	for _, topic := range r.Topics {
		if !h.topics[topic] {
			t.Fatalf("%v is released without a subscription", topic)
		}
		delete(h.topics, topic)
	}
}

// done completes a step with possible replies of a server, or with an error.
func (h *holder) done(t *rapid.T, s *session.Session, step *session.Step) (closed bool) {
	frame := rapid.SampledFrom([]string{"+OK\r\n", "+OK\r\n", "+OK\r\n", "-ERR no\r\n", "*-1\r\n", ":1\r\n"})
	var frames [][]byte
	var err error
	if rapid.IntRange(0, 7).Draw(t, "fails") == 0 {
		err = errors.New("the conn is lost")
	} else {
		for range step.Replies {
			frames = append(frames, []byte(frame.Draw(t, "frame")))
		}
	}
	switch step.Kind {
	case session.ClientCommand, session.Console:
		frames = [][]byte{[]byte("+OK\r\n")}
	case session.Pin:
		h.conn = true
	case session.Monitor:
		h.monitor = true
	case session.Subscribe:
		for _, topic := range step.Topics {
			h.topics[topic] = err == nil
		}
	}
	out := s.Done(step, frames, err)
	h.release(t, out.Release)
	wellFormed(t, step, out.Reply)
	return out.Close
}

func wellFormed(t *rapid.T, step *session.Step, reply []byte) {
	for len(reply) > 0 {
		n, err := resp.FrameLen(reply)
		if err != nil {
			t.Fatalf("%v: %q: %v", step, reply, err)
		}
		reply = reply[n:]
	}
}

func drawAny(t *rapid.T, turn int) []string {
	if rapid.Bool().Draw(t, "more") {
		return strings.Fields(strings.ReplaceAll(rapid.SampledFrom(more).Draw(t, "request"), "{key}", "k1"))
	}
	return drawRequest(t, turn)
}

func TestResetAndEndLeaveANewSession(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := &session.Config{
			NeedAuth: rapid.Bool().Draw(t, "auth"), Databases: rapid.SampledFrom([]int{0, 16}).Draw(t, "databases"),
			Cluster: rapid.Bool().Draw(t, "cluster"), QueueLimit: rapid.SampledFrom([]int{0, 60}).Draw(t, "queue"), MaxTopics: 3,
			Lookup: drawLookup(t),
		}
		s := session.New(cfg, 1, "10.0.0.1:5000")
		turn := drawTurn(t)
		h := &holder{cluster: cfg.Cluster, topics: map[session.Topic]bool{}}
		for range rapid.IntRange(1, 30).Draw(t, "length") {
			raw, args := request(drawAny(t, turn)...)
			kept := bytes.Clone(raw)
			step := s.Next(raw, args)
			if step.Kind == session.Learn {
				h.check(t, s, &step)
				if step = s.NextLearned(raw, args); step.Kind == session.Learn {
					t.Fatalf("%q needs Learn twice", args)
				}
			}
			h.check(t, s, &step)
			if step.Kind == session.Unsubscribe {
				h.release(t, session.Release{Topics: step.Topics})
			}
			h.release(t, step.Release)
			wellFormed(t, &step, step.Reply)
			if step.Kind == session.Close || step.NeedsDone() && h.done(t, s, &step) {
				break
			}
			if !bytes.Equal(raw, kept) {
				t.Fatalf("%v changed its request", &step)
			}
			if h.conn && rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
				out := s.PinLost()
				if h.release(t, out.Release); out.Close {
					break
				}
			}
		}
		h.end(t, s)
	})
}

// check compares a step with what the session holds.
func (h *holder) check(t *rapid.T, s *session.Session, step *session.Step) {
	if step.OnPin && !h.conn {
		t.Fatalf("%v: no connection is held", step)
	}
	if step.Kind == session.Pin && h.conn {
		t.Fatalf("%v: a connection is held already", step)
	}
	if h.conn && !h.cluster && (step.Kind == session.Multiplexed || step.Kind == session.Dedicated || step.Kind == session.Transaction && !step.OnPin) {
		t.Fatalf("%v does not use the session's connection", step)
	}
	if step.Kind.Upstream() && !s.Authenticated() {
		t.Fatalf("%v before AUTH", step)
	}
	if (step.Kind == session.Pin || step.Kind == session.Dedicated || step.Kind == session.Wait || step.Kind == session.Monitor) && !step.Barrier {
		t.Fatalf("%v is not a barrier", step)
	}
}

// drawLookup knows no command, or has the same description for all commands that the table lacks.
func drawLookup(t *rapid.T) func([][]byte) (*command.Info, command.Known) {
	known := command.Known(rapid.IntRange(-1, int(command.Learned)).Draw(t, "known") & 7)
	flags := rapid.SampledFrom([]string{"write", "readonly", "admin", "blocking"}).Draw(t, "flags")
	if known > command.Learned {
		return nil
	}
	return func(args [][]byte) (*command.Info, command.Known) {
		if known != command.Learned {
			return nil, known
		}
		return command.FromFlags(strings.ToUpper(string(args[0])), []string{flags, "write"}, nil), known
	}
}

// end resets or ends the session, possibly while a step is pending.
func (h *holder) end(t *rapid.T, s *session.Session) {
	switch rapid.IntRange(0, 2).Draw(t, "end") {
	case 0:
		step := s.Next(request("RESET"))
		h.release(t, step.Release)
	case 1:
		h.release(t, s.End())
	case 2:
		raw, args := request(drawAny(t, 0)...)
		step := s.Next(raw, args)
		if step.Kind == session.Learn {
			step = s.NextLearned(raw, args)
		}
		if step.Kind == session.Unsubscribe {
			h.release(t, session.Release{Topics: step.Topics})
		}
		h.release(t, step.Release)
		h.release(t, s.End())
		if step.NeedsDone() {
			h.done(t, s, &step)
		}
	}
	for topic, held := range h.topics {
		if held {
			t.Fatalf("%v is still subscribed", topic)
		}
	}
	if h.conn || h.monitor {
		t.Fatalf("a connection is held: %+v", h)
	}
	if !s.IsNew() {
		t.Fatalf("%v differs from a new session", s)
	}
}
