package watch

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestThePageListsTheConnectionsOfAGroup(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "sesame"})
	tooltest.Hold(t, s, "cart:a:main", 3, 0)
	w := watch(t, fmt.Sprintf("url: %s\nevery: 20ms\nlist_every: 20ms\n", s.URL()))
	if code, body := w.get(t, "/"); code != 200 || !strings.Contains(body, s.Addr()) || strings.Contains(body, "sesame") {
		t.Errorf("%d: %s", code, body)
	}
	testkit.Await(t, "the connections of cart", func() string {
		_, body := w.get(t, "/page/connections?by=service&key=cart&node="+s.Addr())
		return body
	}, func(body string) bool {
		return strings.Contains(body, `"count": 3`) && strings.Contains(body, "respool kill redis://:PASSWORD@"+s.Addr()+" --service cart") && !strings.Contains(body, "sesame")
	})
}

func TestATakenAddressIsOneClearError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = page.Listen(taken.Addr().String(), "--listen")
	want := fmt.Sprintf("the pages: another process listens at %s: use another address (--listen 127.0.0.1:PORT), or --listen off", taken.Addr())
	if err == nil || err.Error() != want {
		t.Errorf("%v: want %s", err, want)
	}
}
