package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// firstPort and endPort bound the reserved ports. They are below the ephemeral ports, so that no outgoing connection and
// no listener on port 0 takes a reserved port.
const firstPort, endPort = 10000, 32000

// ReservePort returns a port of 127.0.0.1 without a listener. No other test takes the port until this one ends, in this
// process or another. So a server can restart on it, and without a listener it keeps refusing connections.
//
// The reservation is the UDP port of the same number: the kernel lends it to one process at a time, and frees it when
// that process ends.
func ReservePort(t testing.TB) int { return ReservePortPair(t, 0) }

// ReservePortPair is ReservePort for a port and the one at the given distance above it. It returns the lower one.
func ReservePortPair(t testing.TB, distance int) int {
	t.Helper()
	const attempts = 1000
	for range attempts {
		port := firstPort + rand.IntN(endPort-firstPort-distance)
		if reservePort(t, port) && (distance == 0 || reservePort(t, port+distance)) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// ReserveAddr reserves a port and returns its address, which refuses connections until the test listens there.
func ReserveAddr(t testing.TB) string {
	t.Helper()
	return portAddr(ReservePort(t))
}

func reservePort(t testing.TB, port int) bool {
	hold, err := net.ListenPacket("udp", portAddr(port))
	if err != nil {
		return false
	}
	l, err := net.Listen("tcp", portAddr(port))
	if err != nil {
		_ = hold.Close()
		return false
	}
	_ = l.Close()
	t.Cleanup(func() {
		if err := hold.Close(); err != nil {
			t.Error(fmt.Errorf("release port %d: %w", port, err))
		}
	})
	return true
}

func portAddr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
