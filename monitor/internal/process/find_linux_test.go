package process

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// pair opens a connection over loopback, and returns its client's end.
func pair(t *testing.T, network, addr string) Socket {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	socket, ok := ParseSocket(c.LocalAddr().String(), c.RemoteAddr().String())
	if !ok {
		t.Fatalf("%v", c.LocalAddr())
	}
	return socket
}

func TestFindNamesTheOwnersOfConnections(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::ffff:127.0.0.1]:0"} {
		own, other := pair(t, "tcp", addr), pair(t, "tcp", addr)
		gone := other
		gone.Client = own.Server
		found := Find(own, []Socket{other, gone})
		if p := found[other]; len(found) != 1 || p.PID != os.Getpid() || p.Program != filepath.Base(os.Args[0]) {
			t.Errorf("%+v", found)
		}
	}
}

// A server that sees this process at an unknown address is behind a tunnel: its loopback addresses are those of another
// machine.
func TestFindNamesNothingBehindATunnel(t *testing.T) {
	own, other := pair(t, "tcp", "127.0.0.1:0"), pair(t, "tcp", "127.0.0.1:0")
	own.Client = other.Server
	if found := Find(own, []Socket{other}); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}
