package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// viaRelay returns a client whose connections use the relay.
func viaRelay(t *testing.T, s *redistest.Server, relay *faultnet.Relay, change func(*respool.Options)) *respool.Client {
	return newClient(t, s, func(o *respool.Options) {
		o.Addr = relay.Addr()
		o.LingerLimit = time.Second
		if change != nil {
			change(o)
		}
	})
}

// faults injects random faults until stop is closed.
func faults(relay *faultnet.Relay, r *rand.Rand, stop <-chan struct{}) {
	pause := func(d time.Duration) bool {
		select {
		case <-stop:
			return false
		case <-time.After(d):
			return true
		}
	}
	for pause(time.Duration(20+r.IntN(100)) * time.Millisecond) {
		switch r.IntN(5) {
		case 0:
			relay.CutAll()
		case 1:
			relay.CutAfter(int64(1 + r.IntN(5000)))
		case 2:
			relay.HalfClose()
		default:
			relay.Stall()
			pause(time.Duration(r.IntN(30)) * time.Millisecond)
			relay.Resume()
		}
	}
}

// Each reply names its request, while contexts end, frames are cut in the middle, and the network stalls.
func TestNoReplyCrossesCallers(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Config{})
			relay := faultnet.Start(t, s.Addr())
			seed := seed(t)
			c := viaRelay(t, s, relay, func(o *respool.Options) {
				o.Protocol = protocol
				o.MaxConnections = 4
				o.Lanes = 2
			})
			stop := make(chan struct{})
			var side sync.WaitGroup
			side.Go(func() { faults(relay, newRand(seed, -2), stop) })
			var right, id atomic.Int64
			load(t, 200, seed, *stressFor, func(ctx context.Context, r *rand.Rand, i int) error {
				n, err := prove(ctx, c, r, &id)
				right.Add(int64(n))
				return err
			})
			close(stop)
			side.Wait()
			relay.Resume()
			if right.Load() == 0 {
				t.Error("no command succeeded")
			}
			t.Logf("%d replies were right; %v", right.Load(), c.Stats())
		})
	}
}

// errWrong is the reply of another request. It is never expected.
type errWrong struct{ got, want string }

func (e errWrong) Error() string { return fmt.Sprintf("got %.80q: want %.80q", e.got, e.want) }

// prove sends commands whose replies name them, in a random way, and counts the right replies.
func prove(ctx context.Context, c *respool.Client, r *rand.Rand, id *atomic.Int64) (int, error) {
	want := func() string {
		text := "id" + strconv.FormatInt(id.Add(1), 10)
		if r.IntN(50) == 0 {
			text += string(make([]byte, r.IntN(100_000))) // larger than a read
		}
		return text
	}
	check := func(reply respool.Reply, want string) error {
		got, err := reply.Text()
		if err == nil && got != want {
			return errWrong{got, want}
		}
		return err
	}
	switch r.IntN(8) {
	case 0:
		conn, err := c.Acquire(ctx)
		if err != nil {
			return 0, err
		}
		defer conn.Release()
		for n := range 3 {
			w := want()
			if err := check(conn.Do(ctx, "ECHO", w), w); err != nil {
				return n, err
			}
		}
		return 3, nil
	case 1, 2:
		p := c.Pipeline()
		wants := make([]string, 1+r.IntN(30))
		for i := range wants {
			wants[i] = want()
			p.Do("ECHO", wants[i])
		}
		replies, err := p.Exec(ctx)
		n := 0
		for i, reply := range replies {
			switch cerr := check(reply, wants[i]); {
			case cerr == nil:
				n++
			case errors.As(cerr, new(errWrong)):
				return n, cerr
			}
		}
		return n, err
	default:
		w := want()
		if err := check(c.Do(ctx, "ECHO", w), w); err != nil {
			return 0, err
		}
		return 1, nil
	}
}

// Commands that time out while the server stalls cost no connection, and the client keeps using its connections.
func TestTimeoutsOpenNoConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.SocketTimeout = 100 * time.Millisecond })
	ctx := context.Background()
	if err := c.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	before := c.Stats().Dials
	s.Pause()
	var wg sync.WaitGroup
	var timedOut atomic.Int64
	for i := range 1000 {
		wg.Go(func() {
			ctx := ctx
			if i%2 == 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			var ce *respool.ConnError
			if err := c.Do(ctx, "GET", "k").Err(); errors.As(err, &ce) && ce.Timeout() {
				timedOut.Add(1)
			} else {
				t.Errorf("want a timeout, got %v", err)
			}
		})
	}
	wg.Wait()
	s.Resume()
	for c.Do(ctx, "PING").Err() != nil {
	}
	if n := timedOut.Load(); n != 1000 {
		t.Errorf("%d of 1000 commands timed out", n)
	}
	if st := c.Stats(); st.Dials != before || st.Closed != 0 {
		t.Errorf("%d connections before, %d after, %d closed", before, st.Dials, st.Closed)
	}
}

// A server is killed under load and restarts. No acknowledged write is lost, none runs twice, and the dials meanwhile keep to the
// backoff.
func TestWritesThroughAKilledServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{AppendOnly: true})
	var dials atomic.Int64
	c := newClient(t, s, func(o *respool.Options) {
		o.OnEvent = func(e respool.Event) {
			if e.Kind == respool.EventDialed || e.Kind == respool.EventDialFailed {
				dials.Add(1)
			}
		}
	})
	ctx := context.Background()
	if err := c.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	down := max(500*time.Millisecond, min(3*time.Second, *stressFor))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var acknowledged, unsure, later atomic.Int64
	var up atomic.Bool
	for range 1000 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := c.Do(ctx, "INCR", "counter").Err()
				var ce *respool.ConnError
				switch {
				case err == nil:
					acknowledged.Add(1)
					if up.Load() {
						later.Add(1)
					}
				case errors.As(err, &ce) && ce.Sent:
					unsure.Add(1)
				case !expected(err):
					t.Errorf("%T %v", err, err)
					return
				default:
					select { // with a pause, like a service
					case <-stop:
					case <-time.After(5 * time.Millisecond):
					}
				}
			}
		})
	}
	testkit.Await(t, "1000 acknowledged writes", acknowledged.Load, testkit.AtLeast[int64](1000))
	before := dials.Load()
	s.Kill()
	began := time.Now()
	time.Sleep(down)
	during := dials.Load() - before
	outage := time.Since(began)
	s.Restart()
	up.Store(true)
	back := time.Now()
	for later.Load() == 0 && time.Since(back) < 20*time.Second {
		time.Sleep(time.Millisecond)
	}
	t.Logf("down for %v: %d dials; the first write came %v after the server was back; %d acknowledged, %d unsure",
		outage, during, time.Since(back), acknowledged.Load(), unsure.Load())
	close(stop)
	wg.Wait()
	if later.Load() == 0 {
		t.Fatalf("no write succeeded after the restart: %v", c.Stats())
	}
	if *strict && time.Since(back) > 1500*time.Millisecond {
		t.Errorf("service came back after %v: want one backoff cap of 1 s", time.Since(back))
	}
	// Pauses double from 10 ms to 1 s, and each is random in its upper half: at most 8 dials in the first 640 ms, then 2 per second.
	if most := 10 + int64(2*outage.Seconds()); during > most {
		t.Errorf("%d dials in %v while the server was down: want %d at most", during, outage, most)
	}
	n, err := c.Do(ctx, "GET", "counter").Int64()
	if err != nil {
		t.Fatal(err)
	}
	if low, high := acknowledged.Load(), acknowledged.Load()+unsure.Load(); n < low || n > high {
		t.Errorf("the counter is %d: want %d (acknowledged) to %d (with those that may have run)", n, low, high)
	}
}

// Close under load leaves no connection, no waiter and no goroutine.
func TestCloseUnderLoad(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	seed := seed(t)
	for round := range 3 {
		c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 4 })
		work := mixed(c)
		var wg sync.WaitGroup
		var running, closed atomic.Int64
		for i := range 300 {
			wg.Go(func() {
				r := newRand(seed, i+1000*round)
				for {
					err := work(context.Background(), r, i)
					running.Add(1)
					if errors.Is(err, respool.ErrClosed) {
						closed.Add(1)
						return
					}
					if !expected(err) {
						t.Errorf("%T %v", err, err)
						return
					}
				}
			})
		}
		testkit.Await(t, "2000 commands", running.Load, testkit.AtLeast[int64](2000))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if err := c.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		cancel()
		if n := s.ClientCount(); n != 0 {
			t.Errorf("the server counts %d connections after Close", n)
		}
		wg.Wait()
		if closed.Load() != 300 {
			t.Errorf("%d of 300 callers got ErrClosed", closed.Load())
		}
		if err := c.Do(context.Background(), "PING").Err(); !errors.Is(err, respool.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
}

// Close cuts the remaining commands when its ctx ends.
func TestCloseCutsTheRemainingCommands(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, dedicated)
	ctx := context.Background()
	blocked := make(chan error)
	go func() { blocked <- c.Do(ctx, "BLPOP", "nothing", 0).Err() }()
	held, err := c.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, "two dedicated connections", c.Stats, func(s respool.Stats) bool { return s.Dedicated >= 2 })
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := c.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v: want the end of its ctx", err)
	}
	if err := <-blocked; err == nil {
		t.Error("the blocked command ended without an error")
	}
	if err := held.Do(ctx, "PING").Err(); err == nil {
		t.Error("a held connection still works after Close")
	}
	held.Release()
	s.WaitClients(t, 0, 10*time.Second)
}
