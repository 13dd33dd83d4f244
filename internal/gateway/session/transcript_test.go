package session_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/testkit/transcript"
	"github.com/seed-2b0d76a6/respool/resp"
)

// machine is a session that transcripts drive. A line of input is
//
//	config admin auth cluster valkey databases=16 queue=100 topics=2
//	> SET key "a value"     a request
//	< +OK                   frames for the oldest pending step; \r\n is the end of a line
//	ok                      completes the oldest step without frames
//	! text                  completes the oldest step with an error; "wrong password" is ErrWrongPassword
//	lost, monitor lost, ended, info
//
// Every step of a block must be done at the end of the block, except Multiplexed ones.
type machine struct {
	cfg   session.Config
	s     *session.Session
	steps []session.Step
	out   *strings.Builder

	known map[string]string // descriptions of commands that the table lacks
	asked [][]byte          // the request of a Learn
	raw   []byte            // its bytes
}

func TestTranscripts(t *testing.T) {
	transcript.Test(t, "testdata/*.txt", func() transcript.Machine {
		m := &machine{}
		_ = m.config(nil)
		return m
	})
}

// EndBlock checks that every step is done.
func (m *machine) EndBlock() error {
	var errs []error
	for i := range m.steps {
		errs = append(errs, fmt.Errorf("%v is not done", &m.steps[i]))
	}
	m.steps = nil
	return errors.Join(errs...)
}

func (m *machine) Run(out *strings.Builder, line string) error {
	m.out = out
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "config":
		return m.config(strings.Fields(rest))
	case ">":
		return m.request(rest)
	case "<", "ok", "!":
		return m.done(word, rest)
	case "learnt":
		return m.learnt(rest)
	case "lost":
		m.outcome(m.s.PinLost())
	case "monitor":
		m.outcome(m.s.MonitorLost())
	case "ended":
		m.release(m.s.End())
	case "info":
		m.out.Write(m.s.AppendInfo(nil, session.ConnInfo{LocalAddr: "gw:6379", FD: 7, Age: 90 * time.Second, Idle: time.Second}))
	default:
		return errors.New("unknown line")
	}
	return nil
}

var gatewayAddr = "10.0.0.1:6379"

func (m *machine) config(options []string) error {
	m.known = map[string]string{}
	m.cfg = session.Config{ServerVersion: "7.0.15", Databases: 16}
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "admin":
			m.cfg.Admin = true
		case "auth":
			m.cfg.NeedAuth = true
		case "cluster":
			m.cfg.Cluster, m.cfg.ClusterFace = true, value == "face"
		case "valkey":
			m.cfg.ServerVersion, m.cfg.Greeting = "", func() *session.Greeting { return session.ReadGreeting(valkey) }
		case "databases":
			m.cfg.Databases = n
		case "queue":
			m.cfg.QueueLimit = n
		case "topics":
			m.cfg.MaxTopics = n
		case "learned", "learned-admin", "learned-vague", "hidden", "asks":
			m.known[strings.ToUpper(value)] = name
			m.cfg.Lookup = m.lookup
		default:
			return errors.New("unknown option " + name)
		}
	}
	m.s, m.steps = session.New(&m.cfg, 42, "10.0.0.9:5000"), nil
	m.s.ConnectedTo(&gatewayAddr)
	return nil
}

// valkey is the greeting of a Valkey server with a module and uncommon fields.
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
func (m *machine) lookup(args [][]byte) (*command.Info, command.Known) {
	name := strings.ToUpper(string(args[0]))
	var flags []string
	switch m.known[name] {
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

func (m *machine) request(line string) error {
	words, err := words(line)
	if err != nil {
		return err
	}
	if n := len(m.steps); n > 0 && m.steps[n-1].Barrier {
		return fmt.Errorf("%v is not done", &m.steps[n-1])
	}
	raw, args := request(words...)
	if m.asked != nil {
		return errors.New("a command must be learned first")
	}
	step := m.s.Next(raw, args)
	if step.Kind == session.Learn {
		m.raw, m.asked = raw, args
	}
	return m.take(step)
}

// learnt says what the server told of the command that was to be learned.
func (m *machine) learnt(what string) error {
	args := m.asked
	if args == nil {
		return errors.New("no command must be learned")
	}
	m.asked = nil
	if m.known[strings.ToUpper(string(args[0]))] = what; what == "nothing" {
		m.known[strings.ToUpper(string(args[0]))] = "asks"
	}
	return m.take(m.s.NextLearned(m.raw, args))
}

func (m *machine) take(step session.Step) error {
	fmt.Fprintf(m.out, "%s\n", &step)
	if step.Kind.Upstream() {
		fmt.Fprintf(m.out, "  send %s to %s/%d/RESP%d, %d due\n", show(step.Raw), step.Identity.User, step.Identity.DB, step.Identity.Proto, step.Replies)
	}
	if step.Credentials != nil {
		fmt.Fprintf(m.out, "  credentials %v\n", step.Credentials)
	}
	if step.Query != nil {
		fmt.Fprintf(m.out, "  query %s\n", query(step.Query))
	}
	if len(step.Topics) > 0 {
		fmt.Fprintf(m.out, "  topics %v\n", step.Topics)
	}
	if step.Kind == session.Console {
		fmt.Fprintf(m.out, "  console %s\n", show(step.Raw))
	}
	m.reply(step.Reply)
	m.release(step.Release)
	if step.NeedsDone() {
		m.steps = append(m.steps, step)
	}
	return nil
}

func (m *machine) done(word, rest string) error {
	if len(m.steps) == 0 {
		return errors.New("no step is pending")
	}
	step := m.steps[0]
	m.steps = m.steps[1:]
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
	m.outcome(m.s.Done(&step, frames, err))
	return nil
}

func (m *machine) outcome(o session.Outcome) {
	m.reply(o.Reply)
	m.release(o.Release)
	if o.Close {
		m.out.WriteString("  close the client\n")
	}
}

func (m *machine) reply(b []byte) {
	if len(b) > 0 {
		q := strconv.Quote(strings.TrimSuffix(string(b), "\r\n"))
		fmt.Fprintf(m.out, "  reply %s\n", strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`))
	}
}

func (m *machine) release(r session.Release) {
	if r.Conn != session.Keep {
		fmt.Fprintf(m.out, "  release conn: %v (%s)\n", r.Conn, r.Reason)
	}
	if r.Monitor {
		fmt.Fprintf(m.out, "  release monitor (%s)\n", r.Reason)
	}
	if len(r.Topics) > 0 {
		fmt.Fprintf(m.out, "  release topics %v (%s)\n", r.Topics, r.Reason)
	}
}
