package wire_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestAnInterruptedReadGoesOnAfterwards(t *testing.T) {
	speak := make(chan struct{})
	s := serve(t, func(p *peer) {
		greet(p)
		<-speak
		p.Write("+hello\r\n")
		p.Discard()
	})
	c := dial(t, s.config())
	failed := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 100))
		failed <- err
	}()
	c.InterruptRead()
	for range 2 {
		if err := await(t, "the read", failed); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		_, err := c.Read(make([]byte, 100)) // those that follow fail as well
		failed <- err
	}
	c.ResumeRead()
	close(speak)
	b := make([]byte, 100)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "+hello\r\n" {
		t.Errorf("got %q, %v", b[:n], err)
	}
}

func TestInterruptEndsReadsAndWrites(t *testing.T) {
	end := make(chan struct{})
	s := serve(t, func(p *peer) {
		greet(p)
		<-end
	})
	defer close(end)
	c := dial(t, s.config())
	failed := make(chan error, 2)
	go func() {
		_, err := c.Read(make([]byte, 100))
		failed <- err
	}()
	go func() {
		_, err := c.Write(make([]byte, 64<<20))
		failed <- err
	}()
	c.Interrupt()
	for range 2 {
		if err := await(t, "a failure", failed); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	}
	c.Abort()
}

func TestTryWriteNeverBlocks(t *testing.T) {
	read := make(chan struct{})
	total := make(chan int64, 1)
	s := serve(t, func(p *peer) {
		greet(p)
		<-read
		total <- p.Discard()
	})
	c := dial(t, s.config())
	if !c.CanTry() {
		t.Fatal("a plain socket is not written in part")
	}
	chunk := make([]byte, 1<<20)
	var written int64
	for {
		n, err := c.TryWrite(chunk)
		if err != nil {
			t.Fatal(err)
		}
		written += int64(n)
		if n < len(chunk) {
			break
		}
	}
	close(read)
	c.Linger(patience)
	if n := await(t, "the server", total); n != written {
		t.Errorf("the server got %d bytes, want %d", n, written)
	}
	if _, err := c.TryWrite(chunk); err == nil {
		t.Error("a closed connection was written to")
	}
}

func TestTryWriteAllocatesNothing(t *testing.T) {
	s := serve(t, func(p *peer) {
		greet(p)
		p.Discard()
	})
	c := dial(t, s.config())
	b := []byte("x")
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.TryWrite(b) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// shouting changes what is written, as a wrapper that encrypts would.
type shouting struct{ *net.TCPConn }

func (s shouting) Write(b []byte) (int, error) { return s.TCPConn.Write(bytes.ToUpper(b)) }

func TestAWrappersWriteIsNotBypassed(t *testing.T) {
	s := serve(t, redis(nil))
	cfg := s.config()
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := net.Dial(network, addr)
		if err != nil {
			return nil, err
		}
		return shouting{nc.(*net.TCPConn)}, nil
	}
	if dial(t, cfg).CanTry() {
		t.Error("the wrapper would be bypassed")
	}
}

func TestLingerHasALimit(t *testing.T) {
	end := make(chan struct{})
	s := serve(t, func(p *peer) {
		greet(p)
		<-end
	})
	defer close(end)
	for _, limit := range []time.Duration{0, 10 * time.Millisecond} {
		done := make(chan struct{})
		c := dial(t, s.config())
		go func() {
			c.Linger(limit)
			close(done)
		}()
		await(t, "the end", done)
		end <- struct{}{}
	}
}
