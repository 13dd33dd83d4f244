package pool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
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
// it, and closes late: slots that come back too early show as too many.
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
	j.done.Go(func() {
		for {
			conn, err := listener.Accept()
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
	})
	return j
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
	db, in := "0", bufio.NewReader(conn)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		reply := "+OK\r\n"
		switch {
		case args[0] == "SELECT" && args[1] == wrongDB:
			reply = "-ERR DB index is out of range\r\n"
		case args[0] == "SELECT":
			db = args[1]
		case args[0] == "PING":
			reply = "+" + db + "\r\n"
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

// wrongDB is a database that the judge does not have.
const wrongDB = "99"

// readCommand reads one command, of arguments without line breaks.
func readCommand(in *bufio.Reader) ([]string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line)[1:])
	args := make([]string, n)
	for i := range args {
		if _, err = in.ReadString('\n'); err != nil {
			return nil, err
		}
		if line, err = in.ReadString('\n'); err != nil {
			return nil, err
		}
		args[i] = strings.TrimSpace(line)
	}
	return args, err
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
		Dial: func(ctx, cut context.Context, key pool.Key) (*wire.Conn, error) {
			as := *dial
			as.DB = key.DB
			return wire.Dial(ctx, cut, &as)
		},
		Lane: lane.Config{ReplyTimeout: 5 * time.Second, StallLimit: 10 * time.Second, Window: 100, WindowBytes: 1 << 20, LingerLimit: 5 * time.Second},
		Max:  limit, Lanes: lanes, MinIdle: minIdle, WaitTimeout: 5 * time.Second, IdleTimeout: 20 * time.Millisecond,
		MaxLifetime: 60 * time.Millisecond, DialParallel: 4, DialRate: 100_000, BackoffBase: time.Millisecond, BackoffCap: 4 * time.Millisecond,
	}
}

// recast makes a conn one of another database.
func recast(ctx context.Context, l *lane.Lane, _, to pool.Key) error {
	frame, err := l.Do(ctx, []any{"SELECT", to.DB}, lane.Options{})
	if err == nil && frame[0] == '-' {
		return resp.NewServerError(strings.TrimSpace(string(frame[1:])))
	}
	return err
}

// errWrongKey is a conn of another key than the one that was asked for.
var errWrongKey = errors.New("a conn of another key was handed out")

// rightKey checks that a reply to PING came over a conn of the key.
func rightKey(key pool.Key, frame []byte, err error) error {
	if err == nil && string(frame) != fmt.Sprintf("+%d\r\n", key.DB) {
		return fmt.Errorf("%w: %q came from one of %d", errWrongKey, frame, key.DB)
	}
	return err
}

// use is one random use of a pool, by one of so many keys.
func use(p *pool.Pool, r *rand.Rand, keys int) error {
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
	key := pool.Key{DB: r.IntN(keys)}
	g := p.Group(key)
	if r.IntN(2) == 0 {
		l, opt := g.Pick(pool.Any), lane.Options{Owner: g}
		if l == nil {
			var err error
			if l, err = g.Shared(ctx); err != nil {
				return err
			}
			opt = lane.Options{Reserved: true}
		}
		frame, err := l.Do(ctx, ping, opt)
		return rightKey(key, frame, err)
	}
	acquire := g.Acquire
	if r.IntN(8) == 0 {
		acquire = g.AcquireSubscriber
	}
	c, err := acquire(ctx)
	if err != nil {
		return err
	}
	frame, err := c.Lane().Do(ctx, ping, lane.Options{})
	if err = rightKey(key, frame, err); err == nil && r.IntN(8) == 0 {
		other := pool.Key{DB: r.IntN(keys)}
		if recast(ctx, c.Lane(), key, other) != nil {
			c.Destroy("its key is not known")
			return nil
		}
		c.Rekey(other)
	}
	switch {
	case r.IntN(8) == 0:
		c.Destroy("by chance")
	default:
		c.Release()
	}
	return err
}

// Whatever is acquired, given back, killed, refused or cancelled: the server
// never counts more than the limit, and in the end every slot is free.
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
		keys := rapid.IntRange(1, 5).Draw(t, "keys")
		recasts := rapid.Bool().Draw(t, "recasts")

		j := startJudge(t)
		defer j.stop()
		cfg := j.config(limit, lanes, minIdle)
		if recasts {
			cfg.Recast = recast
		}
		p := pool.New(cfg)
		var wg sync.WaitGroup
		var unexpected atomic.Value
		for i := range callers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				for range uses {
					var we *wire.Error
					err := use(p, r, keys)
					if err != nil && !errors.As(err, &we) && !errors.Is(err, lane.ErrDraining) && !errors.Is(err, pool.ErrClosed) && !errors.Is(err, pool.ErrSuspended) {
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
			lendAll(t, p, max(1, now-1))
			if err := p.Close(context.Background()); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if peak := j.peak.Load(); peak > int64(most) {
			t.Errorf("%d sockets at peak: want %d at most", peak, most)
		}
		if st := p.Stats(); st.Dialing+st.Lanes+st.Idle+st.Dedicated+st.Subscribed+st.Closing+st.Waiting != 0 {
			t.Errorf("after Close: %+v", st)
		}
	})
}

// disturb kills conns, refuses dials and suspends the pool now and then.
func disturb(j *judge, p *pool.Pool, seed uint64, stop <-chan struct{}) {
	r := rand.New(rand.NewPCG(seed, 1<<40))
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(2000)) * time.Microsecond):
		}
		switch r.IntN(6) {
		case 0:
			j.refuse.Store(!j.refuse.Load())
		case 1:
			p.Suspend(time.Duration(r.IntN(3000)) * time.Microsecond)
		case 2:
			p.Resume()
		default:
			j.kill()
		}
	}
}

// lendAll shows that all slots can be lent at once.
func lendAll(t *rapid.T, p *pool.Pool, n int) {
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
			t.Fatalf("%d of %d slots could be lent: %v", len(held), n, err)
		}
		held = append(held, c)
	}
	for _, c := range held {
		c.Release()
	}
}
