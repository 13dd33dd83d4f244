package session_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

var update = flag.Bool("update", false, "write the expectations of testdata anew")

// transcript runs one file. A file consists of blocks with an empty line between them; a
// block is its input, a line of dashes and what is expected. A line of input is
//
//	config admin auth cluster valkey databases=16 queue=100 topics=2
//	> SET key "a value"     a request
//	< +OK                   frames for the oldest step that is not done; \r\n is written so
//	ok                      the oldest step is done without frames
//	! text                  the oldest step is done with an error; "wrong password" is the users'
//	lost, monitor lost, ended, info
//
// Every step of a block is done by its end; of a Multiplexed nothing need be told.
type transcript struct {
	cfg   session.Config
	s     *session.Session
	steps []session.Step
	out   strings.Builder

	known map[string]string // what is known of commands that the table lacks
	asked [][]byte          // a request whose command is to be learned
	raw   []byte            // and its bytes
}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runTranscript(t, string(raw))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(raw) {
				t.Errorf("expected and found differ from here on:\n%s", firstDifference(string(raw), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return "one is longer than the other"
}

func runTranscript(t *testing.T, text string) string {
	tr := &transcript{}
	tr.config(nil)
	var out []string
	for block := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n\n") {
		input, _, _ := strings.Cut(block, "\n----")
		tr.out.Reset()
		runs := false
		for line := range strings.SplitSeq(input, "\n") {
			if strings.HasPrefix(line, "#") {
				continue
			}
			runs = true
			if err := tr.run(line); err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
		for i := range tr.steps {
			t.Errorf("%s\n%v is not done", block, &tr.steps[i])
		}
		tr.steps = nil
		if runs {
			input += "\n----\n" + tr.out.String()
		}
		out = append(out, strings.TrimRight(input, "\n"))
	}
	return strings.Join(out, "\n\n") + "\n"
}

func (tr *transcript) run(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "config":
		return tr.config(strings.Fields(rest))
	case ">":
		return tr.request(rest)
	case "<", "ok", "!":
		return tr.done(word, rest)
	case "learnt":
		return tr.learnt(rest)
	case "lost":
		tr.outcome(tr.s.PinLost())
	case "monitor":
		tr.outcome(tr.s.MonitorLost())
	case "ended":
		tr.release(tr.s.End())
	case "info":
		tr.out.Write(tr.s.AppendInfo(nil, session.ConnInfo{LocalAddr: "gw:6379", FD: 7, Age: 90 * time.Second, Idle: time.Second}))
	default:
		return errors.New("unknown line")
	}
	return nil
}

func (tr *transcript) config(options []string) error {
	tr.known = map[string]string{}
	tr.cfg = session.Config{ServerVersion: "7.0.15", Databases: 16}
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "admin":
			tr.cfg.Admin = true
		case "auth":
			tr.cfg.NeedAuth = true
		case "cluster":
			tr.cfg.Cluster = true
		case "valkey":
			tr.cfg.ServerVersion, tr.cfg.Greeting = "", func() *session.Greeting { return session.ReadGreeting(valkey) }
		case "databases":
			tr.cfg.Databases = n
		case "queue":
			tr.cfg.QueueLimit = n
		case "topics":
			tr.cfg.MaxTopics = n
		case "learned", "learned-admin", "learned-vague", "hidden", "asks":
			tr.known[strings.ToUpper(value)] = name
			tr.cfg.Lookup = tr.lookup
		default:
			return errors.New("unknown option " + name)
		}
	}
	tr.s, tr.steps = session.New(&tr.cfg, 42, "10.0.0.9:5000"), nil
	return nil
}

// valkey is the greeting of a Valkey with a module, and with fields that most servers lack.
var valkey = func() *resp.Value {
	text := func(s string) resp.Value { return resp.Value{Kind: resp.BulkString, Str: []byte(s)} }
	list := func(elems ...resp.Value) resp.Value { return resp.Value{Kind: resp.Array, Elems: elems} }
	number := func(n int64) resp.Value { return resp.Value{Kind: resp.Integer, Int: n} }
	module := resp.Value{Kind: resp.Map, Elems: []resp.Value{text("name"), text("json"), text("ver"), number(10002),
		text("path"), text("/lib/json.so"), text("args"), list(text("a"), text("b")), text("loaded"), {Kind: resp.Boolean, Int: 1}}}
	return &resp.Value{Kind: resp.Map, Elems: []resp.Value{text("server"), text("valkey"), text("version"), text("8.1.3"), text("proto"), number(3),
		text("id"), number(7), text("mode"), text("standalone"), text("role"), text("replica"), text("modules"), list(module),
		text("availability_zone"), text("west-1"), text("load"), {Kind: resp.Double, Float: 0.5}}}
}()

// lookup tells of commands what the configuration says.
func (tr *transcript) lookup(args [][]byte) (*command.Info, command.Known) {
	name := strings.ToUpper(string(args[0]))
	var flags []string
	switch tr.known[name] {
	case "learned":
		flags = []string{"write"}
	case "learned-admin":
		flags = []string{"write", "admin"}
	case "learned-vague":
	case "hidden":
		return nil, command.Hidden
	case "asks":
		return nil, command.NotAsked
	default:
		return nil, command.Absent
	}
	info := command.FromFlags(name, flags, nil)
	info.Arity = -2
	return info, command.Learned
}

func (tr *transcript) request(line string) error {
	words, err := words(line)
	if err != nil {
		return err
	}
	if n := len(tr.steps); n > 0 && tr.steps[n-1].Barrier {
		return fmt.Errorf("%v is not done", &tr.steps[n-1])
	}
	raw, args := request(words...)
	if tr.asked != nil {
		return errors.New("a command is still to be learned")
	}
	step := tr.s.Next(raw, args)
	if step.Kind == session.Learn {
		tr.raw, tr.asked = raw, args
	}
	return tr.take(step)
}

// learnt says what the server told of the command that was to be learned.
func (tr *transcript) learnt(what string) error {
	args := tr.asked
	if args == nil {
		return errors.New("nothing is asked")
	}
	tr.asked = nil
	if tr.known[strings.ToUpper(string(args[0]))] = what; what == "nothing" {
		tr.known[strings.ToUpper(string(args[0]))] = "asks"
	}
	return tr.take(tr.s.NextLearned(tr.raw, args))
}

func (tr *transcript) take(step session.Step) error {
	fmt.Fprintf(&tr.out, "%s\n", &step)
	if step.Kind.Upstream() {
		fmt.Fprintf(&tr.out, "  send %s to %s/%d/RESP%d, %d due\n", show(step.Raw), step.Identity.User, step.Identity.DB, step.Identity.Proto, step.Replies)
	}
	if step.Credentials != nil {
		fmt.Fprintf(&tr.out, "  credentials %v\n", step.Credentials)
	}
	if step.Query != nil {
		fmt.Fprintf(&tr.out, "  query %s\n", query(step.Query))
	}
	if len(step.Topics) > 0 {
		fmt.Fprintf(&tr.out, "  topics %v\n", step.Topics)
	}
	if step.Kind == session.Console {
		fmt.Fprintf(&tr.out, "  console %s\n", show(step.Raw))
	}
	tr.reply(step.Reply)
	tr.release(step.Release)
	if step.NeedsDone() {
		tr.steps = append(tr.steps, step)
	}
	return nil
}

func (tr *transcript) done(word, rest string) error {
	if len(tr.steps) == 0 {
		return errors.New("no step is under way")
	}
	step := tr.steps[0]
	tr.steps = tr.steps[1:]
	var frames [][]byte
	var err error
	switch {
	case word == "!" && rest == "wrong password":
		err = session.ErrWrongPassword
	case word == "!":
		err = errors.New(rest)
	case word == "<":
		for b := []byte(strings.ReplaceAll(rest, `\r\n`, "\r\n") + "\r\n"); len(b) > 0; {
			n, err := resp.FrameLen(b)
			if err != nil {
				return err
			}
			frames, b = append(frames, b[:n]), b[n:]
		}
	}
	tr.outcome(tr.s.Done(&step, frames, err))
	return nil
}

func (tr *transcript) outcome(o session.Outcome) {
	tr.reply(o.Reply)
	tr.release(o.Release)
	if o.Close {
		tr.out.WriteString("  close the client\n")
	}
}

func (tr *transcript) reply(b []byte) {
	if len(b) > 0 {
		q := strconv.Quote(strings.TrimSuffix(string(b), "\r\n"))
		fmt.Fprintf(&tr.out, "  reply %s\n", strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`))
	}
}

func (tr *transcript) release(r session.Release) {
	if r.Conn != session.Keep {
		fmt.Fprintf(&tr.out, "  release conn: %v (%s)\n", r.Conn, r.Reason)
	}
	if r.Monitor {
		fmt.Fprintf(&tr.out, "  release monitor (%s)\n", r.Reason)
	}
	if len(r.Topics) > 0 {
		fmt.Fprintf(&tr.out, "  release topics %v (%s)\n", r.Topics, r.Reason)
	}
}
