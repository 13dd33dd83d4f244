package redistest

import (
	"net"
	"os"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestTheOwnerOfASocketIsFound(t *testing.T) {
	s := Start(t, Config{})
	conn := connect(t, "tcp", s.Addr())
	from, to := conn.LocalAddr().String(), conn.RemoteAddr().String()
	s.WaitClients(t, 1, patience) // until the server has accepted it
	for name, x := range map[string]struct {
		from, to    string
		pids        []int
		mine, known bool
	}{
		"this process":    {from, to, []int{s.PID(), os.Getpid()}, true, true},
		"another process": {from, to, []int{s.PID()}, false, true},
		"the other end":   {to, from, []int{s.PID()}, true, true},
		"no process":      {from, to, nil, false, true},
		"no socket":       {from, "127.0.0.1:1", []int{os.Getpid()}, false, false},
		"no address":      {"?", to, []int{os.Getpid()}, false, false},
	} {
		if mine, known := owned(x.from, x.to, x.pids); mine != x.mine || known != x.known {
			t.Errorf("%s: mine %v, known %v: want %v, %v", name, mine, known, x.mine, x.known)
		}
	}
	if !Own([]*Server{s}, to, from) || Own([]*Server{s}, from, to) {
		t.Error("the server owns its end, and not the other one")
	}
	conn.(*net.TCPConn).Close()
	testkit.Eventually(t, "the owner of a closed socket is unknown", func() bool {
		_, known := owned(from, to, []int{os.Getpid()})
		return !known
	})
}
