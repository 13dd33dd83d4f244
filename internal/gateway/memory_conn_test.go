package gateway_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The test compares a memory connection with a socket.
func TestAMemoryConnectionClosesLikeASocket(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	memory, err := h.DialContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*peer{"memory": newPeer(t, memory), "tcp": h.dial()} {
		t.Run(name, func(t *testing.T) {
			p.ask("PING")
			conn, blocked := p.Conn, make(chan error, 2)
			for range cap(blocked) {
				go func() {
					_, err := conn.Read(make([]byte, 1))
					blocked <- err
				}()
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			later := time.Now().Add(time.Hour)
			_, read := conn.Read(make([]byte, 1))
			_, empty := conn.Read(nil)
			_, write := conn.Write([]byte("PING\r\n"))
			for what, err := range map[string]error{
				"a Read that waited": <-blocked, "another one": <-blocked, "Read": read, "Read of nothing": empty, "Write": write, "Close": conn.Close(),
				"SetDeadline": conn.SetDeadline(later), "SetReadDeadline": conn.SetReadDeadline(later), "SetWriteDeadline": conn.SetWriteDeadline(later),
			} {
				if name == "tcp" && what == "Read of nothing" {
					continue // a socket does not check the deadline
				}
				var oe *net.OpError
				if !errors.Is(err, net.ErrClosed) || !errors.As(err, &oe) {
					t.Errorf("%s after Close: %v: want net.ErrClosed", what, err)
				}
			}
		})
	}
}

func TestAMemoryConnectionAfterTheGatewayClosedIt(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	h := open(t, s.URL(), gateway.Config{})
	conn, err := h.DialContext(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, conn)
	p.send("QUIT")
	p.want("+OK|")
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read: %d, %v: want EOF", n, err)
	}
	if _, err := conn.Write([]byte("PING\r\n")); err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Write: %v: want an error, and not that of the own Close", err)
	}
	if err := conn.SetDeadline(time.Now()); err != nil {
		t.Errorf("SetDeadline: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v: want net.ErrClosed", err)
	}
}
