package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestWhoAgreesWithTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{MaxClients: 200})
	tooltest.Hold(t, s, "orders:pod-1:main", 9, 3)
	tooltest.Hold(t, s, "orders:pod-2:main", 6, 0)
	tooltest.Hold(t, s, "cart:pod-1:main", 4, 0)
	testkit.Await(t, "three blocked clients", func() int { return strings.Count(s.Do("CLIENT", "LIST"), "flags=b") }, testkit.AtLeast(3))
	ask := func(args ...string) clients.HoldersReport {
		t.Helper()
		code, out, errs := call(t, append([]string{"who", s.URL(), "--json"}, args...)...)
		var r clients.HoldersReport
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
			t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
		}
		return r
	}
	r := ask()
	if r.Connections != s.ClientCount()+1 || r.MaxClients != 200 || r.Matching != r.Connections || len(r.Groups) != 3 {
		t.Errorf("%+v", r)
	}
	if g := r.Groups[0]; g.Key[0] != "orders" || g.Clients != 15 || g.Blocked != 3 || g.Memory == 0 {
		t.Errorf("%+v", g)
	}
	if !strings.HasPrefix(r.Verdict, "20 connections of 200 (10%); orders holds the most: 15") {
		t.Error(r.Verdict)
	}
	sum := 0
	for _, g := range ask("--by", "name,cmd", "--top", "0").Groups {
		sum += g.Clients
	}
	if sum != r.Connections {
		t.Errorf("the groups have %d connections, all are %d", sum, r.Connections)
	}
	if r := ask("--by", "name", "--top", "1"); len(r.Groups) != 1 || r.Left != 3 || r.Groups[0].Clients != 9 {
		t.Errorf("%+v", r)
	}
	if r := ask("--idle", "1h"); r.Matching != 0 || len(r.Groups) != 0 || r.Connections != 20 {
		t.Errorf("%+v", r)
	}
	code, out, _ := call(t, "who", s.URL(), "--by", "service,lib")
	for _, want := range []string{"20 connections of 200", "orders", "cart", "blocked", "next: "} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
}

func TestWhoWithTheLeastRights(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"watch on >sesame +ping +hello +client|list"}})
	code, out, errs := call(t, "who", fmt.Sprintf("redis://watch:sesame@%s", s.Addr()))
	if code != 0 || !strings.HasPrefix(out, "1 connection; redistest holds the most: 1") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestWhoMistakes(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"blind on >sesame +ping +hello"}})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{s.URL(), "--by", "shoe"}, "want some of addr, age, cmd"},
		{[]string{s.URL(), "--top=-1"}, "--top is -1"},
		{[]string{s.URL(), "--idle=-1s"}, "--idle is -1s"},
		{[]string{"redis://127.0.0.1:1"}, "connection refused"},
		{[]string{fmt.Sprintf("redis://blind:sesame@%s", s.Addr())}, "NOPERM"},
	} {
		code, out, errs := call(t, append([]string{"who"}, c.args...)...)
		if code != 2 || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%v: exit %d, %q, %q: want %q", c.args, code, out, errs, c.want)
		}
	}
}
