//go:build unix

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/doctor"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The commands name a gateway and the embedded server, and the server to examine instead.
func TestTheCommandsNameWhatTheyExamine(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 100})
	info := s.Info("server")
	version := "Redis " + info["redis_version"]
	if valkey := info["valkey_version"]; valkey != "" {
		version = "Valkey " + valkey
	}
	for _, c := range []struct {
		upstream, server, rule, next string
	}{
		{s.URL() + "?max_connections=3", "a gateway of respool to " + version, "gateway ", "next: examine the server behind the gateway: respool doctor redis://" + s.Addr()},
		{"", "a gateway of respool to respool's embedded server", "embedded ", "next: list the clients of the gateway: respool who redis://"},
	} {
		args := []string{"serve", "--listen", "127.0.0.1:0", "--http", "off"}
		if c.upstream != "" {
			args = append(args, c.upstream)
		}
		p := startProcess(t, nil, nil, args...)
		addr := p.log.Until(t, `msg=serving at=(\S+)`, 1)
		url := "redis://" + addr
		crowd := &tooltest.Crowd{T: t, Addr: addr, Name: "cart:1:main"}
		crowd.Add(7)
		t.Cleanup(crowd.Close)
		d := doctorJSON(t, 0, url)
		if d.Server != c.server || rules(&d) != c.rule || !strings.HasPrefix(d.Verdict, "this is "+c.server+": fine (1 note)") || d.Clients != nil || len(d.Holders) != 0 {
			t.Errorf("%+v: want %s", d, c.server)
		}
		if _, out, _ := call(t, "doctor", url, "--for", "100ms"); !strings.Contains(out, c.next) || strings.Contains(out, "rename-command") || strings.Contains(out, "use Redis 6.0") {
			t.Errorf("%s: want %s", out, c.next)
		}
		h := asks[clients.HoldersReport](t, 0, "who", url)
		if h.Server != c.server || h.MaxClients != 0 || h.Matching != 7 || !strings.HasPrefix(h.Verdict, "this is a gateway: 7 connections of its clients, not of its server") {
			t.Errorf("%+v: want %s", h, c.server)
		}
		if _, out, _ := call(t, "top", url, "--for", "300ms"); !strings.Contains(out, "this is "+c.server+": ") {
			t.Errorf("%s: want %s", out, c.server)
		}
		w := startWatch(t, fmt.Sprintf("url: %s\nlisten: 127.0.0.1:0\nevery: 50ms\ntell: []\n", url))
		pages := w.log.Until(t, `msg=pages at=(\S+)/`, 1)
		testkit.Eventually(t, "the first reading", func() bool { code, _, _ := call(t, "who", pages); return code == 0 })
		d = asks[doctor.Report](t, 0, "doctor", pages, "--for", "100ms")
		if d.Server != c.server || rules(&d) != c.rule || !strings.HasPrefix(d.Verdict, "this is "+c.server) || d.Clients != nil || len(d.Holders) != 0 {
			t.Errorf("%+v: want %s", d, c.server)
		}
		w.end(t)
		crowd.Close()
		p.end(t)
	}
	if d := healthyJSON(t, s.URL()); d.Server != version || strings.Contains(d.Verdict, "this is") || len(d.Findings) != 0 {
		t.Errorf("%+v: want %s", d, version)
	}
}
