package clients

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
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
