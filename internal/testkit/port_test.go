package testkit

import (
	"net"
	"testing"
)

func TestAPortIsReservedUntilTheTestEnds(t *testing.T) {
	var port int
	t.Run("reserved", func(t *testing.T) {
		port = ReservePort(t)
		if port < firstPort || port >= endPort {
			t.Errorf("port %d: want %d to %d", port, firstPort, endPort-1)
		}
		for range 2 { // a listener may end and begin again
			l, err := net.Listen("tcp", portAddr(port))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			if reservePort(t, port) {
				t.Error("a reserved port is reserved again")
			}
		}
	})
	if !reservePort(t, port) {
		t.Error("the port is not free after the test")
	}
}

func TestAPairIsReserved(t *testing.T) {
	port := ReservePortPair(t, 100)
	for _, taken := range []int{port, port + 100} {
		if reservePort(t, taken) {
			t.Errorf("port %d is reserved again", taken)
		}
	}
}

func TestAPortWithAListenerIsNotReserved(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if reservePort(t, l.Addr().(*net.TCPAddr).Port) {
		t.Error("the port of a listener is reserved")
	}
}

func TestAReservedAddressRefusesConnections(t *testing.T) {
	at := ReserveAddr(t)
	if conn, err := net.Dial("tcp", at); err == nil {
		conn.Close()
		t.Error("it accepts a connection")
	}
}
