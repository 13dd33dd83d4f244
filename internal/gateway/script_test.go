package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Scripts return replies that no command returns.
func TestUnusualScriptRepliesDoNotEndTheLane(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=2", gateway.Config{})
	const deep, long = 7000, 3 << 20
	p := h.dial()
	p.ask("HELLO 3")
	for script, want := range map[string]string{
		fmt.Sprintf("local t={} for i=1,%d do t={t} end return t", deep):           strings.Repeat("*1|", deep) + "*0|",
		fmt.Sprintf("return redis.status_reply(string.rep('x',%d))", long):         "+" + strings.Repeat("x", long) + "|",
		fmt.Sprintf("return redis.error_reply('X '..string.rep('y',%d))", long):    "-X " + strings.Repeat("y", long) + "|",
		"return{big_number='none'}":                                                "(none|",
		"return{big_number=''}":                                                    "(|",
		"redis.setresp(3) return{double=0/0}":                                      ",nan|",
		"redis.setresp(3) return{verbatim_string={format='\\r\\n:',string='\\n'}}": "=5|\r\n::\n|",
	} {
		if !s.Version().Since(7, 0) && (strings.Contains(script, "big_number") || strings.Contains(script, "verbatim_string")) {
			want = "*0|" // RESP2 has no such kind
		}
		p.write(fmt.Sprintf("*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n", len(script), script))
		got := strings.Replace(p.frame(), ",-nan", ",nan", 1) // the sign is gone since 7.2
		if got != strings.ReplaceAll(want, "|", "\r\n") {
			t.Errorf("%s: %.200q", script, got)
		}
		if got := p.ask("GET none"); got != "_|" {
			t.Fatal(got)
		}
	}
	if n := h.client.Stats().FailedLanes; n != 0 {
		t.Errorf("%d connections were condemned", n)
	}
}
