package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestKillClosesWhatMatches(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	cart, orders := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "cart:1:main"}, &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "orders:1:main"}
	cart.Add(30)
	orders.Add(5)
	defer cart.Close()
	defer orders.Close()
	ask := func(want int, args ...string) (r clients.KillReport) {
		t.Helper()
		code, out, errs := call(t, append([]string{"kill", s.URL(), "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != want {
			t.Fatalf("exit %d, %v: %s%s", code, err, out, errs)
		}
		return r
	}
	count := func(name string) int { return strings.Count(s.Do("CLIENT", "LIST"), "name="+name) }
	setname := "client|setname"
	if !s.Version().Since(7, 0) {
		setname = "client" // it tells no more
	}
	if r := ask(0, "--service", "cart"); !r.DryRun || r.Matching != 30 || r.Closed != 0 || len(r.Clients) != clients.MaxListed || count("cart") != 30 {
		t.Errorf("%+v", r)
	}
	if r := ask(0, "--service", "cart", "--idle", "1h", "--yes"); r.Matching != 0 {
		t.Errorf("%+v", r)
	}
	if r := ask(0, "--service", "cart", "--yes", "--max", "20", "--rate", "1000"); r.Closed != 20 || r.Left != 10 || count("cart") != 10 {
		t.Errorf("%+v", r)
	}
	if r := ask(0, "--name", "cart:1:main", "--addr", "127.0.0.1", "--user", "default", "--cmd", setname, "--yes", "--rate", "1000"); r.Closed != 10 || count("cart") != 0 || count("orders") != 5 {
		t.Errorf("%+v", r)
	}
	s.Do("ACL", "SETUSER", "reader", "on", ">pw", "+@all", "-client", "+client|list", "+client|id", "+client|setname")
	code, out, errs := call(t, "kill", strings.Replace(s.URL(), "redis://", "redis://reader:pw@", 1), "--service", "orders", "--yes")
	if code != 2 || !strings.Contains(out, "0 of 5") || !strings.Contains(errs, "after 0 connections") || count("orders") != 5 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, _ = call(t, "kill", s.URL(), "--service", "orders")
	if code != 0 || !strings.HasPrefix(out, "5 connections matching service orders; none closed") || !strings.Contains(out, "next: close them: the same command with --yes") {
		t.Errorf("exit %d: %s", code, out)
	}
}
