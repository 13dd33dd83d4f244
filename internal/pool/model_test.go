package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// judge is a server that counts a socket from its accept until it has closed
// it, and closes late: places that come back too early show as too many.
type judge struct {
	listener   net.Listener
	done       sync.WaitGroup
	open, peak atomic.Int64
	refuse     atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func startJudge(t *rapid.T) *judge {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j := &judge{listener: listener, conns: map[net.Conn]struct{}{}}
	j.done.Go(j.accept)
	return j
}

func (j *judge) accept() {
	for {
		conn, err := j.listener.Accept()
		if err != nil {
			return
		}
		n := j.open.Add(1)
		for {
			peak := j.peak.Load()
			if n <= peak || j.peak.CompareAndSwap(peak, n) {
				break
			}
		}
		j.done.Go(func() { j.serve(conn) })
	}
}

func (j *judge) stop() {
	j.listener.Close()
	j.done.Wait()
}

func (j *judge) serve(conn net.Conn) {
	j.mu.Lock()
	j.conns[conn] = struct{}{}
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		delete(j.conns, conn)
		j.mu.Unlock()
		// As a busy server does: the socket is still counted for a while.
		time.Sleep(rand.N(3 * time.Millisecond))
		j.open.Add(-1)
		conn.Close()
	}()
	if j.refuse.Load() {
		_, _ = io.WriteString(conn, "-ERR max number of clients reached\r\n")
		return
	}
	talk(conn)
}

// kill ends one connection from the server's side.
func (j *judge) kill() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for conn := range j.conns {
		_ = conn.(*net.TCPConn).CloseRead() // its serve goroutine ends it
		return
	}
}

func (j *judge) config(limit, lanes, minIdle int) pool.Config {
	dial := &wire.Config{Network: "tcp", Addr: j.listener.Addr().String(), Protocol: 2, ConnectTimeout: 5 * time.Second, LingerLimit: 5 * time.Second}
	return pool.Config{
		Addr: dial.Addr,
		Dial: dialAs(dial), SwitchIdentity: become,
		Lane: lane.Config{ReplyTimeout: 5 * time.Second, StallLimit: 10 * time.Second, Window: 100, WindowBytes: 1 << 20, LingerLimit: 5 * time.Second},
		Max:  limit, Lanes: lanes, MinIdle: minIdle, WaitTimeout: 5 * time.Second, IdleTimeout: 20 * time.Millisecond,
		MaxLifetime: 60 * time.Millisecond, DialParallel: 4, DialRate: 100_000, BackoffBase: time.Millisecond, BackoffCap: 4 * time.Millisecond,
	}
}

// keys are those of the model, the zero key among them, and one that the server refuses.
var keys = []pool.Identity{{}, {DB: 1}, {User: "alice"}, {User: "alice", DB: 2}, {User: "bob", Proto: 3}, {User: "mallory"}, {Replica: true}}

// errStranger tells of a conn that works as somebody else.
var errStranger = errors.New("the conn works as somebody else")

// works checks that a conn is what was asked for.
func works(ctx context.Context, l *lane.Lane, opt lane.Options, k pool.Identity) error {
	name, err := ask(ctx, l, opt, "WHOAMI")
	if err == nil && name != nameOf(k) {
		err = fmt.Errorf("%w: %s, not %s", errStranger, name, nameOf(k))
	}
	return err
}

// poll is a sink that has who a conn works as told twice.
type poll struct{ ended chan error }

func (s poll) Reply(want uint64, frame []byte, _ bool, _ *lane.Batch) {
	if name := "+" + nameOf(keys[want>>1]) + "\r\n"; string(frame) != name {
		s.ended <- fmt.Errorf("%w: %q, not %q", errStranger, frame, name)
	} else {
		s.ended <- nil
	}
}

func (s poll) Part(uint64, []byte) bool { return false }

func (s poll) Fail(_ uint64, err error) { s.ended <- err }

// posts checks by a post that a lane is what was asked for: keys[i].
func posts(l *lane.Lane, opt lane.Options, i int) error {
	s := poll{make(chan error, 3)}
	if err := l.Post([]byte(strings.Repeat("*1\r\n$6\r\nWHOAMI\r\n", 2)), 2, s, uint64(i)<<1, opt); err != nil {
		return err
	}
	l.Flush(i%2 == 0)
	if err := <-s.ended; err != nil {
		return err
	}
	return <-s.ended
}

// use is one random use of a pool. Some subpools are kept, others looked up anew.
func use(p *pool.Pool, kept []*pool.Subpool, r *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(20_000))*time.Microsecond)
	if r.IntN(2) == 0 {
		cancel()
		ctx, cancel = context.WithCancel(context.Background())
	}
	defer cancel()
	ping := []any{"PING"}
	if r.IntN(8) == 0 {
		_, err := p.Probe(ctx, ping...)
		if errors.Is(err, pool.ErrExhausted) {
			return nil
		}
		return err
	}
	i := r.IntN(len(keys))
	k, g := keys[i], kept[i]
	if r.IntN(2) == 0 {
		g = p.Subpool(k)
	}
	if r.IntN(2) == 0 {
		if l := g.Pick(pool.Any); l != nil {
			if r.IntN(2) == 0 {
				return posts(l, lane.Options{Owner: g.Owner()}, i)
			}
			return works(ctx, l, lane.Options{Owner: g.Owner()}, k)
		}
		l, err := g.Shared(ctx)
		if err != nil {
			return err
		}
		return works(ctx, l, lane.Options{Reserved: true}, k)
	}
	acquire := g.Acquire
	if r.IntN(8) == 0 {
		acquire = g.AcquireSubscriber
	}
	c, err := acquire(ctx)
	if err != nil {
		return err
	}
	if r.IntN(4) == 0 {
		err = posts(c.Lane(), lane.Options{}, i)
	} else {
		err = works(ctx, c.Lane(), lane.Options{}, k)
	}
	if err == nil && r.IntN(8) == 0 {
		if to := keys[r.IntN(len(keys))]; become(ctx, c.Lane(), k, to) == nil {
			c.SetIdentity(to)
		} else {
			c.Destroy("nobody knows as whom it works")
		}
	}
	switch {
	case r.IntN(8) == 0:
		c.Destroy("by chance")
	case r.IntN(8) == 0:
		c.Release()
		c.Release()
	default:
		c.Release()
	}
	return err
}

// Whatever is acquired, given back, killed, refused or cancelled: the server
// never counts more than the limit, and in the end every place is free.
func TestTheLedgerHoldsUnderAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		lanes := rapid.IntRange(1, limit).Draw(t, "lanes")
		minIdle := rapid.IntRange(0, limit-1).Draw(t, "min idle")
		seed := rapid.Uint64().Draw(t, "seed")
		callers := rapid.IntRange(1, 30).Draw(t, "callers")
		uses := rapid.IntRange(1, 30).Draw(t, "uses")
		resize := rapid.IntRange(0, 6).Draw(t, "resize")
		closeEarly := rapid.Bool().Draw(t, "close early")

		j := startJudge(t)
		defer j.stop()
		cfg := j.config(limit, lanes, minIdle)
		if !rapid.Bool().Draw(t, "switches identity") {
			cfg.SwitchIdentity = nil
		}
		p := pool.New(cfg)
		var kept []*pool.Subpool
		for _, k := range keys {
			kept = append(kept, p.Subpool(k))
		}
		var wg sync.WaitGroup
		var unexpected atomic.Value
		for i := range callers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range uses {
					var we *wire.Error
					var se *resp.ServerError
					err := use(p, kept, r)
					if err != nil && !errors.As(err, &we) && !errors.As(err, &se) && !errors.Is(err, lane.ErrDraining) && !errors.Is(err, pool.ErrClosed) && !errors.Is(err, pool.ErrSuspended) {
						unexpected.Store(err.Error())
					}
				}
			})
		}
		stop := make(chan struct{})
		var side sync.WaitGroup
		side.Go(func() { disturb(j, p, seed, stop) })
		most := limit
		if resize > 0 {
			p.Resize(resize)
			most = max(limit, resize)
		}
		if closeEarly {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			_ = p.Close(ctx)
		}
		wg.Wait()
		close(stop)
		side.Wait()
		j.refuse.Store(false)
		p.Resume()
		if err := unexpected.Load(); err != nil {
			t.Errorf("%v", err)
		}
		if !closeEarly {
			now := limit
			if resize > 0 {
				now = resize
			}
			leaseAll(t, p, max(1, now-1))
			if err := p.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if peak := j.peak.Load(); peak > int64(most) {
			t.Errorf("%d sockets at peak: want %d at most", peak, most)
		}
		if st := p.Stats(); st.Dialing+st.Lanes+st.Idle+st.Dedicated+st.Subscribed+st.Closing+st.Waiting+st.Subpools != 0 {
			t.Errorf("after Close: %+v", st)
		}
	})
}

// disturb kills and redials conns, refuses dials and suspends the pool now and then.
func disturb(j *judge, p *pool.Pool, seed uint64, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(seed, 1<<40))
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(2000)) * time.Microsecond):
		}
		switch r.IntN(7) {
		case 0:
			j.refuse.Store(!j.refuse.Load())
		case 1:
			p.Suspend(time.Duration(r.IntN(3000)) * time.Microsecond)
		case 2:
			p.Resume()
		case 3:
			p.Redial("redialed")
		default:
			j.kill()
		}
	}
}

// leaseAll shows that all places can be leased at once.
func leaseAll(t *rapid.T, p *pool.Pool, n int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var held []*pool.Conn
	for len(held) < n {
		c, err := p.Acquire(ctx)
		var we *wire.Error
		if errors.As(err, &we) && ctx.Err() == nil {
			continue // the last refusal's pause is not over yet
		}
		if err != nil {
			t.Fatalf("%d of %d places could be leased: %v", len(held), n, err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.Release()
	}
}
