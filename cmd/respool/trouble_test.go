//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// trouble starts a script of examples/trouble against a server, and returns when it has made its trouble. The returned
// function ends it.
func trouble(t *testing.T, s *redistest.Server, script string) (pid int, end func()) {
	t.Helper()
	_, port, _ := strings.Cut(s.PlainAddr(), ":")
	cmd := exec.Command("python3", filepath.Join("../../examples/trouble", script), "--port", port)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", script, err, errs.String())
		}
	}
	t.Cleanup(end)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "ready") {
			return cmd.Process.Pid, end
		}
	}
	t.Fatalf("%s ended early: %s", script, errs.String())
	return 0, end
}

func TestDoctorNamesTheCulpritOfEachTrouble(t *testing.T) {
	for script, c := range map[string]struct {
		code          int
		rule, subject string
		words         []string // of what, evidence and remedy; PID is the script's
	}{
		"leak.py":        {exitFindings, "growth", "(127.0.0.1)", []string{"(127.0.0.1: python3 leak.py, pid PID) opens "}},
		"storm.py":       {exitFindings, "", "", []string{"most of them by search", "search owns 100% of the short connections", "one pool in each process"}},
		"slow_reader.py": {exitFindings, "buffers", "export", []string{" of export holds ", "last command GET", "respool kill URL --addr 127.0.0.1:"}},
		"keys.py":        {exitFindings, "slow-command", "reports", []string{"KEYS takes ", "sent by reports", "KEYS none:*", "SCAN"}},
		"blocked.py":     {0, "blocked", "jobs", []string{"jobs holds 60 connections that wait in blocking commands", "who URL --by service,cmd"}},
		"full.py":        {exitFindings, "occupancy-critical", "", []string{"of maxclients is in use", "held by cart 9"}},
	} {
		t.Run(script, func(t *testing.T) {
			s := redistest.Start(t, redistest.Config{MaxClients: map[bool]int{true: 100, false: 5000}[script == "full.py"]})
			pid, end := trouble(t, s, script)
			r := doctorJSON(t, c.code, s.URL(), "--for", "3s")
			text := ""
			for _, f := range r.Findings {
				if c.rule == "" || f.Rule == c.rule && f.Subject == c.subject {
					text += fmt.Sprintln(f.What, f.Evidence, f.Remedy)
				}
			}
			for _, want := range c.words {
				if want = strings.ReplaceAll(want, "PID", strconv.Itoa(pid)); !strings.Contains(text, want) {
					t.Errorf("no %q in %s: %+v", want, text, r.Findings)
				}
			}
			end()
			if keys := s.Do("DBSIZE"); keys != "0" {
				t.Errorf("%s keys are left", keys)
			}
		})
	}
}
