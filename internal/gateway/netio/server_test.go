package netio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// full is a host that refuses all clients.
type full struct {
	bareHost
	reply []byte
	log   bytes.Buffer
}

func newFull(reply string) *full {
	h := &full{reply: []byte(reply)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

func (h *full) Admit(Link, int, string, string) (Client, []byte) { return nil, h.reply }
func (h *full) Log() *slog.Logger                                { return slog.New(slog.NewTextHandler(&h.log, nil)) }

// queue is a listener that returns connections and errors from a channel.
type queue struct {
	next   chan any
	closed chan struct{}
}

func newQueue() *queue { return &queue{next: make(chan any), closed: make(chan struct{})} }

func (q *queue) Accept() (net.Conn, error) {
	select {
	case x := <-q.next:
		if err, ok := x.(error); ok {
			return nil, err
		}
		return x.(net.Conn), nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	select {
	case <-q.closed:
	default:
		close(q.closed)
	}
	return nil
}

func (q *queue) Addr() net.Addr { return &net.UnixAddr{Name: "queue", Net: "unix"} }

// serve runs Serve on a goroutine, and returns the channel of its error.
func (q *queue) serve(s *Server) chan error {
	done := make(chan error, 1)
	go func() { done <- s.Serve(q) }()
	synctest.Wait()
	return done
}

func TestAnErrorOfAcceptIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, q := newFull("-ERR max number of clients reached\r\n"), newQueue()
		s := NewServer(h, 1)
		done := q.serve(s)
		began := time.Now()
		for range 9 {
			q.next <- errors.New("too many open files")
		}
		if took := time.Since(began); took < 500*time.Millisecond || took > 9*time.Second {
			t.Errorf("9 errors took %v: want growing pauses of at most a second", took)
		}
		ours, theirs := net.Pipe()
		q.next <- theirs
		// The pause starts from the beginning after a success, and a refused client gets the reason.
		if text, err := io.ReadAll(ours); string(text) != string(h.reply) || err != nil {
			t.Errorf("a refused client read %q, %v: want %q", text, err, h.reply)
		}
		began = time.Now()
		q.next <- errors.New("too many open files")
		q.next <- errors.New("too many open files")
		if took := time.Since(began); took > 10*time.Millisecond {
			t.Errorf("the first pause after a success took %v", took)
		}
		s.StopAccepting()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		s.Close()
		h.workers.Wait()
		if n := strings.Count(h.log.String(), "accept failed"); n != 1 || !strings.Contains(h.log.String(), "too many open files") {
			t.Errorf("the log has %d lines about accept: want 1: %s", n, &h.log)
		}
	})
}

func TestServeEndsWithItsListenerOrItsHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, q := newFull(""), newQueue()
		s := NewServer(h, 1)
		done := q.serve(s)
		_ = q.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a listener that another party closed: %v: want %v", err, net.ErrClosed)
		}

		q = newQueue()
		done = q.serve(s)
		q.next <- errors.New("too many open files")
		h.cancel()
		if err := <-done; err != nil {
			t.Errorf("during a pause at the end of the host: %v", err)
		}

		s.StopAccepting()
		q = newQueue()
		if err := s.Serve(q); !errors.Is(err, ErrClosed) {
			t.Errorf("after StopAccepting: %v: want %v", err, ErrClosed)
		}
		<-q.closed
	})
}

func TestDialIsRefusedWithTheReason(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := NewServer(newFull("-ERR max number of clients reached\r\n"), 1).Dial(ctx); err == nil || err.Error() != "gateway: dial: ERR max number of clients reached" {
		t.Errorf("a full gateway: %v", err)
	}
	s := NewServer(newFull(""), 1)
	if _, err := s.Dial(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("during the shutdown: %v: want %v", err, ErrClosed)
	}
	cancel()
	if _, err := s.Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v: want %v", err, context.Canceled)
	}
}
