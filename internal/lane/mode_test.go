package lane

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// counting answers the handshake, and then each PING with its number.
func counting(conn net.Conn) {
	defer conn.Close()
	const ping = len("*1\r\n$4\r\nPING\r\n")
	buf := make([]byte, 1<<16)
	if _, err := io.ReadFull(conn, buf[:ping]); err != nil {
		return
	}
	_, _ = conn.Write([]byte("+PONG\r\n"))
	var out []byte
	for have, n := 0, 0; ; {
		m, err := conn.Read(buf)
		if err != nil {
			return
		}
		out = out[:0]
		for have += m; have >= ping; have -= ping {
			n++
			out = append(strconv.AppendInt(append(out, ':'), int64(n), 10), "\r\n"...)
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

func (l *Lane) role() role {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reading
}

// Alone, a caller reads for itself and leaves the read half to nobody; among
// others the background reader has it; then the lone caller gets it back. Each
// caller's replies come in order all the while, and none twice.
func TestTheReaderFollowsTheLoadBothWays(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		conn, err := ln.Accept()
		ln.Close()
		if err == nil {
			counting(conn)
		}
	}()
	ctx := context.Background()
	conn, err := wire.Dial(ctx, ctx, &wire.Config{Network: "tcp", Addr: ln.Addr().String(), Protocol: 2})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	l := New(conn, &Config{Window: 1024, WindowBytes: 1 << 20, LingerLimit: time.Second, OnClosed: func(*Lane) { close(closed) }})
	defer func() {
		l.Fail(wire.ErrClosed)
		<-closed
	}()

	var mu sync.Mutex
	seen := map[int]bool{}
	ask := func(last int) int {
		frame, err := l.Do(ctx, []any{"PING"}, Options{})
		if err != nil {
			t.Error(err)
			return last
		}
		n, err := strconv.Atoi(string(frame[1 : len(frame)-2]))
		mu.Lock()
		defer mu.Unlock()
		if err != nil || n <= last || seen[n] {
			t.Errorf("reply %q after %d", frame, last)
		}
		seen[n] = true
		return n
	}
	alone := func() {
		last := 0
		for range 2 * shallowLimit {
			last = ask(last)
		}
		// The tick may just have set the reader to watch an idle lane.
		for limit := time.Now().Add(10 * time.Second); l.role() != nobody && time.Now().Before(limit); {
			last = ask(last)
		}
		if r := l.role(); r != nobody {
			t.Errorf("a lone caller has left the read half to role %d", r)
		}
	}
	for range 3 {
		alone()
		shared := make(chan struct{})
		var once sync.Once
		var wg sync.WaitGroup
		stop := time.Now().Add(10 * time.Second)
		for range 32 {
			wg.Go(func() {
				last := 0
				for time.Now().Before(stop) {
					last = ask(last)
					if l.role() == background {
						once.Do(func() { close(shared) })
					}
					select {
					case <-shared:
						return
					default:
					}
				}
			})
		}
		wg.Wait()
		select {
		case <-shared:
		default:
			t.Error("the background reader never took over from 32 callers")
		}
	}
}
