package monitor_test

import (
	"context"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestAUserThatMayNotWatchKeysIsFound(t *testing.T) {
	tracking := "-client|tracking"
	if !redistest.ServerVersion(t).Since(7, 0) { // older servers do not take subcommands away
		tracking = "-client"
	}
	s := redistest.Start(t, redistest.Config{Users: []string{
		"full on >secret ~* &* +@all",
		"keyless on >secret ~own:* &* +@all",
		"trackless on >secret ~* &* +@all " + tracking,
		"existless on >secret ~* &* +@all -exists",
	}})
	for user, want := range map[string]string{
		"full": "", "keyless": "", "trackless": "CLIENT TRACKING ON: NOPERM", "existless": "EXISTS: NOPERM",
	} {
		for _, protocol := range []int{2, 3} {
			opt := respool.Options{Addr: s.Addr(), Username: user, Password: "secret", Protocol: protocol}
			p, err := monitor.NewProbe(monitor.ProbeConfig{Options: opt, Purpose: "test"})
			if err != nil {
				t.Fatal(err)
			}
			f, err := p.KeyChanges(t.Context())
			switch {
			case err != nil:
				t.Errorf("%s, RESP%d: %v", user, protocol, err)
			case want == "" && f != nil:
				t.Errorf("%s, RESP%d: %+v: want no finding", user, protocol, f)
			case want != "" && (f == nil || !strings.HasPrefix(f.Evidence, want) || !strings.Contains(f.Remedy, "ACL SETUSER "+user+" +client|tracking +exists") || f.Severity != monitor.Note):
				t.Errorf("%s, RESP%d: %+v: want a note about %s", user, protocol, f, want)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if f, err := p.KeyChanges(ctx); f != nil || err == nil {
				t.Errorf("%s: with an ended context: %+v, %v", user, f, err)
			}
			if err := p.Client().Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}
