package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
)

var addrs = []string{"s1:1", "s2:2", "s3:3"}

func (w *world) set() *Sentinels {
	return New(Config{Dial: w.dial, QueryTimeout: time.Second, LingerLimit: 20 * time.Second, PingEvery: 10 * time.Second})
}

func config() sentinel.Config { return sentinel.Config{Name: "mymaster", Sentinels: addrs} }

// watch starts a machine of the usual configuration.
func (w *world) watch(s *Sentinels) (*Service, *nodes) {
	n := &nodes{w: w}
	return s.Watch(config(), n), n
}

func closeAll(t *testing.T, s *Sentinels, w *world) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := s.Sockets(); len(n) != 0 {
		t.Errorf("after Close: %v", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for addr, f := range w.sentinels {
		if f.open != 0 {
			t.Errorf("%s counts %d connections after Close", addr, f.open)
		}
	}
}

func (w *world) checkPeaks(t interface{ Errorf(string, ...any) }) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for addr, f := range w.sentinels {
		limit := 2
		if f.wasSilent {
			limit = 4 // those that it did not close may be there beside those that replaced them
		}
		if f.peak > limit {
			t.Errorf("%s counted %d connections at peak: want %d at most", addr, f.peak, limit)
		}
	}
}

func TestAPrimaryIsFoundAndItsSuccessorToo(t *testing.T) {
	for i, teller := range addrs { // of RESP2 and of RESP3
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, addrs...)
			s := w.set()
			defer closeAll(t, s, w)
			_, n := w.watch(s)
			time.Sleep(time.Second)
			if primary, epoch := n.now(); primary != "A:6379" || epoch != 1 {
				t.Fatalf("got %s in epoch %d", primary, epoch)
			}
			w.failOver("B:6379", teller)
			time.Sleep(100 * time.Millisecond)
			if primary, epoch := n.now(); primary != "B:6379" || epoch != 2 {
				t.Errorf("sentinel %d: got %s in epoch %d", i, primary, epoch)
			}
			w.checkPeaks(t)
		})
	}
}

func TestServicesShareTheSockets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		s := w.set()
		defer closeAll(t, s, w)
		var services []*Service
		var all []*nodes
		for range 20 {
			service, n := w.watch(s)
			services, all = append(services, service), append(all, n)
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		}
		time.Sleep(time.Second)
		for _, service := range services[:10] {
			service.Stop()
		}
		w.failOver("B:6379", addrs[1])
		time.Sleep(100 * time.Millisecond)
		for i, n := range all {
			want := "B:6379"
			if i < 10 {
				want = "A:6379"
			}
			if primary, _ := n.now(); primary != want {
				t.Errorf("service %d: the primary is %s: want %s", i, primary, want)
			}
		}
		w.checkPeaks(t)
		w.change(func() {
			if n := w.sentinels[addrs[0]].total; n > 10 {
				t.Errorf("%d connections were opened for 20 services", n)
			}
		})
	})
}

// A sentinel that takes its time to forget a connection is not dialed before.
func TestASlowlyClosingSentinelGetsNoThirdSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		for _, f := range w.sentinels {
			f.slowClose = 3 * time.Second
		}
		s := w.set()
		for range 10 {
			service, _ := w.watch(s)
			time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
			service.Stop()
		}
		w.checkPeaks(t)
		closeAll(t, s, w)
	})
}

func TestASentinelThatStandsStillIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		w.sentinels[addrs[0]].deaf = true
		s := w.set()
		defer closeAll(t, s, w)
		service, n := w.watch(s)
		time.Sleep(3 * time.Second)
		if primary, _ := n.now(); primary != "A:6379" {
			t.Errorf("the primary is %q", primary)
		}
		view, now := service.View()
		for _, one := range view.Sentinels {
			if (one.Finding == sentinel.Unreachable) != (one.Addr == addrs[0]) {
				t.Errorf("after %v: %+v", now, one)
			}
		}
		w.checkPeaks(t)
	})
}

// A subscription whose other side is gone without a word is made again.
func TestASilentSubscriptionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs[0])
		s := w.set()
		defer closeAll(t, s, w)
		n := &nodes{w: w}
		s.Watch(sentinel.Config{Name: "mymaster", Sentinels: addrs[:1]}, n)
		time.Sleep(time.Minute)
		f := w.sentinels[addrs[0]]
		w.change(func() {
			if n := f.commands["SUBSCRIBE +switch-master"]; n != 1 {
				t.Errorf("subscribed %d times while all was well", n)
			}
			f.answer = func(args []string) (string, bool) { return "", args[0] == "PING" }
		})
		time.Sleep(time.Minute)
		w.change(func() {
			if n := f.commands["SUBSCRIBE +switch-master"]; n < 2 {
				t.Errorf("subscribed %d times although nothing came for a minute", n)
			}
		})
		w.checkPeaks(t)
	})
}

func TestWhatIsNoSentinelIsFoundOut(t *testing.T) {
	for answer, want := range map[string]sentinel.Finding{
		"-ERR unknown command 'SENTINEL'\r\n":        sentinel.NotSentinel,
		"-ERR No such master with that name\r\n":     sentinel.UnknownName,
		"-NOAUTH Authentication required.\r\n":       sentinel.NeedsPassword,
		"HTTP/1.1 400 Bad Request\r\n\r\n":           sentinel.NotSentinel,
		"$1\r\nxyz":                                  sentinel.NotSentinel,
		"*-5\r\n":                                    sentinel.NotSentinel,
		"%1\r\n+a\r\n":                               sentinel.Unreachable, // never ends
		"*99999999\r\n":                              sentinel.NotSentinel,
		"+OK\r\n+unasked\r\n":                        sentinel.NotSentinel,
		"*2\r\n$4\r\nname\r\n$8\r\nmymaster\r\n":     sentinel.NotSentinel,
		"*4\r\n$2\r\nip\r\n:1\r\n*0\r\n:3\r\n":       sentinel.NotSentinel,
		"$9999999999999\r\n":                         sentinel.NotSentinel,
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n": sentinel.NotSentinel,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, addrs[0])
			w.sentinels[addrs[0]].answer = func([]string) (string, bool) { return answer, true }
			s := w.set()
			defer closeAll(t, s, w)
			service := s.Watch(sentinel.Config{Name: "mymaster", Sentinels: addrs[:1]}, &nodes{w: w})
			time.Sleep(5 * time.Second)
			view, _ := service.View()
			if got := view.Sentinels[0].Finding; got != want {
				t.Errorf("%q: found %q (%s): want %q", answer, got, view.Sentinels[0].Said, want)
			}
			w.checkPeaks(t)
		})
	}
}

func TestARefusedSubscriptionCostsNoDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		for _, f := range w.sentinels {
			f.answer = func(args []string) (string, bool) { return "-NOPERM no channels\r\n", args[0] == "SUBSCRIBE" }
		}
		s := w.set()
		defer closeAll(t, s, w)
		_, n := w.watch(s)
		time.Sleep(5 * time.Second)
		if primary, _ := n.now(); primary != "A:6379" {
			t.Errorf("the primary is %q", primary)
		}
		w.failOver("B:6379", addrs[0])
		time.Sleep(30 * time.Second) // the poll finds it
		if primary, _ := n.now(); primary != "B:6379" {
			t.Errorf("the primary is %q", primary)
		}
		w.checkPeaks(t)
		w.change(func() {
			if n := w.sentinels[addrs[0]].total; n > 150 {
				t.Errorf("%d connections in 35 s", n)
			}
		})
	})
}

func TestEvidenceIsNotQueuedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, addrs...)
		s := w.set()
		defer closeAll(t, s, w)
		service, n := w.watch(s)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for range 1000 {
					service.Evidence(topology.ReadOnly, "A:6379", 1)
				}
			})
		}
		wg.Wait()
		service.mu.Lock()
		queued := 0
		for _, e := range service.events {
			if _, ok := e.(sentinel.Evidence); ok { // answers to its queries may be queued as well
				queued++
			}
		}
		service.mu.Unlock()
		if queued > 1 {
			t.Errorf("%d pieces of evidence are queued", queued)
		}
		time.Sleep(time.Second)
		n.mu.Lock()
		if n.asked < 2 || n.asked > 10 {
			t.Errorf("the node was asked %d times", n.asked)
		}
		n.mu.Unlock()
		if primary, epoch := n.now(); primary != "A:6379" || epoch != 1 {
			t.Errorf("got %s in epoch %d", primary, epoch)
		}
	})
}

// Services come and go, sentinels come and go, and Close comes at any moment.
func TestNothingIsLeftWheneverItEnds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		services := rapid.IntRange(1, 5).Draw(rt, "services")
		moments := rapid.IntRange(0, 30).Draw(rt, "moments")
		patience := rapid.IntRange(0, 3).Draw(rt, "patience")
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t, addrs...)
			s := w.set()
			var all []*nodes
			var running []*Service
			for range moments {
				time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
				f := w.sentinels[addrs[r.IntN(3)]]
				switch r.IntN(8) {
				case 0:
					w.change(func() { f.down = !f.down })
				case 6:
					w.change(func() { f.halted = !f.halted })
				case 7:
					if len(running) > 0 {
						running[r.IntN(len(running))].Evidence(topology.ConnLost, "A:6379", 1)
					}
				case 1:
					w.change(func() { f.deaf = !f.deaf })
				case 2:
					w.change(func() { f.slowClose = time.Duration(r.IntN(3000)) * time.Millisecond })
				case 3:
					w.failOver([]string{"A:6379", "B:6379"}[r.IntN(2)], f.addr)
				case 4:
					if len(running) > 0 {
						all[len(running)-1].stop(running[len(running)-1])
						running, all = running[:len(running)-1], all[:len(running)-1]
					}
				default:
					if len(running) < services {
						service, n := w.watch(s)
						running, all = append(running, service), append(all, n)
					}
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(patience)*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					if err := s.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						rt.Errorf("close: %v", err)
					}
				})
			}
			wg.Wait()
			if n := s.Sockets(); len(n) != 0 {
				rt.Errorf("after Close: %v", n)
			}
			_, n := w.watch(s)
			if primary, _ := n.now(); primary != "" {
				rt.Errorf("a service was watched after Close")
			}
			for _, n := range all {
				if n.late {
					rt.Errorf("something was called after Stop")
				}
			}
			w.checkPeaks(rt)
			w.change(func() {
				for _, f := range w.sentinels {
					f.halted = false
				}
			})
			time.Sleep(10 * time.Second) // of slow closes that were cut short
		})
	})
}
