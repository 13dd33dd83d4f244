package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Hundreds of services ask at the same moment.
func TestManyServicesBeginAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs[0])
		s := w.set()
		defer closeAll(t, s, w)
		var all []*nodes
		for range 300 {
			n := &nodes{w: w}
			s.Watch(sentinel.Config{Name: "mymaster", Sentinels: addrs[:1]}, n)
			all = append(all, n)
		}
		time.Sleep(time.Second)
		for i, n := range all {
			if primary, epoch := n.now(); primary != "A:6379" || epoch != 1 {
				t.Fatalf("service %d: got %q in epoch %d", i, primary, epoch)
			}
		}
		w.change(func() {
			if n := w.sentinels[addrs[0]].total; n > 2 {
				t.Errorf("%d connections were made: want 2", n)
			}
		})
	})
}

func TestASentinelThatReadsNothingIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		s := w.set()
		_, n := w.watch(s)
		time.Sleep(time.Second)
		f := w.sentinels[addrs[0]]
		w.change(func() { f.halted = true })
		time.Sleep(time.Minute)
		w.failOver("B:6379", addrs[1])
		time.Sleep(5 * time.Second)
		if primary, _ := n.now(); primary != "B:6379" {
			t.Errorf("the primary is %q", primary)
		}
		if sockets := s.Sockets()[addrs[0]]; sockets > 4 {
			t.Errorf("%d sockets to it: want two that it does not close, and two new ones at most", sockets)
		}
		w.change(func() { f.halted = false })
		time.Sleep(2 * time.Second)
		closeAll(t, s, w)
	})
}

// blocked are nodes whose NewEpoch takes until it is let go.
type blocked struct {
	nodes
	begun, release chan struct{}
}

func (b *blocked) NewEpoch(e sentinel.NewEpoch) {
	close(b.begun)
	<-b.release
	b.nodes.NewEpoch(e)
}

func TestStopWaitsForWhatIsBeingDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		s := w.set()
		b := &blocked{nodes: nodes{w: w}, begun: make(chan struct{}), release: make(chan struct{})}
		service := s.Watch(config(), b)
		<-b.begun
		var wg sync.WaitGroup
		ended := make(chan struct{})
		for range 3 {
			wg.Go(func() { b.stop(service) })
		}
		wg.Go(func() { closeAll(t, s, w) })
		go func() { wg.Wait(); close(ended) }()
		service.Evidence(topology.ConnLost, "A:6379", 1) // does not wait
		service.View()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("Stop returned while NewEpoch ran")
		default:
		}
		close(b.release)
		<-ended
		if b.late {
			t.Error("something was called after Stop")
		}
	})
}

// lasting are nodes whose Role takes a moment longer than its ctx.
type lasting struct{ nodes }

func (*lasting) Role(ctx context.Context, _ string) (resp.Value, error) {
	<-ctx.Done()
	time.Sleep(100 * time.Millisecond)
	return resp.Value{}, ctx.Err()
}

func TestCloseStopsAllServicesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		s := w.set()
		for range 20 {
			s.Watch(config(), &lasting{nodes{w: w}})
		}
		time.Sleep(100 * time.Millisecond)
		begun := time.Now()
		closeAll(t, s, w)
		if took := time.Since(begun); took > 150*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

func TestCloseCutsWhenItsCtxHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		for _, f := range w.sentinels {
			f.slowClose = 5 * time.Second
		}
		s := w.set()
		w.watch(s)
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		begun := time.Now()
		if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("close: %v", err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("it took %v", took)
		}
		if n := s.Sockets(); len(n) != 0 {
			t.Errorf("after Close: %v", n)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close again: %v", err)
		}
		time.Sleep(10 * time.Second) // the sentinels' side
	})
}

func TestEvidenceAfterStopIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		s := w.set()
		service, _ := w.watch(s)
		service.Stop()
		closeAll(t, s, w)
		never, _ := w.watch(s)
		for _, one := range []*Service{service, never} {
			for i := range 1000 {
				one.Evidence(topology.ConnLost, fmt.Sprint(i), 1)
			}
			if len(one.queued)+len(one.events) > 0 {
				t.Errorf("%d are kept", len(one.queued))
			}
			one.Stop()
		}
		if view, _ := never.View(); view.Epoch != 0 || view.Known {
			t.Errorf("%+v", view)
		}
	})
}
