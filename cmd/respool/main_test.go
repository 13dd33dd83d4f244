package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/demo"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/ping"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// asTool is the environment variable that makes the test's binary run as the tool.
const asTool = "RESPOOL_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		os.Exit(run(os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// call runs the tool, and returns its exit code and output.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	oldOut, oldErr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = oldOut, oldErr }()
	read := func(f **os.File) func() string {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		*f = w
		text := make(chan string)
		go func() {
			b, _ := io.ReadAll(r)
			r.Close()
			text <- string(b)
		}()
		return func() string { w.Close(); return <-text }
	}
	out, errs := read(&os.Stdout), read(&os.Stderr)
	code = run(args)
	return code, out(), errs()
}

func runDemo(t *testing.T, args ...string) demo.Report {
	t.Helper()
	code, out, errs := call(t, append([]string{"demo", "--json"}, args...)...)
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var r demo.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

func checkSides(t *testing.T, r demo.Report, callers, limit int64) {
	t.Helper()
	if len(r.Sides) != 2 {
		t.Fatalf("%d sides", len(r.Sides))
	}
	without, through := r.Sides[0], r.Sides[1]
	for _, s := range r.Sides {
		if s.Ops <= 0 || s.Errors != 0 || s.P99US < s.P50US || s.Opened < s.Peak || s.Peak < 1 {
			t.Errorf("%+v", s)
		}
	}
	if through.Peak > limit {
		t.Errorf("respool had %d sockets: want %d at most", through.Peak, limit)
	}
	if without.Peak <= limit || without.Peak > callers {
		t.Errorf("the side without a limit had %d sockets: want more than %d and %d at most", without.Peak, limit, callers)
	}
}

func TestDemoOnTheEmbeddedServer(t *testing.T) {
	checkSides(t, runDemo(t, "--duration", "300ms", "--callers", "200"), 200, 4)
}

func TestDemoOnARealServerLeavesNoKeys(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "sesame"})
	checkSides(t, runDemo(t, "--duration", "300ms", "--callers", "100", "--max-connections", "2", "--url", s.URL()), 100, 2)
	if n := s.Do("DBSIZE"); n != "0" {
		t.Errorf("%s keys are left", n)
	}
}

func TestDemoOnAClusterLeavesNoKeys(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, Password: "sesame"})
	checkSides(t, runDemo(t, "--duration", "300ms", "--callers", "150", "--max-connections", "2", "--url", c.URL()), 3*150, 3*2) // without a limit, each caller may leave one at each node
	for _, n := range c.Nodes() {
		if keys := n.Do("DBSIZE"); keys != "0" {
			t.Errorf("%s keys are left at %s", keys, n.Addr())
		}
	}
}

func TestDemoPrintsATable(t *testing.T) {
	code, out, errs := call(t, "demo", "--duration", "100ms", "--callers", "20")
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"operations a second", "p50", "p99", "peak sockets", "connections opened", "errors", "respool: "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestPing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "sesame"})
	code, out, errs := call(t, "ping", s.URL())
	if code != 0 || !strings.Contains(out, s.Addr()+" answers: "+s.Version().String()) {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, _ = call(t, "ping", s.URL(), "--json", "--count", "3")
	var r ping.Report
	if err := json.NewDecoder(bytes.NewReader([]byte(out))).Decode(&r); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if r.Pings != 3 || r.Addr != s.Addr() || r.Role != "master" || r.MinUS <= 0 || r.MaxUS < r.P50US {
		t.Errorf("%+v", r)
	}
}

func TestMistakesAreOneClearError(t *testing.T) {
	m := miniredis.RunT(t)
	m.RequireAuth("right")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ping", "redis://127.0.0.1:1"}, "connection refused"},
		{[]string{"ping", "redis://127.0.0.1:1?max_conections=3"}, "did you mean max_connections?"},
		{[]string{"ping", "http://127.0.0.1"}, "want redis, rediss or unix, or one of the first two with +sentinel or +cluster"},
		{[]string{"ping", "redis://" + m.Addr()}, "password"},
		{[]string{"ping", "redis://:hushhush@" + m.Addr()}, "refused the username or password"},
		{[]string{"ping", "redis://" + m.Addr(), "--count", "0"}, "--count is 0"},
		{[]string{"demo", "--callers", "0"}, "--callers is 0"},
		{[]string{"demo", "--max-connections=-1"}, "--max-connections is -1"},
		{[]string{"demo", "--duration", "1h"}, "--duration is 1h0m0s"},
		{[]string{"dmeo"}, "dmeo"},
		{[]string{"who", "redis://127.0.0.1:1", "--idle", "10"}, `--idle: "10" is not a duration: want a number with a unit, such as 500ms, 10s or 2h`},
		{[]string{"who", "redis://127.0.0.1:1", "--by", "foo"}, "want some of addr, age, cmd, db, id, lib, name, process, service, user"},
		{[]string{"plan", "--mean", "1ms", "--rps", "-1"}, "rate is -1"},
		{[]string{"plan"}, "missing flags: --mean=DURATION, --rps=FLOAT-64\nTry: respool plan --help, for example respool plan --rps"},
	} {
		code, out, errs := call(t, c.args...)
		if code != 2 || !strings.Contains(errs, c.want) || strings.Contains(errs+out, "hushhush") {
			t.Errorf("%v: exit %d, %q: want %q", c.args, code, errs, c.want)
		}
		if n := strings.Count(strings.TrimSpace(errs), "\n"); n > 1 {
			t.Errorf("%v: %d lines of error: %s", c.args, n+1, errs)
		}
		if strings.Contains(errs, "(the command was not sent)") {
			t.Errorf("%v: %s speaks of a command that the user did not send", c.args, errs)
		}
	}
}

func TestRulesRefuseAJobThatIsNoName(t *testing.T) {
	if err := (&rulesCmd{Job: `a"b`}).Run(); err == nil || !strings.Contains(err.Error(), "--job") {
		t.Errorf("a job that is no name: %v: want an error", err)
	}
}

func TestHelpHasExamples(t *testing.T) {
	for _, command := range []string{"demo", "ping", "drill", "plan", "check", "who", "kill", "doctor", "top", "watch", "rules", "dashboard", "serve", "password"} {
		code, out, _ := call(t, command, "--help")
		if code != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, "respool "+command) {
			t.Errorf("%s: exit %d: %s", command, code, out)
		}
	}
	if code, out, _ := call(t, "--version"); code != 0 || strings.TrimSpace(out) == "" {
		t.Errorf("--version: exit %d: %q", code, out)
	}
}

func TestDashboardAndRulesHaveHelp(t *testing.T) {
	for command, help := range map[string]string{"dashboard": dashboardCmd{}.Help(), "rules": rulesCmd{}.Help()} {
		if !strings.Contains(help, "Examples:") || !strings.Contains(help, "respool "+command) {
			t.Errorf("%s: %s", command, help)
		}
	}
}
