package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// idle gives a service whose machine does not run: a test acts for it, and reads its events.
func (s *Sentinels) idle() *Service {
	return newService(s, config(), &nodes{})
}

func (w *Service) drain() []sentinel.Event {
	events, _ := w.take()
	return events
}

func TestSuspectClosingNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(addrs[0])
		w.sentinels[addrs[0]].slowClose = 3 * time.Second
		s := w.set()
		defer closeAll(t, s, w)
		one := s.idle()
		seq := uint64(0)
		connect := func() {
			seq++
			s.connect(one, sentinel.Connect{Seq: seq, Sentinel: addrs[0]})
		}
		disconnect := func() { s.disconnect(one, sentinel.Disconnect{Seq: seq, Sentinel: addrs[0]}) }
		connect()
		time.Sleep(time.Second)
		disconnect()
		connect() // waits for the end of the socket
		disconnect()
		one.drain()
		connect()
		time.Sleep(10 * time.Second)
		t.Logf("%#v", one.drain())
		w.change(func() {
			if w.sentinels[addrs[0]].total != 2 {
				t.Errorf("total %d", w.sentinels[addrs[0]].total)
			}
		})
		s.leave(one)
	})
}

func TestSuspectManyServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(addrs[0])
		s := w.set()
		defer closeAll(t, s, w)
		var all []*nodes
		for range 300 {
			n := &nodes{w: w}
			s.Watch(sentinel.Config{Name: "mymaster", Sentinels: addrs[:1]}, n)
			all = append(all, n)
		}
		time.Sleep(2 * time.Second)
		missing := 0
		for _, n := range all {
			if p, _ := n.now(); p != "A:6379" {
				missing++
			}
		}
		w.change(func() { t.Logf("total %d missing %d", w.sentinels[addrs[0]].total, missing) })
		if w.sentinels[addrs[0]].total > 2 || missing > 0 {
			t.Error("overflow")
		}
	})
}

// stuck is a connection on which nothing is taken: writes block.
type stuck struct{ pipe }

func TestSuspectBlockedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(addrs[0])
		w.sentinels[addrs[0]].halted = true
		s := w.set()
		one := s.idle()
		s.connect(one, sentinel.Connect{Seq: 1, Sentinel: addrs[0], Link: sentinel.Subscription})
		time.Sleep(time.Second)
		s.subscribe(one, sentinel.Subscribe{Seq: 1, Sentinel: addrs[0], Channels: []string{"x"}})
		time.Sleep(time.Hour)
		t.Logf("%v", one.drain())
		if s.Sockets()[addrs[0]] != 0 {
			t.Error("still there after an hour")
		}
		w.change(func() { w.sentinels[addrs[0]].halted = false })
		s.leave(one)
		closeAll(t, s, w)
	})
}

func TestSuspectSilenceBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(addrs[0])
		s := w.set()
		defer closeAll(t, s, w)
		one := s.idle()
		s.connect(one, sentinel.Connect{Seq: 1, Sentinel: addrs[0], Link: sentinel.Subscription})
		time.Sleep(time.Second)
		s.subscribe(one, sentinel.Subscribe{Seq: 1, Sentinel: addrs[0], Channels: []string{"x"}})
		time.Sleep(32 * time.Second)
		w.change(func() { w.sentinels[addrs[0]].deaf = true })
		one.drain()
		begun := time.Now()
		<-one.wake
		for len(one.drain()) == 0 {
			<-one.wake
		}
		t.Logf("noticed after %v", time.Since(begun))
		if time.Since(begun) > 20*time.Second {
			t.Error("too late")
		}
		s.leave(one)
	})
}

func TestSuspectCloseWithEndedCtxNothingThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		bad := 0
		for range 100 {
			s := New(Config{})
			if err := s.Close(ctx); err != nil {
				bad++
			}
		}
		if bad > 0 {
			t.Errorf("%d of 100 say that something was cut", bad)
		}
	})
}

func TestSuspectFlood(t *testing.T) {
	w := newWorld(addrs[0])
	s := w.set()
	service := s.Watch(sentinel.Config{Name: "mymaster", Sentinels: addrs[:1], Replicas: true}, &nodes{w: w})
	time.Sleep(200 * time.Millisecond)
	f := w.sentinels[addrs[0]]
	msg := array('*', "message", "+sdown", "master mymaster A 6379")
	batch := ""
	for range 1000 {
		batch += msg
	}
	peak := 0
	begun := time.Now()
	for range 200 {
		f.w.mu.Lock()
		var conns []io.Writer
		for c := range f.subscribers {
			conns = append(conns, c)
		}
		f.w.mu.Unlock()
		for _, c := range conns {
			_, _ = io.WriteString(c, batch)
		}
		service.mu.Lock()
		peak = max(peak, len(service.events))
		service.mu.Unlock()
	}
	t.Logf("200000 pushes in %v, peak of the queue %d", time.Since(begun), peak)
	if peak > 5000 {
		t.Error("unbounded")
	}
	_ = s.Close(context.Background())
}

func TestSuspectEvidenceAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(addrs...)
		s := w.set()
		defer closeAll(t, s, w)
		service, _ := w.watch(s)
		service.Stop()
		for i := range 1000 {
			service.Evidence(sentinel.NodeLost, "A", uint64(i))
		}
		if len(service.queued) > 0 {
			t.Errorf("%d", len(service.queued))
		}
	})
}

type slowRole struct{ nodes }

func (*slowRole) Role(ctx context.Context, _ string) (resp.Value, error) {
	<-ctx.Done()
	time.Sleep(100 * time.Millisecond)
	return resp.Value{}, errors.New("ended")
}

func TestSuspectSequentialStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(addrs...)
		s := w.set()
		for range 20 {
			s.Watch(config(), &slowRole{nodes{w: w}})
		}
		time.Sleep(100 * time.Millisecond)
		begun := time.Now()
		_ = s.Close(context.Background())
		if d := time.Since(begun); d > time.Second {
			t.Errorf("took %v", d)
		}
	})
}

var _ = fmt.Sprint
var _ sync.Mutex
