package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Commands that look at the same server agree on the exit code.
func TestExitCodesAreTheSameEverywhere(t *testing.T) {
	calm, full := redistest.Start(t, redistest.Config{MaxClients: 100}), redistest.Start(t, redistest.Config{MaxClients: 30})
	crowd := &tooltest.Crowd{T: t, Addr: full.PlainAddr(), Name: "full:1:main"}
	crowd.Add(26) // 93%, with the connection of the test
	defer crowd.Close()
	commands := [][]string{{"doctor", "--for", "100ms"}, {"who"}, {"ping"}, {"top", "--every", "100ms", "--list-every", "100ms", "--for", "1s"}}
	for _, command := range commands {
		for _, c := range []struct {
			url  string
			want int
		}{{calm.URL(), 0}, {full.URL(), exitFindings}, {"redis://127.0.0.1:1", exitFailed}} {
			for _, form := range [][]string{nil, {"--json"}} {
				args := append(append(append([]string{}, command...), c.url), form...)
				if code, out, errs := call(t, args...); code != c.want {
					t.Errorf("%v: exit %d: want %d\n%s%s", args, code, c.want, out, errs)
				}
			}
		}
		if code, _, _ := call(t, append(command, full.URL(), "--no-such-flag")...); code != exitFailed {
			t.Errorf("%v with a wrong flag: exit %d: want %d", command, code, exitFailed)
		}
	}
	if code, out, errs := call(t, "kill", full.URL(), "--service", "nobody"); code != 0 {
		t.Errorf("kill: exit %d: want 0\n%s%s", code, out, errs)
	}
}

func TestExitCodesOfFiles(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("url: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"check", "testdata/check/good.yaml"}, 0},
		{[]string{"check", "testdata/check/nearly-full.yaml"}, exitFindings},
		{[]string{"check", "testdata/check/over.yaml"}, exitFindings},
		{[]string{"check", wrong}, exitFailed},
		{[]string{"plan", "--rps", "50", "--mean", "4ms"}, 0},
		{[]string{"plan", "--rps", "2000", "--mean", "5ms", "--pods", "100", "--maxclients", "1000"}, exitFindings},
		{[]string{"plan", "--rps", "2000", "--mean", "5ms", "--pods", "1000", "--maxclients", "1000"}, exitFindings},
		{[]string{"plan", "--rps", "0", "--mean", "5ms"}, exitFailed},
		{[]string{"watch", "--check", "redis://127.0.0.1:1"}, 0},
		{[]string{"watch", "--check", "-c", wrong}, exitFailed},
		{[]string{"serve", "--check", "-c", wrong}, exitFailed},
	} {
		if code, out, errs := call(t, c.args...); code != c.want {
			t.Errorf("%v: exit %d: want %d\n%s%s", c.args, code, c.want, out, errs)
		}
	}
}

func TestTheRuleOfExitCodesIsDocumented(t *testing.T) {
	raw, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n## Exit codes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, command := range []string{"doctor", "who", "ping", "top", "plan", "check", "drill", "kill"} {
		if !strings.Contains(section, "`"+command+"`") {
			t.Errorf("docs/operate.md, Exit codes: no %s", command)
		}
		if _, out, _ := call(t, command, "--help"); !strings.Contains(out, "Exit codes") {
			t.Errorf("%s --help has no exit codes", command)
		}
	}
	if _, help, _ := call(t, "--help"); !strings.Contains(help, "Exit codes of all commands: 0 ") {
		t.Errorf("no exit codes in\n%s", help)
	}
}
