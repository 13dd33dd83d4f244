package gateway_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Over TLS, the last reply may wait until the client reads. A shutdown waits too.
func TestAShutdownWaitsForTheLastWrite(t *testing.T) {
	h, slow, want := lastWrite(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(ctx) }()
	testkit.Await(t, "the gateway no longer counts the client", h.Stats, func(s gateway.Stats) bool { return s.Clients == 0 })
	got, err := io.ReadAll(slow)
	if err != nil || len(got) != want {
		t.Errorf("got %d bytes, %v: want %d", len(got), err, want)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// After an incomplete TLS record the connection must end without further bytes.
func TestAnIncompleteLastWriteEndsTheConnection(t *testing.T) {
	h, slow, want := lastWrite(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	got, err := io.ReadAll(slow)
	if len(got) >= want || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d of %d bytes, then %v: want a part of them, and the end", len(got), want, err)
	}
}

// lastWrite opens a gateway with a TLS client that reads nothing and has requested more bytes than the sockets hold.
// want is the size of the reply.
func lastWrite(t *testing.T) (h *testGateway, slow net.Conn, want int) {
	t.Helper()
	s := redistest.Start(t, redistest.Config{TLS: true})
	h = open(t, "redis://"+s.PlainAddr(), gateway.Config{OutputBuffer: 64 << 20})
	at := h.listenTLS(s)
	value := strings.Repeat("x", 8<<20)
	s.Do("SET", "big", value)
	conn := h.dialTo("tcp", at, nil).Conn.(*net.TCPConn)
	_ = conn.SetReadBuffer(32 << 10)
	slow = tls.Client(conn, s.TLSConfig())
	if _, err := io.WriteString(slow, "GET big\r\n"); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, "part of the reply is sent", h.Stats, func(s gateway.Stats) bool { return s.BytesOut >= uint64(len(value)) })
	return h, slow, len(fmt.Sprintf("$%d\r\n\r\n", len(value))) + len(value)
}
