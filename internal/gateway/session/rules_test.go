package session_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestEveryStatefulCommandHasARule(t *testing.T) {
	for info := range command.All() {
		if info.Class != command.Stateful && info.Class != command.Refused || info.Container() {
			continue
		}
		if has, handles := session.HasRule(info.Name); !has || !handles {
			t.Errorf("%s is %s and would go to a lane", info.Name, info.Class)
		}
	}
}

// A command that only the server knows may be a renamed command of the table.
func TestLearnedAdminCommandsNeedAdmin(t *testing.T) {
	cfg := &session.Config{Lookup: func(args [][]byte) (*command.Info, command.Known) {
		return command.FromFlags(string(args[0]), []string{"write", "admin"}, nil), command.Learned
	}}
	raw, args := request("RENAMED", "a")
	if step := session.New(cfg, 1, "").Next(raw, args); step.Kind != session.Answer || !strings.HasPrefix(string(step.Reply), "-NOPERM respool: RENAMED needs admin: true") {
		t.Errorf("%v: %s", &step, step.Reply)
	}
	cfg.Admin = true
	if step := session.New(cfg, 1, "").Next(raw, args); step.Kind == session.Answer {
		t.Errorf("%v: %s", &step, step.Reply)
	}
}

func TestEveryRuleBelongsToACommand(t *testing.T) {
	listed := session.RuleNames()
	for info := range command.All() {
		delete(listed, info.Name)
	}
	for name := range listed {
		t.Errorf("there is no command %s", name)
	}
}

func TestOnlyHarmlessAdminCommandsAreAllowed(t *testing.T) {
	free := strings.Fields(`CLIENT|KILL CLIENT|NO-EVICT CLIENT|UNBLOCK CLIENT|LIST MONITOR CONFIG|GET CLUSTER|COUNT-FAILURE-REPORTS
		CLUSTER|REPLICAS CLUSTER|SLAVES LASTSAVE LATENCY|DOCTOR LATENCY|GRAPH LATENCY|HISTOGRAM LATENCY|HISTORY
		LATENCY|LATEST MODULE|LIST SLOWLOG|GET SLOWLOG|LEN ROLE ACL|DRYRUN ACL|USERS
		COMMANDLOG|GET COMMANDLOG|LEN HOTKEYS|GET CLUSTER|GETSLOTMIGRATIONS`)
	pinned := map[string]bool{}
	for _, name := range free {
		pinned[strings.ReplaceAll(name, "|", " ")] = true
	}
	for info := range command.All() {
		if isFree := session.Policy(info.Name) == "any"; info.Admin && isFree != pinned[info.Name] {
			t.Errorf("%s: %s", info.Name, session.Policy(info.Name))
		}
	}
}

func TestOrdinaryCommandsDoNotAllocate(t *testing.T) {
	s := session.New(&session.Config{}, 1, "")
	for _, words := range [][]string{{"GET", "key"}, {"set", "key", "value"}, {"XREAD", "STREAMS", "s", "0"}, {"PING"}, {"SCRIPT", "EXISTS", "x"}} {
		raw, args := request(words...)
		if allocs := testing.AllocsPerRun(100, func() { s.Next(raw, args) }); allocs != 0 {
			t.Errorf("%v: %v allocations", words, allocs)
		}
	}
	raw, args := request("WATCH", "key")
	step := s.Next(raw, args)
	s.Done(&step, [][]byte{[]byte("+OK\r\n")}, nil)
	raw, args = request("GET", "key")
	if allocs := testing.AllocsPerRun(100, func() { s.Next(raw, args) }); allocs != 0 {
		t.Errorf("on the session's conn: %v allocations", allocs)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	const secret = "hunter2"
	var logged strings.Builder
	logger := slog.New(slog.NewTextHandler(&logged, nil))
	for _, words := range [][]string{
		{"AUTH", secret}, {"AUTH", "user", secret}, {"HELLO", "3", "AUTH", "user", secret},
		{"MULTI"}, {"AUTH", "user", secret}, {"HELLO", "3", "AUTH", "user", secret}, {"RESET"},
		{"AUTH", "user", "other", secret}, {"HELLO", "3", "AUTH", secret},
	} {
		s := session.New(&session.Config{NeedAuth: true}, 1, "10.0.0.1:5000")
		raw, args := request(words...)
		step := s.Next(raw, args)
		logger.Info("step", "credentials", step.Credentials)
		out := fmt.Sprint(&step, step.Credentials, s) + fmt.Sprintf("%v %+v %#v %#v %s", &step, &step, &step, step.Credentials, s)
		if step.NeedsDone() {
			out += string(s.Done(&step, nil, session.ErrWrongPassword).Reply)
		}
		// An incomplete HELLO returns the option that it cannot parse, as on a server.
		if out += string(step.Reply) + logged.String(); strings.Contains(out, secret) {
			t.Errorf("%q: %s", words, out)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	s := session.New(&session.Config{}, 1, "")
	for _, words := range [][]string{{"GET", "key"}, {"SET", "key", "value"}, {"PING"}, {"CLIENT", "ID"}} {
		b.Run(words[0], func(b *testing.B) {
			raw, args := request(words...)
			b.ReportAllocs()
			for b.Loop() {
				s.Next(raw, args)
			}
		})
	}
}

// No request that may have any number of replies but one goes to a lane.
func TestOnlyCommandsWithOneReplyAreShared(t *testing.T) {
	requests := [][]string{{"RENAMEDAUTH", "alice", "x"}, {"CLIENT", "NEWER", "x"}, {"CLUSTER", "SYNCSLOTS", "x"}, {"SCRIPT", "NEWER"}}
	for info := range command.All() {
		for _, extra := range []int{0, 1, 2, 3, 4} {
			words := strings.Fields(info.Name)
			for range extra {
				words = append(words, "3")
			}
			requests = append(requests, words)
		}
	}
	hides := func([][]byte) (*command.Info, command.Known) { return nil, command.Hidden }
	for _, cfg := range []*session.Config{{}, {Admin: true}, {Password: true, Admin: true}, {Lookup: hides}, {Lookup: hides, Admin: true}} {
		for _, multi := range []bool{false, true} {
			for _, words := range requests {
				wantOnce(t, session.New(cfg, 1, ""), words, multi)
			}
		}
	}
}

// wantOnce passes a request to a session, inside MULTI or not, and checks what goes to a lane.
func wantOnce(t *testing.T, s *session.Session, words []string, multi bool) {
	t.Helper()
	lines := [][]string{words}
	if multi {
		lines = [][]string{{"MULTI"}, words, {"EXEC"}}
	}
	for _, line := range lines {
		raw, args := request(line...)
		step := s.Next(raw, args)
		if step.Kind != session.Multiplexed && (step.Kind != session.Transaction || step.Restore) {
			continue
		}
		for sent := step.Raw; len(sent) > 0; {
			value, n, err := resp.Decode(sent)
			if err != nil {
				t.Fatal(err)
			}
			sent = sent[n:]
			var args [][]byte
			for _, word := range value.Elems {
				args = append(args, word.Str)
			}
			if info, _ := command.ClassifyBytes(args); info == nil || info.Answers() != command.Once {
				t.Errorf("%q goes to a lane for %q", args, words)
			}
		}
	}
}
