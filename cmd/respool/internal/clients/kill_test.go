package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// A connection that no longer matches when it is its turn stays open.
func TestKillLooksAgainBeforeItCloses(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	servers, err := connect.Open(t.Context(), connect.Target{Options: opt}, "test", 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close()
	cart := &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: "cart:1:main"}
	cart.Add(2)
	defer cart.Close()
	k := &KillConfig{Filter: Filter{Service: "cart"}, Rate: 1000, Max: 10}
	list := k.find(t.Context(), servers)
	if len(list) != 2 || len(servers.Unread()) != 0 {
		t.Fatalf("%+v", list)
	}
	fmt.Fprint(cart.Open[0], "CLIENT SETNAME other:1:main\r\n")
	_, _ = cart.Open[0].Read(make([]byte, 16))
	var r KillReport
	if err := k.closeAll(t.Context(), servers, list, &r, map[*connect.Server]int{}); err != nil || r.Closed != 1 || r.Changed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if left := s.Do("CLIENT", "LIST"); !strings.Contains(left, "name=other:") || strings.Contains(left, "name=cart:") {
		t.Error(left)
	}
}

// A user of the page closes the connection that they have seen, and none of those that keep a server alive.
func TestOneConnectionIsClosedIfItIsTheSame(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	servers, err := connect.Open(t.Context(), connect.Target{Options: opt}, "test", 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer servers.Close()
	source := servers.List[0].Source
	list := func() (all []monitor.Client) {
		if err := source.EachClient(t.Context(), func(c monitor.Client) error { all = append(all, c); return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	crowds := map[string]*tooltest.Crowd{}
	for _, name := range []string{"cart:1:main", "respool:watch:1", "sentinel-0123abcd-cmd"} {
		crowds[name] = &tooltest.Crowd{T: t, Addr: s.PlainAddr(), Name: name}
		crowds[name].Add(1)
		defer crowds[name].Close()
	}
	for _, c := range list() {
		if c.Name != source.Own() && crowds[c.Name] == nil {
			continue // of the test's server
		}
		text, err := CloseOne(t.Context(), source, c.ID, c.Addr+"0")
		if err != nil || text != "the connection was closed before" {
			t.Errorf("%s with another address: %q, %v", c.Name, text, err)
		}
		text, err = CloseOne(t.Context(), source, c.ID, c.Addr)
		if may := c.Name == "cart:1:main"; (err == nil) != may || may && text != "closed the connection of "+c.Addr {
			t.Errorf("%s: %q, %v", c.Name, text, err)
		}
	}
	for _, c := range list() {
		if delete(crowds, c.Name); c.Name == "cart:1:main" {
			t.Errorf("%+v: want all except cart", c)
		}
	}
	if len(crowds) != 1 {
		t.Errorf("%d are closed: want cart alone", len(crowds))
	}
}
