package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestRepliesAreWrittenAsTheyArrive(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		for _, size := range []int{0, 1, 100, 16<<10 - 20, 16 << 10, 32<<10 - 10, 32 << 10, 100_000, 5 << 20} {
			value := make([]byte, size)
			for i := range value {
				value[i] = byte(rand.IntN(256))
			}
			mustDo(t, c, "SET", "large", value)
			var got bytes.Buffer
			n, err := c.DoTo(ctx, &got, "GET", "large")
			if err != nil || n != int64(size) || !bytes.Equal(got.Bytes(), value) {
				t.Fatalf("%d bytes: got %d, %v", size, n, err)
			}
		}
		for i := range 400 {
			mustDo(t, c, "SET", fmt.Sprint(i), strings.Repeat("x", 1000))
		}
		var got bytes.Buffer
		if n, err := c.DoTo(ctx, &got, "INFO"); err != nil || n != int64(got.Len()) || !strings.HasPrefix(got.String(), "# Server") {
			t.Errorf("%d, %v: %.20q", n, err, got.String())
		}
		// A large verbatim string in RESP3.
		text, err := c.Do(ctx, "EVAL", "return {}", 0).Array()
		if err != nil || len(text) != 0 {
			t.Error(text, err)
		}
		if _, err := c.DoTo(ctx, &got, "GET", "missing"); !errors.Is(err, respool.ErrNil) {
			t.Errorf("got %v", err)
		}
		var se *respool.ServerError
		if _, err := c.DoTo(ctx, &got, "GET"); !errors.As(err, &se) {
			t.Errorf("got %v", err)
		}
		if _, err := c.DoTo(ctx, &got, "MGET", "0", "1"); err == nil || !strings.Contains(err.Error(), "array") {
			t.Errorf("got %v", err)
		}
		if _, err := c.DoTo(ctx, &got, "KEYS", "*"); err == nil || !strings.Contains(err.Error(), "array") {
			t.Errorf("got %v", err)
		}
		many := []any{"MGET"}
		for i := range 400 {
			many = append(many, i)
		}
		if n, err := c.DoTo(ctx, &got, many...); n != 0 || err == nil || !strings.Contains(err.Error(), "the reply is an array") && !strings.Contains(err.Error(), "array: want a string") {
			t.Errorf("got %d, %v", n, err)
		}
		for _, args := range [][]any{{"BLPOP", "q", 0}, {"SELECT", 1}, {"SUBSCRIBE", "x"}, {"NOSUCH"}, {}} {
			if _, err := c.DoTo(ctx, &got, args...); err == nil {
				t.Errorf("%v is accepted", args)
			}
		}
	})
}

// CLIENT LIST is a verbatim string in RESP3.
func TestALargeVerbatimStringIsWrittenWithoutItsFormat(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	opt, err := respool.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	opt.MaxConnections, opt.ClientName = 300, strings.Repeat("n", 100)
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	ctx := bounded(t)
	for range 250 {
		conn, err := c.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	var got bytes.Buffer
	if _, err := c.DoTo(ctx, &got, "CLIENT", "LIST"); err != nil || !strings.HasPrefix(got.String(), "id=") || strings.Count(got.String(), "\n") < 251 || !strings.HasSuffix(got.String(), "\n") {
		t.Errorf("%v: %.40q", err, got.String())
	}
}

// slow is a slow writer that fails after some bytes.
type slow struct {
	sync.Mutex
	n, limit int
	began    chan struct{}
	block    chan struct{}
}

func (s *slow) Write(p []byte) (int, error) {
	s.Lock()
	defer s.Unlock()
	if s.began != nil {
		close(s.began)
		s.began = nil
		<-s.block
	}
	s.n += len(p)
	if s.limit > 0 && s.n > s.limit {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestAFailingOrBlockedWriterAffectsNoOtherCaller(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Lanes = 4, 1 })
	ctx := bounded(t)
	mustDo(t, c, "SET", "large", make([]byte, 4<<20))
	if _, err := c.DoTo(ctx, &slow{limit: 100_000}, "GET", "large"); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
	w := &slow{began: make(chan struct{}), block: make(chan struct{})}
	began := w.began
	done := make(chan error)
	go func() {
		_, err := c.DoTo(ctx, w, "GET", "large")
		done <- err
	}()
	<-began
	for range 100 {
		mustDo(t, c, "PING")
	}
	close(w.block)
	if err := <-done; err != nil || w.n != 4<<20 {
		t.Errorf("%d, %v", w.n, err)
	}
	if n := c.Stats().Closed; n != 0 {
		t.Errorf("%d connections were closed", n)
	}
}

// Under cuts and canceled contexts, DoTo writes nothing after its return, the bytes written are a prefix of the value, and the
// client keeps working.
func TestStreamsUnderFaults(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	relay := faultnet.Start(t, s.PlainAddr())
	opt := respool.Options{Addr: relay.Addr(), MaxConnections: 4, Lanes: 1}
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 1<<20)
	for i := range value {
		value[i] = byte(i * 7 >> 3)
	}
	s.Do("SET", "large", string(value))
	var wg sync.WaitGroup
	for g := range 6 {
		r := rand.New(rand.NewPCG(uint64(g), 5))
		wg.Go(func() {
			for range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(30))*time.Millisecond)
				got := &prefix{want: value}
				n, err := c.DoTo(ctx, got, "GET", "large")
				got.end()
				if got.bad || n != int64(got.n) || err == nil && n != int64(len(value)) {
					t.Errorf("%d of %d bytes, %v", n, got.n, err)
				}
				cancel()
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			time.Sleep(10 * time.Millisecond)
			relay.CutAll()
		}
	})
	wg.Wait()
	// Until a dial succeeds, callers get the error of the last dial.
	testkit.Await(t, "a PING succeeds", func() error { return c.Do(bounded(t), "PING").Err() }, succeeded)
	var all bytes.Buffer
	if _, err := c.DoTo(bounded(t), &all, "GET", "large"); err != nil || !bytes.Equal(all.Bytes(), value) {
		t.Errorf("%d bytes, %v", all.Len(), err)
	}
	if err := c.Close(bounded(t)); err != nil {
		t.Error(err)
	}
	s.WaitOutsiders(t, 0, 30*time.Second)
}

// prefix is a writer that checks for a prefix of a value, and for no write after its end.
type prefix struct {
	sync.Mutex
	want      []byte
	n         int
	bad, over bool
}

func (p *prefix) Write(b []byte) (int, error) {
	p.Lock()
	defer p.Unlock()
	if p.over || p.n+len(b) > len(p.want) || !bytes.Equal(b, p.want[p.n:p.n+len(b)]) {
		p.bad = true
	}
	p.n += len(b)
	return len(b), nil
}

func (p *prefix) end() {
	p.Lock()
	defer p.Unlock()
	p.over = true
}
