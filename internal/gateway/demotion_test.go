package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Clients write to a primary behind a host name. The primary becomes a replica. The writes wait until the name resolves
// to the new primary.
func TestADemotedPrimaryOnlyDelaysWrites(t *testing.T) {
	for i := range 4 {
		proto, blocking := 2+i%2, []string{"shared", "dedicated"}[i/2]
		t.Run(fmt.Sprintf("RESP%d, %s", proto, blocking), func(t *testing.T) {
			old, next := redistest.Start(t, redistest.Config{}), redistest.Start(t, redistest.Config{})
			name := faultnet.Start(t, old.Addr())
			h := open(t, "redis://"+name.Addr()+"?max_connections=8&timeout=60&blocking="+blocking, gateway.Config{})
			dial := func() *peer {
				p := h.dial()
				p.ask(fmt.Sprintf("HELLO %d", proto))
				return p
			}
			blocked := dial()
			blocked.send("BLPOP q 0")
			testkit.Await(t, "it is blocked", h.Stats, func(s gateway.Stats) bool { return s.Blocked == 1 })
			if blocking == "dedicated" {
				testkit.Eventually(t, "the server blocks it", func() bool { return old.Info("clients")["blocked_clients"] == "1" })
			}
			lines := map[string]string{
				"SET k v": "+OK|", "EVAL return{redis.call('incr','n')} 0": "*1|:1|", "GETSET s v": "",
			}
			peers := map[string]*peer{}
			for line := range lines {
				peers[line] = dial()
				peers[line].ask("GET k")
			}
			transactions := map[string]*peer{
				"SET t v": dial(), "EVAL return{redis.call('incr','m')} 0": dial(),
			}
			old.Do("REPLICAOF", "127.0.0.1", next.Addr()[strings.IndexByte(next.Addr(), ':')+1:])
			for line, p := range peers {
				p.send(line, "PING")
			}
			for line, p := range transactions {
				p.send("MULTI", "GET none", line, "EXEC")
			}
			testkit.Eventually(t, "all are refused", func() bool { return rejected(old) > 20 })
			name.SetTarget(next.Addr())
			for line, want := range lines {
				if got := strings.ReplaceAll(peers[line].frame(), "\r\n", "|"); got[0] == '-' || want != "" && got != want {
					t.Errorf("%s: %s", line, got)
				}
				peers[line].want("+PONG|")
			}
			for line, p := range transactions {
				p.want("+OK|", "+QUEUED|", "+QUEUED|")
				if got := strings.ReplaceAll(p.frame(), "\r\n", "|"); !strings.HasPrefix(got, "*2|") || strings.Contains(got, "|-") {
					t.Errorf("%s: %s", line, got)
				}
			}
			next.Do("RPUSH", "q", "a")
			blocked.want("*2|" + bulk("q") + bulk("a"))
			if n, m := next.Do("GET", "n"), next.Do("GET", "m"); n != "1" || m != "1" {
				t.Errorf("the scripts ran %s and %s times", n, m)
			}
		})
	}
}

// rejected returns the number of commands that a server refused.
func rejected(s *redistest.Server) int {
	n := 0
	for line := range strings.Lines(s.Do("INFO", "commandstats")) {
		if _, count, ok := strings.Cut(line, "rejected_calls="); ok {
			var one int
			_, _ = fmt.Sscanf(count, "%d,", &one)
			n += one
		}
	}
	return n
}

// Scripts write on a primary and return the error of a replica.
func TestScriptsThatReturnReadOnlyErrorsRunOnce(t *testing.T) {
	const script = "redis.call('incr','n')return(redis.error_reply('READONLY'..string.char(32)..'x'))"
	check := func(t *testing.T, url string) {
		h := open(t, url, gateway.Config{})
		for _, lines := range [][]string{{"EVAL " + script + " 0"}, {"MULTI", "EVAL " + script + " 0", "EXEC"}} {
			p := h.dial()
			p.ask("DEL n")
			p.send(lines...)
			for range lines[1:] {
				p.frame()
			}
			if got := p.frame(); !strings.Contains(got, "-READONLY") {
				t.Errorf("%s: %q", lines, got)
			}
			if got := p.ask("GET n"); got != bulk("1") {
				t.Errorf("%s ran %s times", lines, got)
			}
		}
	}
	t.Run("plain", func(t *testing.T) { check(t, redistest.Start(t, redistest.Config{}).URL()) })
	t.Run("behind Sentinel", func(t *testing.T) {
		check(t, redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1}).URL())
	})
}
