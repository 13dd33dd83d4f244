package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// A server finds a command by a name with a zero byte if the two names share a bucket of its hash table. The order of
// the table is random, so the test sends many names.
func TestANameWithAZeroByteMatchesNoCommand(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=4", gateway.Config{})
	p := h.dial()
	for _, command := range []string{"SHUTDOWN NOSAVE", "MULTI", "MONITOR", "CONFIG SET maxclients 77", "CLIENT SETNAME me"} {
		name, rest, _ := strings.Cut(command, " ")
		want := fmt.Sprintf("-ERR unknown command '%s', with args beginning with: ", name)
		for _, word := range strings.Fields(rest) {
			want += "'" + word + "' "
		}
		for i := range 2000 {
			if got := p.ask(fmt.Sprintf("%s\x00%d %s", name, i, rest)); got != want+"|" {
				t.Fatalf("%s: %s", command, got)
			}
		}
	}
	if got := s.Do("CONFIG", "GET", "maxclients"); strings.Contains(got, "77") {
		t.Error("a client has changed the server's configuration")
	}
}

// Clients block with arguments in which the gateway recognizes neither a timeout nor the option BLOCK.
func TestAnUnrecognizedTimeoutDelaysNoOtherClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL()+"?max_connections=8", gateway.Config{})
	other := h.dial()
	var blocked []*peer
	lines := []string{"BLPOP list 0x100", "BLPOP list -0.0001", "XREAD BLOCK\x00 0 STREAMS s $"}
	if s.Has("BLMPOP") {
		lines = append(lines, "BLMPOP 0x.ff 1 list LEFT")
	}
	for i, line := range lines {
		p := h.dial()
		p.send(line)
		blocked = append(blocked, p)
		testkit.Eventually(t, line+" blocks", func() bool { return s.Info("clients")["blocked_clients"] == fmt.Sprint(i+1) })
		if got := other.ask("GET none"); got != "$-1|" {
			t.Error(got)
		}
	}
	other.send("RPUSH list a b c", "XADD s 1-1 f v")
	other.want(":3|", "$3|1-1|")
	for _, p := range blocked {
		if got := p.frame(); got[0] != '*' {
			t.Errorf("%q", got)
		}
	}
}
