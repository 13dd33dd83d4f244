package gateway_test

import (
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var clientNumber = regexp.MustCompile(`\$2(\||\r\n)id(\||\r\n):[0-9]+(\||\r\n)`)

// anonymous returns a reply to HELLO without the client ID.
func anonymous(hello string) string { return clientNumber.ReplaceAllString(hello, "") }

func TestHelloReturnsTheServersNameVersionAndModules(t *testing.T) {
	addrs := map[string]string{"live": redistest.Start(t, redistest.Config{}).PlainAddr()}
	for _, v := range fakeserver.Versions {
		addrs[v.String()] = fakeserver.Start(t, fakeserver.Config{Version: v}).Addr()
	}
	for name, addr := range addrs {
		t.Run(name, func(t *testing.T) {
			h := open(t, "redis://"+addr, gateway.Config{})
			for _, hello := range []string{"HELLO 2", "HELLO 3"} {
				conn, err := net.DialTimeout("tcp", addr, patience)
				if err != nil {
					t.Fatal(err)
				}
				want := newPeer(t, conn).ask(hello)
				if got := h.dial().ask(hello); anonymous(got) != anonymous(want) {
					t.Errorf("%s: got %s: want %s", hello, got, want)
				}
			}
		})
	}
}

// A client that stays connected gets the description of the new primary, even without a RESP3 connection.
func TestHelloDescribesTheNewPrimary(t *testing.T) {
	for _, hello := range []string{"HELLO 2", "HELLO 3"} {
		t.Run(hello, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			s := fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Redis62, Unix: path})
			h := open(t, "unix://"+path+"?max_connections=1", gateway.Config{})
			p := h.dial()
			for _, v := range []fakeserver.Version{fakeserver.Redis62, fakeserver.Valkey90, fakeserver.Redis86} {
				if v != fakeserver.Redis62 {
					s.Close()
					s = fakeserver.Start(t, fakeserver.Config{Version: v, Unix: path})
				}
				testkit.Await(t, "a reply", func() string { return p.ask("SET key value") }, testkit.Is("+OK|"))
				if got := p.ask(hello); !strings.Contains(got, "|server|"+bulk(v.Name)) || !strings.Contains(got, "|version|"+bulk(v.Number)) {
					t.Errorf("before %v: %s", v, got)
				}
			}
		})
	}
}

func TestHelloReturnsTheConfiguredVersion(t *testing.T) {
	s := fakeserver.Start(t, fakeserver.Config{Version: fakeserver.Valkey80})
	h := open(t, "redis://"+s.Addr(), gateway.Config{ServerVersion: "7.2.4"})
	if got := h.dial().ask("HELLO 3"); !strings.Contains(got, "|version|$5|7.2.4|") || !strings.Contains(got, "|server|$6|valkey|") {
		t.Error(got)
	}
}

// If no connection may use HELLO, the gateway uses INFO.
func TestNameAndVersionComeFromInfoWithoutHello(t *testing.T) {
	for _, v := range []fakeserver.Version{fakeserver.Redis74, fakeserver.Valkey80} {
		s := fakeserver.Start(t, fakeserver.Config{Version: v})
		h := open(t, "redis://"+s.Addr()+"?protocol=2", gateway.Config{})
		if got := h.dial().ask("HELLO 2"); !strings.Contains(got, "|server|"+bulk(v.Name)) || !strings.Contains(got, "|version|"+bulk(v.Number)) {
			t.Errorf("%v: %s", v, got)
		}
	}
}
