package keywatch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// fake is a server in memory that accepts CLIENT TRACKING and EXISTS.
type fake struct {
	*fakeserver.Server
	reply atomic.Pointer[func(c *fakeserver.Conn, command string) (string, bool)] // replaces the server's replies
}

func newFake(t *testing.T) *fake {
	f := &fake{}
	f.Server = fakeserver.Start(t, fakeserver.Config{Memory: true, Answer: func(c *fakeserver.Conn, args []string) (string, bool) {
		command := strings.Join(args, " ")
		if reply := f.reply.Load(); reply != nil {
			if text, ok := (*reply)(c, command); ok {
				return text, true
			}
		}
		switch {
		case strings.HasPrefix(command, "CLIENT TRACKING"):
			return "+OK\r\n", true
		case args[0] == "EXISTS":
			return ":0\r\n", true
		}
		return "", false
	}})
	return f
}

// answer replaces the replies to commands that begin with prefix. Without a text the server's own reply is sent.
func (f *fake) answer(prefix, text string) {
	f.reply.Store(new(func(_ *fakeserver.Conn, command string) (string, bool) {
		return text, text != "" && strings.HasPrefix(command, prefix)
	}))
}

func (f *fake) bench(t *testing.T, cfg Config) *bench {
	return newBench(t, wire.Config{Addr: "fake", DialFunc: f.Dial}, cfg, nil)
}

// inBubble runs a test with the time of a bubble.
func inBubble(t *testing.T, cfg Config, test func(t *testing.T, f *fake, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		test(t, f, f.bench(t, cfg))
	})
}

func TestTheLingerLastsForOneSecond(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fake, b *bench) {
		r := newRecorder()
		x := b.mustWatch(t, r, "k")
		synctest.Wait()
		x.Stop()
		time.Sleep(999 * time.Millisecond)
		b.mustWatch(t, r, "k").Stop()
		time.Sleep(999 * time.Millisecond)
		if !b.Stats().Connected {
			t.Error("the connection is gone before the end of the linger")
		}
		time.Sleep(2 * time.Millisecond)
		if b.Stats().Connected {
			t.Error("the connection is held after the end of the linger")
		}
		if n := f.Count("CLIENT"); f.Commands()[len(f.Commands())-1] != "CLIENT TRACKING OFF" {
			t.Errorf("the last of %d CLIENT commands is not CLIENT TRACKING OFF: %v", n, f.Commands())
		}
	})
}

func TestAWatchDuringTheReleaseGetsTheNextConnection(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fake, b *bench) {
		r := newRecorder()
		x := b.mustWatch(t, r, "k")
		synctest.Wait()
		x.Stop()
		var once sync.Once
		f.reply.Store(new(func(_ *fakeserver.Conn, command string) (string, bool) {
			if command == "CLIENT TRACKING OFF" {
				once.Do(func() {
					b.mustWatch(t, r, "k")
					synctest.Wait()
				})
			}
			return "", false
		}))
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.of("k") != 2 || !b.Stats().Connected {
			t.Errorf("%d notifications, connected %v: want 2, true", r.of("k"), b.Stats().Connected)
		}
	})
}

func TestAnUncleanConnectionIsClosed(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fake, b *bench) {
		f.answer("CLIENT TRACKING OFF", "-ERR no\r\n")
		x := b.mustWatch(t, newRecorder(), "k")
		synctest.Wait()
		x.Stop()
		time.Sleep(time.Minute)
		if n := f.Open(); n != 0 {
			t.Errorf("%d connections are open: want 0", n)
		}
	})
}

func TestPingsKeepAQuietConnection(t *testing.T) {
	inBubble(t, Config{HealthCheck: time.Second, Ping: []any{"HELLO"}}, func(t *testing.T, f *fake, b *bench) {
		before := f.Count("HELLO")
		b.mustWatch(t, newRecorder(), "k")
		time.Sleep(time.Minute)
		if n := f.Count("HELLO") - before; n < 55 || n > 61 {
			t.Errorf("%d pings in a minute: want 60", n)
		}
		if n := f.Accepted(); n != 1 {
			t.Errorf("%d connections: want 1", n)
		}
	})
}

func TestAServerWithoutTrackingIsAskedOnceAMinute(t *testing.T) {
	var refusals []*RefusedError
	cfg := Config{OnRefusal: func(err *RefusedError) { refusals = append(refusals, err) }}
	inBubble(t, cfg, func(t *testing.T, f *fake, b *bench) {
		f.answer("CLIENT TRACKING", "-ERR unknown subcommand 'TRACKING'\r\n")
		r := newRecorder()
		refused := 0
		for range 300 {
			if _, err := b.Watch("k", r); err != nil {
				refused++
			}
			time.Sleep(time.Second)
		}
		if len(refusals) != 5 || refused != 295 {
			t.Errorf("%d refusals by the server, %d by the watcher: want 5, 295", len(refusals), refused)
		}
		if n := f.Open(); n != 0 {
			t.Errorf("%d connections are open: want 0", n)
		}
		f.answer("", "")
		time.Sleep(time.Minute)
		b.mustWatch(t, r, "k")
		synctest.Wait()
		if r.of("k") != 1 || refusals[len(refusals)-1] != nil {
			t.Errorf("%d notifications, last refusal %v: want 1, nil", r.of("k"), refusals[len(refusals)-1])
		}
	})
}

func TestAServerBeforeHelloIsRefused(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fake, b *bench) {
		f.answer("HELLO", "-ERR unknown command 'HELLO'\r\n")
		r := newRecorder()
		b.mustWatch(t, r, "k")
		synctest.Wait()
		var refused *RefusedError
		if err := r.end("k"); !errors.As(err, &refused) || refused.Op != "HELLO 3" || refused.Key {
			t.Errorf("the watch ended with %v: want a refusal of HELLO 3", err)
		}
	})
}

func TestALoadingServerIsAskedAgain(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fake, b *bench) {
		f.answer("EXISTS", "-LOADING Redis is loading the dataset in memory\r\n")
		r := newRecorder()
		b.mustWatch(t, r, "k")
		time.Sleep(time.Minute)
		if n := f.Count("EXISTS"); n < 60 || n > 140 || f.Accepted() != 1 {
			t.Errorf("%d EXISTS on %d connections in a minute: want one or two per second on one", n, f.Accepted())
		}
		f.answer("", "")
		time.Sleep(time.Second)
		if r.of("k") != 1 {
			t.Errorf("%d notifications: want 1", r.of("k"))
		}
	})
}

func TestANonsensicalServerIsLeft(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fake, b *bench) {
		f.answer("EXISTS", "+QUEUED\r\n")
		r := newRecorder()
		b.mustWatch(t, r, "k")
		time.Sleep(time.Minute)
		if n := f.Accepted(); n < 60 || n > 140 {
			t.Errorf("%d connections in a minute: want one or two per second", n)
		}
		if f.Open() > 1 || b.Stats().LastError == nil {
			t.Errorf("%d connections are open, last error %v", f.Open(), b.Stats().LastError)
		}
		f.answer("", "")
		time.Sleep(2 * time.Second)
		if r.of("k") != 1 {
			t.Errorf("%d notifications: want 1", r.of("k"))
		}
	})
}

func TestTheLastResortSpreadsTheKeys(t *testing.T) {
	inBubble(t, Config{LastResort: 10 * time.Second}, func(t *testing.T, _ *fake, b *bench) {
		const n = 1000
		r, at := newRecorder(), map[time.Time]int{}
		for i := range n {
			b.mustWatch(t, r, fmt.Sprint("k", i))
		}
		synctest.Wait()
		r.mu.Lock()
		r.then = func(string, error) { at[time.Now()]++ }
		r.mu.Unlock()
		time.Sleep(13 * time.Second)
		synctest.Wait()
		most := 0
		for _, n := range at {
			most = max(most, n)
		}
		if s := b.Stats(); s.LastResort < n || most > n/10 {
			t.Errorf("%d notifications, at most %d at a time: want at least %d, at most %d", s.LastResort, most, n, n/10)
		}
	})
}

func TestKeysBeyondThePaceFollowInTime(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, _ *fake, b *bench) {
		b.core.pace.vain = vainMost
		b.core.wheel.random = func(time.Duration) time.Duration { return 0 } // the wheel does not wake the goroutine early
		time.Sleep(time.Second)
		r := newRecorder()
		const n = 2*paceKeys + 1
		for i := range n {
			b.mustWatch(t, r, fmt.Sprint("k", i))
			if i%paceKeys == 0 {
				synctest.Wait() // the period's room is used up without a pending reply
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := b.Stats().Notifications; got != n {
			t.Errorf("%d notifications: want %d", got, n)
		}
	})
}

func TestAWatcherEndsItsGoroutineWhenItIsUnused(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fake, b *bench) {
		for range 3 {
			x := b.mustWatch(t, newRecorder(), "k")
			synctest.Wait()
			x.Stop()
			time.Sleep(time.Minute)
			b.mu.Lock()
			running := b.running
			b.mu.Unlock()
			if running {
				t.Error("the goroutine runs although nothing is watched")
			}
		}
	})
}

func TestReauthenticateSendsAuthOnTheConnection(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{Users: []string{"other on >pw ~* +@all"}})
	b := start(t, srv, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	always := func(*wire.Conn) bool { return true }
	if _, conn, err := b.Reauthenticate(ctx, always, []any{"AUTH", "other", "pw"}); conn != nil || err != nil {
		t.Errorf("without a connection: %v, %v: want nil, nil", conn, err)
	}
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	if _, _, err := b.Reauthenticate(ctx, always, []any{"AUTH", "other", "bad"}); err == nil {
		t.Error("a wrong password was accepted")
	}
	if _, conn, err := b.Reauthenticate(ctx, func(*wire.Conn) bool { return false }, []any{"AUTH", "other", "pw"}); conn != nil || err != nil {
		t.Errorf("not due: %v, %v: want nil, nil", conn, err)
	}
	if _, conn, err := b.Reauthenticate(ctx, always, []any{"AUTH", "other", "pw"}); conn == nil || err != nil {
		t.Errorf("Reauthenticate: %v, %v: want a conn", conn, err)
	}
	if list := srv.Do("CLIENT", "LIST"); !strings.Contains(list, "user=other") {
		t.Errorf("no connection of the other user: %s", list)
	}
	n := b.quiet(t, r, "k")
	srv.Do("SET", "k", "x")
	r.more(t, "k", n)
}

func TestASubscriberMayCallTheWatcher(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	r := newRecorder()
	var x atomic.Pointer[Watch]
	var second sync.Once
	r.then = func(key string, _ error) {
		b.Stats()
		if key == "first" && x.Load() != nil {
			x.Load().Stop()
		}
		second.Do(func() {
			if _, err := b.Watch("second", r); err != nil {
				t.Errorf("Watch within Notify: %v", err)
			}
			b.Renew()
		})
	}
	x.Store(b.mustWatch(t, r, "first"))
	r.more(t, "first", 0)
	r.more(t, "second", 0)
	if n := r.of("first"); n != 1 {
		t.Errorf("%d notifications of a watch that was stopped at the first one", n)
	}
}

func TestCloseEndsEachWatchOnce(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	var ends atomic.Int64
	r := newRecorder()
	r.then = func(_ string, err error) {
		if errors.Is(err, pool.ErrClosed) {
			ends.Add(1)
		}
	}
	var accepted, stopped atomic.Int64
	var wg sync.WaitGroup
	began := make(chan struct{}, 8)
	for i := range 8 {
		wg.Go(func() {
			for j := 0; ; j++ {
				x, err := b.Watch(fmt.Sprint("k", (i+j)%20), r)
				if err != nil {
					return
				}
				accepted.Add(1)
				if j == 10 {
					began <- struct{}{}
				}
				if j%2 == 0 {
					x.Stop()
					stopped.Add(1)
				}
			}
		})
	}
	for range 8 {
		<-began
	}
	b.Close()
	after := ends.Load()
	b.Close()
	wg.Wait()
	if ends.Load() != after {
		t.Error("a watch ended after Close had returned")
	}
	if n := accepted.Load(); after < n/2-8 || after > n-stopped.Load()+8 {
		t.Errorf("%d watches ended of %d, of which %d were stopped", after, n, stopped.Load())
	}
	if s := b.Stats(); s.Watches != 0 || s.Keys != 0 || s.Connected {
		t.Errorf("after Close: %+v", s)
	}
}

// late is a Source whose first attempt succeeds although it was canceled.
type late struct {
	*pool.Pool
	calls atomic.Int64
	first atomic.Pointer[pool.Conn]
}

func (s *late) AcquireSubscriber(ctx context.Context) (*pool.Conn, error) {
	if s.calls.Add(1) > 1 {
		return s.Pool.AcquireSubscriber(ctx)
	}
	<-ctx.Done()
	c, err := s.Pool.AcquireSubscriber(context.Background())
	s.first.Store(c)
	return c, err
}

func TestRenewRejectsAConnectionThatIsAcquiredMeanwhile(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	source := &late{Pool: b.pool}
	w := New(source, Config{})
	defer w.Close()
	r := newRecorder()
	if _, err := w.Watch("k", r); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, "the first attempt", source.calls.Load, testkit.Is(int64(1)))
	w.Renew()
	r.more(t, "k", 0)
	if n := source.calls.Load(); n != 2 || source.first.Load() == nil {
		t.Errorf("%d attempts: want 2, of which the first returned a connection", n)
	}
}

// blocked is a Source without connections.
type blocked struct{}

func (blocked) AcquireSubscriber(ctx context.Context) (*pool.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAWatchedKeyTakesLittleMemory(t *testing.T) {
	const n, most = 100_000, 400
	w := New(blocked{}, Config{})
	defer w.Close()
	r := newRecorder()
	watches := make([]*Watch, n)
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("queue:", i)
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for i := range names {
		watches[i], _ = w.Watch(names[i], r)
	}
	each := (heap() - before) / n
	t.Logf("%d bytes per key with one watch", each)
	if each > most {
		t.Errorf("%d bytes per key: want %d at most", each, most)
	}
	for _, x := range watches {
		x.Stop()
	}
	clear(watches)
	if left := heap() - before; left > n*most/20 {
		t.Errorf("%d bytes are left after all watches were stopped", left)
	}
	runtime.KeepAlive(names)
}

func TestKeysThatComeAndGoWithoutAConnectionTakeNoMemory(t *testing.T) {
	w := New(blocked{}, Config{})
	defer w.Close()
	r := newRecorder()
	for i := range 10_000 {
		x, err := w.Watch(fmt.Sprint(i), r)
		if err != nil {
			t.Fatal(err)
		}
		x.Stop()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.core.queue.len(); n > 200 {
		t.Errorf("%d keys are in the queue: want the gone ones removed", n)
	}
}
