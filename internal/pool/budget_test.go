package pool_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/budget"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// fleet is several pools with one budget, each with a server.
type fleet struct {
	total  int
	pools  []*pool.Pool
	towns  []*town
	asked  [][]*asked // of each pool
	open   atomic.Int64
	peak   atomic.Int64
	failed []string
}

// counted is a socket that the fleet counts from before its dial until the server has closed it.
type counted struct {
	net.Conn
	once  sync.Once
	fleet *fleet
}

func (c *counted) Close() (err error) {
	c.once.Do(func() {
		err = c.Conn.Close()
		c.fleet.open.Add(-1)
	})
	return err
}

func newFleet(total, limit, lanes, n int) *fleet {
	f := &fleet{total: total, asked: make([][]*asked, n)}
	shared := budget.New(total)
	for range n {
		w := newTown()
		dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
			open := f.open.Add(1)
			f.peak.Store(max(f.peak.Load(), open))
			conn, err := w.dial(ctx, network, addr)
			if err != nil {
				f.open.Add(-1)
				return nil, err
			}
			return &counted{Conn: conn, fleet: f}, nil
		}
		cfg := w.config(limit)
		cfg.Dial = dialAs(&wire.Config{Network: "tcp", Addr: "memory", Protocol: 2, DialFunc: dial, ConnectTimeout: 5 * time.Second})
		cfg.Lanes, cfg.Budget, cfg.Suspended = lanes, shared, true
		p := pool.New(cfg)
		p.Resume()
		f.towns, f.pools = append(f.towns, w), append(f.pools, p)
	}
	return f
}

func (f *fleet) errorf(format string, args ...any) {
	f.failed = append(f.failed, fmt.Sprintf(format, args...))
}

func (f *fleet) ask(i, key int, conn bool) {
	s := stage{p: f.pools[i], asked: f.asked[i]}
	s.ask(key, conn)
	f.asked[i] = s.asked
}

// rest waits until the pools are idle, and checks the total.
func (f *fleet) rest(after string) {
	synctest.Wait()
	for _, asked := range f.asked {
		for _, a := range asked {
			select {
			case <-a.done:
				a.got = true
			default:
			}
		}
	}
	if peak := int(f.peak.Load()); peak > f.total {
		f.errorf("after %s: %d sockets: want %d at most", after, peak, f.total)
	}
}

func (f *fleet) pick(i, n int, ok func(*asked) bool) *asked {
	s := stage{asked: f.asked[i]}
	return s.pick(n, ok)
}

func (f *fleet) end(i int, a *asked, rekey, destroy bool) {
	s := stage{p: f.pools[i]}
	s.end(a, rekey, destroy)
	f.failed = append(f.failed, s.failed...)
}

func (f *fleet) endAll(i int) {
	for a := f.pick(i, 0, holds); a != nil; a = f.pick(i, 0, holds) {
		f.end(i, a, false, false)
	}
}

func (f *fleet) take(i int, st step) {
	w, p := f.towns[i], f.pools[i]
	switch st.what {
	case "acquire":
		f.ask(i, st.n%len(keys), true)
	case "share":
		f.ask(i, st.n%len(keys), false)
	case "end", "destroy", "rekey":
		if a := f.pick(i, st.n, holds); a != nil {
			f.end(i, a, st.what == "rekey", st.what == "destroy")
		}
	case "cancel":
		if a := f.pick(i, st.n, waits); a != nil {
			a.cancel()
		}
	case "resize":
		p.Resize(1 + st.n%5)
	case "suspend":
		p.Suspend(time.Duration(st.n) * time.Millisecond)
	case "resume":
		p.Resume()
	case "redial":
		p.Redial("redialed")
	case "retire":
		p.Retire(st.n%2 == 0, time.Duration(st.n)*time.Millisecond)
	case "guarantee":
		p.Guarantee(st.n%2 == 0)
	case "wish":
		p.Subpool(keys[st.n%len(keys)]).Wish()
	case "kill":
		w.kill()
	case "time":
		time.Sleep(time.Duration(st.n) * 20 * time.Millisecond)
	case "down":
		w.set(func(w *town) { w.down = st.n%2 == 0 })
	case "shut":
		w.shut(st.n%2 == 0)
	case "linger":
		w.set(func(w *town) { w.linger = time.Duration(st.n%3) * 10 * time.Millisecond })
	case "probe":
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, _ = p.Probe(ctx, "PING")
		}()
	case "close":
		if st.n < 5 {
			f.closePool(i)
		}
	}
}

// finish shows that everyone is served once what was taken comes back.
func (f *fleet) finish() {
	n := 0
	for i, w := range f.towns {
		w.set(func(w *town) { w.down, w.linger = false, 0 })
		w.shut(false)
		f.pools[i].Resume()
		f.pools[i].Guarantee(true)
		n += len(f.asked[i])
	}
	for range 20 * n {
		for i := range f.pools {
			f.endAll(i)
		}
		time.Sleep(100 * time.Millisecond)
		f.rest("the end")
	}
	for i, p := range f.pools {
		if a := f.pick(i, 0, waits); a != nil {
			f.errorf("pool %d: %v still waits, for a conn of its own: %v; %+v", i, keys[a.key], a.conn, p.Stats())
		}
	}
}

// closePool ends all waits and holds of a pool, and closes it.
func (f *fleet) closePool(i int) {
	for _, a := range f.asked[i] {
		a.cancel()
	}
	f.rest("the end of all waits")
	f.endAll(i)
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	before := f.pools[i].Stats()
	if err := f.pools[i].Close(ctx); err != nil {
		f.errorf("pool %d was not closed within an hour: %+v", i, before)
	}
}

// close closes all pools and shows that nothing is left.
func (f *fleet) close() {
	for i := range f.pools {
		f.closePool(i)
	}
	synctest.Wait()
	if n := f.open.Load(); n != 0 {
		f.errorf("after Close: %d sockets", n)
	}
}

// Whatever happens to several pools in whatever order: the sum of their sockets stays within the total, and everyone
// is served once what was taken comes back.
func TestPoolsShareABudget(t *testing.T) {
	acts := []string{
		"acquire", "acquire", "acquire", "share", "share", "share", "end", "end", "end", "end", "rekey", "destroy", "cancel",
		"resize", "suspend", "resume", "resume", "redial", "kill", "time", "time", "down", "shut", "shut", "linger", "probe", "close",
		"retire", "guarantee", "wish", "wish",
	}
	type act struct {
		pool int
		step
	}
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(r, "pools")
		total := rapid.IntRange(1, 8).Draw(r, "total")
		limit := rapid.IntRange(1, 4).Draw(r, "limit")
		lanes := rapid.IntRange(1, 2).Draw(r, "lanes")
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) act {
			return act{rapid.IntRange(0, n-1).Draw(r, "pool"), step{rapid.SampledFrom(acts).Draw(r, "what"), rapid.IntRange(0, 60).Draw(r, "n")}}
		}), 1, 80).Draw(r, "steps")
		var f *fleet
		synctest.Test(t, func(t *testing.T) {
			f = newFleet(total, limit, min(lanes, limit), n)
			for _, st := range steps {
				f.take(st.pool, st.step)
				f.rest(st.what)
			}
			f.finish()
			f.close()
		})
		for _, failure := range f.failed {
			r.Error(failure)
		}
	})
}

func onLane(a *asked) bool { return a.lane != nil && a.got }

// With more places than pools, each pool always has a place for its lane, and all other places are leased while callers
// wait for them. Across pools, nobody is served before those who came earlier.
func TestEachPoolHasItsPlaceAndTheOthersGoInTurn(t *testing.T) {
	type act struct{ pool, what, n int }
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(r, "pools")
		more := rapid.IntRange(1, 4).Draw(r, "places beyond one for each pool")
		lanes := rapid.IntRange(1, 3).Draw(r, "lanes")
		steps := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) act {
			return act{rapid.IntRange(0, n-1).Draw(r, "pool"), rapid.IntRange(0, 4).Draw(r, "what"), rapid.IntRange(0, 60).Draw(r, "n")}
		}), 1, 60).Draw(r, "steps")
		var f *fleet
		synctest.Test(t, func(t *testing.T) {
			f = newFleet(n+more, 8, lanes, n)
			var queue []*asked // those who asked for a conn, in order
			for _, st := range steps {
				switch st.what {
				case 0, 1:
					f.ask(st.pool, 0, true)
					queue = append(queue, f.asked[st.pool][len(f.asked[st.pool])-1])
				case 2:
					f.ask(st.pool, 0, false)
				case 3:
					if a := f.pick(st.pool, st.n, holds); a != nil {
						f.end(st.pool, a, false, st.n%8 == 0)
					}
				case 4:
					if l := f.pools[st.pool].Pick(pool.Large); l != nil { // more lanes, if there is room
						_, _ = l.Do(context.Background(), []any{"PING"}, lane.Options{Owner: f.pools[st.pool].Zero()})
					}
				}
				time.Sleep(time.Second)
				f.rest(fmt.Sprint(st))
				for i := range f.pools {
					if f.pick(i, 0, func(a *asked) bool { return waits(a) && !a.conn }) != nil {
						f.errorf("after %v: pool %d has no lane", st, i)
					}
					for a := f.pick(i, 0, onLane); a != nil; a = f.pick(i, 0, onLane) {
						f.end(i, a, false, false)
					}
				}
				leased, waiting := 0, 0
				for _, a := range queue {
					switch {
					case waits(a):
						waiting++
					case waiting > 0:
						f.errorf("after %v: one was served out of turn", st)
					case holds(a):
						leased++
					}
				}
				if waiting > 0 && leased < more {
					f.errorf("after %v: %d wait, and %d of %d places are leased", st, waiting, leased, more)
				}
			}
			f.finish()
			f.close()
		})
		for _, failure := range f.failed {
			r.Error(failure)
		}
	})
}
