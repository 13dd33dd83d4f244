package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

const endless = "#!lua name=endless\nredis.register_function{function_name='endless',callback=function() while true do end end,flags={'no-writes'}}"

// While a slow script runs, a server replies to queries about the script and to its end on existing connections. It
// refuses SELECT.
func TestScriptsEndFromAnyDatabase(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--lua-time-limit", "20"}})
	functions := s.Version().Since(7, 0)
	if functions {
		s.Do("FUNCTION", "LOAD", endless)
	}
	for _, proto := range []int{2, 3} {
		for _, db := range []int{0, 15} {
			t.Run(fmt.Sprintf("RESP%d-db%d", proto, db), func(t *testing.T) {
				h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
				dial := func() *peer {
					p := h.dial()
					p.ask(fmt.Sprintf("HELLO %d", proto))
					p.ask(fmt.Sprintf("SELECT %d", db))
					return p
				}
				runs, ends, other := dial(), dial(), dial()
				runs.ask("GET a") // opens a lane for this database
				runs.write("*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n")
				waitUntilBusy(t, s)
				if got := other.ask("SCRIPT KILL"); got != "+OK|" {
					t.Errorf("SCRIPT KILL gave %s", got)
				}
				want(t, runs, "-ERR ")
				if !functions {
					return
				}
				runs.send("FCALL endless 0")
				waitUntilBusy(t, s)
				if got := ends.ask("FUNCTION STATS"); !strings.Contains(got, "running_script|"+map[int]string{2: "*6", 3: "%3"}[proto]) {
					t.Errorf("FUNCTION STATS gave %s", got)
				}
				if got := ends.ask("FUNCTION KILL"); got != "+OK|" {
					t.Errorf("FUNCTION KILL gave %s", got)
				}
				want(t, runs, "-ERR ")
			})
		}
	}
}

// want reads a frame and checks its prefix.
func want(t *testing.T, p *peer, prefix string) {
	t.Helper()
	if got := p.frame(); !strings.HasPrefix(got, prefix) {
		t.Errorf("%q came: want %s", got, prefix)
	}
}

func waitUntilBusy(t *testing.T, s *redistest.Server) {
	t.Helper()
	testkit.Eventually(t, "the server is busy", func() bool {
		_, err := s.TryDo("GET", "a")
		return err != nil && strings.Contains(err.Error(), "BUSY")
	})
}
