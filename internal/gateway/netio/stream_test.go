package netio

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bareHost is a host of links without clients.
type bareHost struct {
	Host
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
}

func (h *bareHost) Context() context.Context { return h.ctx }
func (h *bareHost) Go(f func())              { h.workers.Go(f) }

func TestTheEndOfTheContextEndsALastWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &bareHost{}
		h.ctx, h.cancel = context.WithCancel(context.Background())
		conn, peer := net.Pipe() // the other end reads nothing
		defer peer.Close()
		l := &streamLink{srv: NewServer(h, 1), conn: conn, room: make(chan struct{}, 1), over: make(chan struct{})}
		l.serve(nil, new(Output))
		if n, err := l.write(make([]byte, 1<<20)); n == 0 || err != nil {
			t.Fatalf("%d bytes were taken, %v", n, err)
		}
		synctest.Wait()
		l.close()
		began := time.Now()
		h.cancel()
		h.workers.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("it ended only after %v", took)
		}
	})
}
