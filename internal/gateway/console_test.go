package gateway_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestTheConsoleShowsSettingsInConfigurationSyntax(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{IdleTimeout: 10 * time.Minute, Buffers: 1<<30 + 1, InputBuffer: 3 << 20, Users: map[string]gateway.User{
		"default": {Commands: []string{"all"}}, "b": {}, "a": {}, "c": {},
	}})
	p := h.dial()
	got := p.ask("RESPOOL CONFIG")
	for _, want := range []string{
		"|max_clients=10000|", "|max_clients_per_address=none|", "|input_buffer=3MiB|", "|output_buffer=8MiB|", "|buffers=1073741825|",
		"|idle_timeout=10m0s|", "|users=a,b,c,default|",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	p.send("WATCH k")
	p.want("+OK|")
	if got := p.ask("RESPOOL STATS"); !strings.Contains(got, `pinned_by="WATCH" clients=1`) || !strings.Contains(got, "mean_queue_time=") {
		t.Error(got)
	}
}

func TestTheConsoleShowsPauses(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{Admin: true})
	p := h.dial()
	if got := p.ask("RESPOOL STATS"); !strings.Contains(got, "|paused=no|") {
		t.Error(got)
	}
	p.send("CLIENT PAUSE 3600000 WRITE", "RESPOOL PAUSE 600")
	p.want("+OK|", "+OK|")
	for _, cmd := range []string{"POOLS", "STATS"} {
		got := p.ask("RESPOOL " + cmd)
		for _, want := range []string{`|paused="commands to the server by RESPOOL PAUSE, `, `|paused="writes by CLIENT PAUSE, `} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s in %s", cmd, want, got)
			}
		}
	}
	p.send("RESPOOL RESUME")
	p.want("+OK|")
	for _, cmd := range []string{"POOLS", "STATS"} {
		if got := p.ask("RESPOOL " + cmd); strings.Contains(got, "PAUSE") {
			t.Errorf("%s after RESUME: %s", cmd, got)
		}
	}
}

// The class admin is enough for the console, and no other class is.
func TestTheConsoleIsForTheClassAdmin(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{Users: map[string]gateway.User{
		"operator": {Commands: []string{"admin"}}, "app": {}, "reader": {Commands: []string{"read"}},
	}})
	p := h.dial()
	p.send("AUTH operator x")
	p.want("+OK|")
	if got := p.ask("RESPOOL POOLS"); !strings.Contains(got, "server="+s.Addr()) {
		t.Error(got)
	}
	p.send("RESPOOL PAUSE 600", "RESPOOL RESUME", "GET k")
	p.want("+OK|", "+OK|", "-NOPERM User operator has no permissions to run the 'get' command|")
	for _, user := range []string{"app", "reader"} {
		p.send("AUTH "+user+" x", "RESPOOL POOLS")
		p.want("+OK|", "-NOPERM User "+user+" has no permissions to run the 'respool' command|")
	}
}

func TestTheConsoleRefusesInvalidCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	p := h.dial()
	for _, seconds := range []string{"5m", "10s", "soon", "-1", "0", "NaN", "Inf", "86401"} {
		want := "-ERR respool: PAUSE " + seconds + ": want a number of seconds above 0 and at most 86400|"
		if got := p.ask("RESPOOL PAUSE " + seconds); got != want {
			t.Errorf("%s: %s", seconds, got)
		}
	}
	for line, want := range map[string]string{
		"PAUSE 1 2":     "-ERR respool: RESPOOL PAUSE has 2 arguments: want at most 1|",
		"resume now":    "-ERR respool: RESPOOL RESUME has 1 arguments: want at most 0|",
		"RECONNECT all": "-ERR respool: RESPOOL RECONNECT has 1 arguments: want at most 0|",
	} {
		if got := p.ask("RESPOOL " + line); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
	if got := p.ask("GET none"); got != "$-1|" {
		t.Error(got)
	}
}

func TestTheConsoleShowsCompleteDialErrors(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	p := h.dial()
	s.Stop()
	testkit.Eventually(t, "a dial has failed", func() bool {
		p.ask("GET k")
		return strings.Contains(p.ask("RESPOOL SERVERS"), `: connection refused: no server listens there: check the host and the port (the command was not sent)"|`)
	})
}

func TestTheConsoleShowsWhyNoServerIsKnown(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	s.Stop()
	h := open(t, "redis+sentinel://"+s.PlainAddr()+"/main?timeout=0.1", gateway.Config{})
	p := h.dial()
	for _, cmd := range []string{"POOLS", "SERVERS"} {
		testkit.Eventually(t, "the reason is shown", func() bool {
			got := p.ask("RESPOOL " + cmd)
			return strings.Contains(got, "|no server is known: ") && strings.Contains(got, "connection refused")
		})
	}
}

// With PassThrough, Redis decides which users may affect other clients through the gateway.
func TestTheConsoleRequiresPermissionForClientKill(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	s.Do("ACL", "SETUSER", "small", "on", ">s", "~*", "+get")
	s.Do("ACL", "SETUSER", "large", "on", ">l", "~*", "+get", "+client|kill")
	var log bytes.Buffer
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{PassThrough: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	p := h.dial()
	p.send("AUTH small s", "RESPOOL PAUSE", "RESPOOL RECONNECT", "RESPOOL RESUME", "GET k")
	p.want("+OK|", "-NOPERM respool: RESPOOL requires the permission to run CLIENT KILL in Redis|",
		"-NOPERM respool: RESPOOL requires the permission to run CLIENT KILL in Redis|",
		"-NOPERM respool: RESPOOL requires the permission to run CLIENT KILL in Redis|", "$-1|")
	p.send("AUTH large l", "RESPOOL PAUSE 600", "RESPOOL RESUME", "GET k")
	p.want("+OK|", "+OK|", "+OK|", "$-1|")
	h.close()
	if text := log.String(); strings.Count(text, "console command") != 2 || !strings.Contains(text, `command="RESPOOL PAUSE 600"`) || !strings.Contains(text, "user=large") {
		t.Error(text)
	}
}
