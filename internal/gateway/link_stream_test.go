package gateway

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheEndOfTheGatewayCutsALastWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gateway{}
		g.ctx, g.cancel = context.WithCancel(context.Background())
		conn, peer := net.Pipe() // whose other end reads nothing
		defer peer.Close()
		l := &streamLink{conn: conn, room: make(chan struct{}, 1), over: make(chan struct{})}
		l.serve(&client{g: g})
		if n, err := l.write(make([]byte, 1<<20)); n == 0 || err != nil {
			t.Fatalf("%d bytes were taken, %v", n, err)
		}
		synctest.Wait()
		l.close()
		began := time.Now()
		g.cancel()
		g.workers.Wait()
		if took := time.Since(began); took > 0 {
			t.Errorf("it ended only after %v", took)
		}
	})
}
