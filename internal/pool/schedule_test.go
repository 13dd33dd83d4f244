package pool_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// memory is a server in memory, under the fake clock of synctest: it answers
// everything with +OK and remembers when it was dialed.
type memory struct {
	mu    sync.Mutex
	dials []time.Time
	open  int
	asked int // commands, those of handshakes included
	pings int // PINGs among them
	down  bool
	hang  bool
	deaf  int // conns up to that number answer nothing more
}

var errRefused = errors.New("refused")

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	m.mu.Lock()
	m.dials = append(m.dials, time.Now())
	down, hang := m.down, m.hang
	m.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if down {
		return nil, errRefused
	}
	client, server := net.Pipe()
	m.mu.Lock()
	m.open++
	number := len(m.dials)
	m.mu.Unlock()
	go m.serve(number, server)
	return client, nil
}

// serve answers once for each command, ECHO with its argument and others with OK. It tells
// commands by their array headers.
func (m *memory) serve(number int, conn net.Conn) {
	defer func() {
		conn.Close()
		m.mu.Lock()
		m.open--
		m.mu.Unlock()
	}()
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		commands := strings.Split(string(buf[:n]), "*")[1:]
		m.mu.Lock()
		m.asked += len(commands)
		deaf := number <= m.deaf
		for i, c := range commands {
			if strings.HasPrefix(c, "1\r\n$4\r\nPING") {
				m.pings++
			}
			echo, ok := strings.CutPrefix(c, "2\r\n$4\r\nECHO\r\n")
			if commands[i] = echo; !ok {
				commands[i] = "+OK\r\n"
			}
		}
		m.mu.Unlock()
		if deaf {
			continue
		}
		if _, err := conn.Write([]byte(strings.Join(commands, ""))); err != nil {
			return
		}
	}
}

// deafen has the conns of now answer nothing more.
func (m *memory) deafen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deaf = len(m.dials)
}

// pinged is how many PINGs came, those of handshakes included.
func (m *memory) pinged() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pings
}

func (m *memory) set(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

func (m *memory) times() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.dials)
}

func (m *memory) sockets() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// config is the client's defaults in short.
func (m *memory) config() pool.Config {
	dial := &wire.Config{Network: "tcp", Addr: "memory", Protocol: 2, DialFunc: m.dial, ConnectTimeout: 5 * time.Second}
	return pool.Config{
		Addr: "memory",
		Dial: func(ctx, cut context.Context, _ pool.Identity) (*wire.Conn, error) { return wire.Dial(ctx, cut, dial) },
		Lane: lane.Config{ReplyTimeout: 5 * time.Second, StallLimit: 10 * time.Second, Window: 100, WindowBytes: 1 << 20, LingerLimit: time.Second},
		Max:  4, Lanes: 1, WaitTimeout: 5 * time.Second, DialParallel: 4, DialRate: 100,
		BackoffBase: 10 * time.Millisecond, BackoffCap: time.Second,
	}
}

// inBubble runs fn under a fake clock with a pool that is closed afterwards.
func inBubble(t *testing.T, change func(*pool.Config), fn func(t *testing.T, m *memory, p *pool.Pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		cfg := m.config()
		if change != nil {
			change(&cfg)
		}
		p := pool.New(cfg)
		fn(t, m, p)
		if err := p.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
		synctest.Wait()
		if n := m.sockets(); n != 0 {
			t.Errorf("%d sockets are open after Close", n)
		}
	})
}

func acquire(t *testing.T, p *pool.Pool) *pool.Conn {
	t.Helper()
	c, err := p.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPausesBetweenFailedDialsDoubleUpToTheCap(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *memory, p *pool.Pool) {
		m.set(true)
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, err := p.Acquire(context.Background()); !errors.Is(err, errRefused) {
				t.Fatalf("want the dial's error at once, got %v", err)
			}
		}
		dials := m.times()
		for i := 1; i < len(dials); i++ {
			full := min(time.Second, 10*time.Millisecond<<(i-1))
			// A caller asks each millisecond, so a dial comes up to that late.
			if pause := dials[i].Sub(dials[i-1]); pause < full/2 || pause > full+2*time.Millisecond {
				t.Errorf("pause %d is %v: want %v to %v", i, pause, full/2, full)
			}
		}
		if len(dials) < 15 || len(dials) > 30 {
			t.Errorf("%d dials in 10 s", len(dials))
		}
		m.set(false)
		time.Sleep(time.Second)
		acquire(t, p).Release()
	})
}

func TestDialsKeepToTheirRate(t *testing.T) {
	inBubble(t, func(c *pool.Config) { c.DialRate = 10 }, func(t *testing.T, m *memory, p *pool.Pool) {
		began := time.Now()
		for range 24 {
			acquire(t, p).Destroy("used once")
		}
		// A burst of Max, then ten a second.
		if took := time.Since(began); took < 1900*time.Millisecond || took > 2500*time.Millisecond {
			t.Errorf("24 dials took %v: want 2 s", took)
		}
	})
}

func TestIdleConnsCloseDownToMinIdle(t *testing.T) {
	inBubble(t, func(c *pool.Config) { c.IdleTimeout, c.MinIdle = time.Minute, 1 }, func(t *testing.T, m *memory, p *pool.Pool) {
		a, b, c := acquire(t, p), acquire(t, p), acquire(t, p)
		a.Release()
		b.Release()
		c.Release()
		time.Sleep(50 * time.Second)
		if st := p.Stats(); st.Idle != 3 {
			t.Errorf("before the timeout: %+v", st)
		}
		time.Sleep(30 * time.Second)
		if st := p.Stats(); st.Idle != 1 || st.Closing != 0 {
			t.Errorf("after the timeout: %+v", st)
		}
	})
}

func TestConnsAreReplacedAtTheEndOfTheirLife(t *testing.T) {
	inBubble(t, func(c *pool.Config) { c.MaxLifetime = time.Minute }, func(t *testing.T, m *memory, p *pool.Pool) {
		if err := p.Warm(context.Background()); err != nil {
			t.Fatal(err)
		}
		acquire(t, p).Release()
		for range 600 {
			l := p.Pick(pool.Any)
			if l == nil {
				t.Fatal("no lane is open while its successor is dialed")
			}
			if _, err := l.Do(context.Background(), []any{"GET", "k"}, lane.Options{}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		// Ten minutes, each conn living 54 to 60 s plus the reaper's round. The end
		// may fall where an old lane still stands beside its successor.
		if st := p.Stats(); st.Closed < 7 || st.Lanes < 1 || st.Lanes > 2 || st.FailedLanes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestWaitsEndWithTheirTimeoutAndTellThePoolsState(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *memory, p *pool.Pool) {
		held := []*pool.Conn{acquire(t, p), acquire(t, p), acquire(t, p)}
		began := time.Now()
		_, err := p.Acquire(context.Background())
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("the wait took %v: want 5s", took)
		}
		if !errors.Is(err, pool.ErrExhausted) || !strings.Contains(err.Error(), "limit 4: 0 lanes, 3 in use") {
			t.Errorf("%v", err)
		}
		for _, c := range held {
			c.Release()
		}
	})
}

func TestADialOutlivesTheCallerThatAsked(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *memory, p *pool.Pool) {
		m.hang = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := p.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if st := p.Stats(); st.Dialing != 1 || st.Waiting != 0 {
			t.Errorf("%+v", st)
		}
		time.Sleep(4 * time.Second) // its own limit passes
		synctest.Wait()
		if st := p.Stats(); st.Dialing != 0 || st.DialFailures != 1 {
			t.Errorf("%+v", st)
		}
		m.hang = false
	})
}

func TestLeaksAreReportedOnce(t *testing.T) {
	var mu sync.Mutex
	var leaks []pool.Event
	inBubble(t, func(c *pool.Config) {
		c.LeakThreshold = time.Minute
		c.OnEvent = func(e pool.Event) {
			if e.Kind == pool.LeakSuspected {
				mu.Lock()
				leaks = append(leaks, e)
				mu.Unlock()
			}
		}
	}, func(t *testing.T, m *memory, p *pool.Pool) {
		c := acquire(t, p)
		c.NoteHolder(0)
		time.Sleep(time.Hour)
		c.Release()
	})
	if len(leaks) != 1 || !strings.Contains(leaks[0].Stack, "TestLeaksAreReportedOnce") || leaks[0].Duration < time.Minute {
		t.Errorf("%+v", leaks)
	}
}

func TestQuietConnsArePinged(t *testing.T) {
	inBubble(t, func(c *pool.Config) { c.HealthCheck = time.Minute }, func(t *testing.T, m *memory, p *pool.Pool) {
		acquire(t, p).Release()
		time.Sleep(10 * time.Minute)
		if st := p.Stats(); st.Idle != 1 || st.Closed != 0 || st.Dials != 1 {
			t.Errorf("%+v", st)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.asked < 8 || m.asked > 12 {
			t.Errorf("%d commands in ten minutes: want a ping a minute", m.asked)
		}
	})
}

// Large commands and small ones have lanes of their own, where there is more
// than one.
func TestLargeAndSmallCommandsKeepApart(t *testing.T) {
	for lanes := 1; lanes <= 4; lanes++ {
		inBubble(t, func(c *pool.Config) { c.Lanes = lanes }, func(t *testing.T, m *memory, p *pool.Pool) {
			if l := p.Pick(pool.Large); l != nil {
				t.Error("a lane before the first dial")
			}
			if err := p.Warm(context.Background()); err != nil {
				t.Fatal(err)
			}
			if n := p.Stats().Lanes; n != lanes {
				t.Fatalf("%d lanes: want %d", n, lanes)
			}
			small, large := p.Pick(pool.Small), p.Pick(pool.Large)
			if small == nil || large == nil || (small == large) != (lanes == 1) {
				t.Errorf("of %d lanes: %p for small, %p for large commands", lanes, small, large)
			}
			if p.Pick(pool.Any) != small {
				t.Error("lanes are filled from the first on")
			}
		})
	}
}

// A health check is no use: what nobody uses closes all the same.
func TestHealthChecksKeepNothingOpen(t *testing.T) {
	change := func(c *pool.Config) { c.HealthCheck, c.IdleTimeout = 10*time.Second, time.Minute }
	inBubble(t, change, func(t *testing.T, m *memory, p *pool.Pool) {
		first, second := acquire(t, p), acquire(t, p)
		first.Release()
		time.Sleep(30 * time.Second)
		second.Release()
		synctest.Wait()
		before := m.pinged()
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if st := p.Stats(); st.Idle != 2 || m.pinged() == before {
			t.Errorf("%+v, %d pings", st, m.pinged()-before)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if st := p.Stats(); st.Idle != 1 {
			t.Errorf("the first one is not used for more than a minute: %+v", st)
		}
		time.Sleep(time.Minute)
		if st := p.Stats(); st.Idle != 0 {
			t.Errorf("nothing is used for a minute: %+v", st)
		}
	})
	inTown(t, 3, change, func(t *testing.T, w *town, p *pool.Pool) {
		shareAs(t, p, alice)
		time.Sleep(30 * time.Second)
		if st := p.Stats(); st.Lanes != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(2 * time.Minute)
		if st := p.Stats(); st.Lanes != 0 {
			t.Errorf("a lane of another identity outlived its use: %+v", st)
		}
	})
}

// Conns that are in use are not pinged.
func TestHealthChecksCostNothingUnderLoad(t *testing.T) {
	inBubble(t, func(c *pool.Config) { c.HealthCheck, c.StaleAfter = time.Second, time.Second }, func(t *testing.T, m *memory, p *pool.Pool) {
		shared, err := p.Shared(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		shared.Unreserve()
		acquire(t, p).Release()
		before := m.pinged()
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			time.Sleep(500 * time.Millisecond)
			c := acquire(t, p)
			for _, l := range []*lane.Lane{c.Lane(), p.Pick(pool.Any)} {
				if _, err := l.Do(context.Background(), []any{"GET"}, lane.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			c.Release()
		}
		if got := m.pinged() - before; got != 0 {
			t.Errorf("the server got %d pings", got)
		}
	})
}

// A conn that was idle for long is asked before it is leased, once, by whoever waits; one that
// was used just now is not.
func TestAStaleConnIsAskedBeforeItIsLeased(t *testing.T) {
	inBubble(t, func(c *pool.Config) { c.StaleAfter = 3 * time.Second }, func(t *testing.T, m *memory, p *pool.Pool) {
		acquire(t, p).Release()
		before := m.pinged()
		acquire(t, p).Release()
		if got := m.pinged(); got != before {
			t.Errorf("%d pings for a conn that was used just now", got-before)
		}
		time.Sleep(time.Minute)
		acquire(t, p).Release()
		acquire(t, p).Release()
		if got := m.pinged(); got != before+1 {
			t.Errorf("%d pings for a conn that was idle for long, want one", got-before)
		}
		if st := p.Stats(); st.Dials != 1 || st.Idle != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// One idle conn that is dead makes the others suspects. They are asked at once, so that whoever waits gets a new one before all
// could have been asked one after the other, and the bound holds.
func TestADeadIdleConnCastsDoubtOnTheOthers(t *testing.T) {
	const idle = 32
	for _, limit := range []int{idle + 1, 2 * idle} {
		inBubble(t, func(c *pool.Config) {
			c.Max, c.StaleAfter, c.Lane.SuspectAfter = limit, 3*time.Second, time.Second
			c.WaitTimeout = time.Hour
		}, func(t *testing.T, m *memory, p *pool.Pool) {
			var conns []*pool.Conn
			for range idle {
				conns = append(conns, acquire(t, p))
			}
			for _, c := range conns {
				c.Release()
			}
			time.Sleep(time.Minute)
			m.deafen()
			before, began := m.pinged(), time.Now()
			c := acquire(t, p)
			if took := time.Since(began); took > idle/2*time.Second {
				t.Errorf("limit %d: a new conn came after %v", limit, took)
			}
			if _, err := ask(context.Background(), c.Lane(), lane.Options{}, "GET"); err != nil {
				t.Error(err)
			}
			time.Sleep(3 * time.Second)
			if st, pings := p.Stats(), m.pinged()-before; st.Idle != 0 || st.Dials != idle+1 || pings < idle {
				t.Errorf("limit %d: idle siblings are still there after %d pings: %+v", limit, pings, st)
			}
			c.Release()
		})
	}
}
