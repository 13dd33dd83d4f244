package e2e_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestOpenReturnsAConnectedClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "secret"})
	ctx := bounded(t)
	c, err := respool.Open(ctx, s.URL()+"?max_connections=6&lanes=2&min_idle=3")
	if err != nil {
		t.Fatal(err)
	}
	if st := c.Stats(); st.Lanes != 2 || st.Idle != 3 || s.ClientCount() != 5 {
		t.Errorf("%v; the server counts %d", st, s.ClientCount())
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	if n := s.ClientCount(); n != 0 {
		t.Errorf("the server counts %d after Close", n)
	}
}

func TestErrorsOfOpen(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "secret"})
	ctx := bounded(t)
	_, err := respool.Open(ctx, "redis://"+s.Addr())
	wantConnError(t, err, false)
	wantServerError(t, err, "NOAUTH")
	s.Kill()
	_, err = respool.Open(ctx, s.URL())
	wantConnError(t, err, false)
	wantWords(t, err, "dial", s.Addr(), "refused")
	_, err = respool.Open(ctx, "redis://localhost/abc")
	wantWords(t, err, "abc")
}

func TestNewDoesNoIO(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MinIdle = 2 })
	if st := c.Stats(); st.Sockets() != 0 || st.Dials != 0 {
		t.Errorf("after New: %v", st)
	}
}

func TestValuesOfAnySizeComeBack(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	r := newRand(seed(t), 0)
	sizes := []int{0, 1, 2, 100, 4095, 4096, 16<<10 - 1, 16 << 10, 32<<10 + 1, 64 << 10, 1 << 20, 20 << 20}
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		for _, size := range sizes {
			value := randomBytes(r, size)
			mustDo(t, c, "SET", "k", value)
			got, err := mustDo(t, c, "GET", "k").Bytes()
			if err != nil || !bytes.Equal(got, value) {
				t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
			}
		}
	})
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		var word [8]byte
		binary.NativeEndian.PutUint64(word[:], r.Uint64())
		copy(b[i:], word[:])
	}
	return b
}

func TestEveryByteComesBack(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	awkward := []string{string(all), "\r\n", "$-1\r\n", "*1\r\n$4\r\nQUIT\r\n", "\x00", "naïve ☕", ""}
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		for _, text := range awkward {
			mustDo(t, c, "SET", text, text)
			wantText(t, mustDo(t, c, "GET", []byte(text)), text)
		}
	})
}

func TestBigValuesOfManyCallers(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Lanes = 2, 1 })
	ctx := bounded(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			key, value := fmt.Sprint("k", i), bytes.Repeat([]byte{byte(i)}, (i+1)*100_000)
			if err := c.Do(ctx, "SET", key, value).Err(); err != nil {
				t.Error(err)
			}
			if got, err := c.Do(ctx, "GET", key).Bytes(); err != nil || !bytes.Equal(got, value) {
				t.Errorf("%d bytes came back as %d, %v", len(value), len(got), err)
			}
		})
	}
	wg.Wait()
}

func TestServerErrorsAreTyped(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--maxmemory", "1gb", "--maxmemory-policy", "noeviction"}})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		mustDo(t, c, "SET", "text", "x")
		err := c.Do(ctx, "LPUSH", "text", "y").Err()
		wantServerError(t, err, "WRONGTYPE")
		wantWords(t, err, "WRONGTYPE Operation against a key holding the wrong kind of value")
		if !errors.Is(err, &respool.ServerError{Code: "WRONGTYPE"}) {
			t.Errorf("errors.Is does not see %v", err)
		}
		wantServerError(t, c.Do(ctx, "INCR", "text").Err(), "ERR")
		wantServerError(t, c.Do(ctx, "GET").Err(), "ERR")
		wantServerError(t, c.Do(ctx, "EVALSHA", "0123456789012345678901234567890123456789", 0).Err(), "NOSCRIPT")
		wantServerError(t, c.Do(ctx, "XREADGROUP", "GROUP", "g", "me", "STREAMS", "s", ">").Err(), "NOGROUP")

		s.Do("CONFIG", "SET", "maxmemory", "1")
		wantServerError(t, c.Do(ctx, "SET", "k", "v").Err(), "OOM")
		s.Do("CONFIG", "SET", "maxmemory", "0")

		s.Do("REPLICAOF", "127.0.0.1", "1")
		impatient := newClient(t, s, func(o *respool.Options) { o.Protocol, o.WaitTimeout = protocol, 900*time.Millisecond })
		err = impatient.Do(ctx, "SET", "k", "v").Err()
		s.Do("REPLICAOF", "NO", "ONE")
		wantServerError(t, err, "READONLY")
		wantText(t, mustDo(t, c, "PING"), "PONG")
		if st := c.Stats(); st.FailedLanes != 0 {
			t.Errorf("error replies cost connections: %v", st)
		}
	})
}

func TestContextThatHasEndedSendsNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	if err := c.Warm(bounded(t)); err != nil {
		t.Fatal(err)
	}
	conn := acquire(t, c)
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	for _, tt := range []struct {
		ctx  context.Context
		want error
	}{{cancelled, context.Canceled}, {late, context.DeadlineExceeded}} {
		check := func(name string, err error) {
			t.Helper()
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: %v: want %v", name, err, tt.want)
			}
			wantConnError(t, err, false)
		}
		check("Do", c.Do(tt.ctx, "INCR", "n").Err())
		check("blocking Do", c.Do(tt.ctx, "BRPOPLPUSH", "a", "b", 1).Err())
		check("unknown Do", c.Do(tt.ctx, "NOSUCH", "n").Err())
		_, err := c.Pipeline().Do("INCR", "n").Exec(tt.ctx)
		check("Pipeline", err)
		_, err = c.Transaction().Do("INCR", "n").Exec(tt.ctx)
		check("Transaction", err)
		_, err = c.Watch(tt.ctx, []string{"n"}, func(*respool.Watched) error { return nil })
		check("Watch", err)
		_, err = c.Acquire(tt.ctx)
		check("Acquire", err)
		check("Conn.Do", conn.Do(tt.ctx, "INCR", "n").Err())
	}
	for _, name := range []string{"incr", "brpoplpush", "multi", "watch", "exec"} {
		if n := calls(s, name); n != 0 {
			t.Errorf("%s was executed %d times", name, n)
		}
	}
	wantText(t, conn.Do(bounded(t), "PING"), "PONG")
}

func TestEverythingFailsAfterClose(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	mustDo(t, c, "PING")
	ctx := bounded(t)
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	check := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, respool.ErrClosed) {
			t.Errorf("%s: %v: want ErrClosed", name, err)
		}
	}
	check("Do", c.Do(ctx, "PING").Err())
	check("blocking Do", c.Do(ctx, "BLPOP", "q", 1).Err())
	check("unknown Do", c.Do(ctx, "NOSUCH").Err())
	_, err := c.Pipeline().Do("PING").Exec(ctx)
	check("Pipeline", err)
	_, err = c.Transaction().Do("PING").Exec(ctx)
	check("Transaction", err)
	_, err = c.Watch(ctx, []string{"k"}, func(*respool.Watched) error { return nil })
	check("Watch", err)
	_, err = c.Acquire(ctx)
	check("Acquire", err)
	_, err = c.Subscribe(ctx, "ch")
	check("Subscribe", err)
	check("Warm", c.Warm(ctx))
	check("Resize", c.Resize(3))
	check("Script", respool.NewScript("return 1").Run(ctx, c, nil).Err())
	for _, err := range c.Scan(ctx, respool.ScanOptions{}) {
		check("Scan", err)
	}
	for range 2 {
		check("closing again", errors.Join(respool.ErrClosed, c.Close(ctx)))
	}
	if st := c.Stats(); st.Sockets() != 0 || st.Dials != st.Closed {
		t.Errorf("%v, %d dials, %d closed", st, st.Dials, st.Closed)
	}
	if n := s.ClientCount(); n != 0 {
		t.Errorf("the server counts %d connections", n)
	}
}

func TestCloseWaitsForCommandsInFlight(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) {
		dedicated(o)
		o.MaxConnections = 4
	})
	ctx := bounded(t)
	conn := acquire(t, c)
	popped := make(chan respool.Reply, 1)
	go func() { popped <- c.Do(ctx, "BLPOP", "q", 0) }()
	blocked(t, s, 1)
	closed := make(chan error, 1)
	go func() { closed <- c.Close(ctx) }()
	testkit.Await(t, "the client is closed", func() error { return c.Do(ctx, "PING").Err() }, func(err error) bool { return errors.Is(err, respool.ErrClosed) })
	s.Do("LPUSH", "q", "last")
	texts, err := (<-popped).Texts()
	if err != nil || len(texts) != 2 || texts[1] != "last" {
		t.Errorf("the blocked command got %q, %v", texts, err)
	}
	wantText(t, conn.Do(ctx, "PING"), "PONG")
	select {
	case err := <-closed:
		t.Errorf("Close returned before the held connection came back: %v", err)
	default:
	}
	conn.Release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestCloseOfAnUnusedClient(t *testing.T) {
	c := openClient(t, respool.Options{Addr: "127.0.0.1:1"})
	if err := c.Close(bounded(t)); err != nil {
		t.Error(err)
	}
}

// A value does not escape to the heap, and a reply allocates only its own memory.
func TestAllocations(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := context.Background()
	value := string(make([]byte, 64))
	least := func(op func()) float64 {
		for range 200 {
			op()
		}
		allocs := testing.AllocsPerRun(300, op)
		for range 4 {
			allocs = min(allocs, testing.AllocsPerRun(300, op))
		}
		return allocs
	}
	if n := least(func() {
		if err := c.Do(ctx, "SET", "key", value).Err(); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("SET costs %v allocations: want 0", n)
	}
	if n := least(func() {
		if _, err := c.Do(ctx, "GET", "key").Text(); err != nil {
			t.Error(err)
		}
	}); n != 1 {
		t.Errorf("GET costs %v allocations: want 1", n)
	}
}
