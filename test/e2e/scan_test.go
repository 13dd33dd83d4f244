package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// all collects a sequence without duplicates.
func all[T comparable](t *testing.T, seq iter.Seq2[T, error]) map[T]bool {
	t.Helper()
	got := map[T]bool{}
	for v, err := range seq {
		if err != nil {
			t.Error(err)
			continue
		}
		got[v] = true
	}
	return got
}

func TestScansReturnEverything(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		const n = 2000
		p := c.Pipeline()
		keys, members := map[string]bool{"set": true, "hash": true, "zset": true}, map[string]bool{}
		fields, scored := map[respool.Field]bool{}, map[respool.Scored]bool{}
		for i := range n {
			name := fmt.Sprint("m", i)
			p.Do("SET", fmt.Sprint("k", i), i).Do("SADD", "set", name).Do("HSET", "hash", name, i).Do("ZADD", "zset", float64(i)/4, name)
			keys[fmt.Sprint("k", i)], members[name] = true, true
			fields[respool.Field{Name: name, Value: fmt.Sprint(i)}] = true
			scored[respool.Scored{Member: name, Score: float64(i) / 4}] = true
		}
		if _, err := p.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		for _, count := range []int{0, 1000, 1_000_000} {
			opt := respool.ScanOptions{Count: count}
			if got := all(t, c.Scan(ctx, opt)); !maps.Equal(got, keys) {
				t.Errorf("Scan returns %d keys", len(got))
			}
			if got := all(t, c.SScan(ctx, "set", opt)); !maps.Equal(got, members) {
				t.Errorf("SScan returns %d members", len(got))
			}
			if got := all(t, c.HScan(ctx, "hash", opt)); !maps.Equal(got, fields) {
				t.Errorf("HScan returns %d fields", len(got))
			}
			if got := all(t, c.ZScan(ctx, "zset", opt)); !maps.Equal(got, scored) {
				t.Errorf("ZScan returns %d members", len(got))
			}
		}
		if got := all(t, c.Scan(ctx, respool.ScanOptions{Match: "k1?", Count: 100})); len(got) != 10 {
			t.Errorf("Match returns %d keys", len(got))
		}
		if got := all(t, c.Scan(ctx, respool.ScanOptions{Type: "hash", Count: 100})); len(got) != 1 || !got["hash"] {
			t.Errorf("Type returns %v", got)
		}
		if got := all(t, c.HScan(ctx, "hash", respool.ScanOptions{Match: "m199?"})); len(got) != 10 {
			t.Errorf("Match returns %d fields", len(got))
		}
		// The large replies open a second lane.
		if st := c.Stats(); st.Dials > 2 || st.Dials != uint64(st.Lanes) {
			t.Errorf("%d dials, %d lanes: want lanes alone, 2 at most", st.Dials, st.Lanes)
		}
	})
}

func TestScansOfEmptyAndOddKeys(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		if got := all(t, c.Scan(ctx, respool.ScanOptions{})); len(got) != 0 {
			t.Errorf("an empty db returns %v", got)
		}
		if got := all(t, c.HScan(ctx, "missing", respool.ScanOptions{})); len(got) != 0 {
			t.Errorf("a missing key returns %v", got)
		}
		mustDo(t, c, "HSET", "h", "", "", "\r\n", "\x00")
		if got := all(t, c.HScan(ctx, "h", respool.ScanOptions{})); !got[respool.Field{}] || !got[respool.Field{Name: "\r\n", Value: "\x00"}] {
			t.Errorf("got %v", got)
		}
		mustDo(t, c, "ZADD", "z", "inf", "top", "-inf", "bottom")
		got := all(t, c.ZScan(ctx, "z", respool.ScanOptions{}))
		if !got[respool.Scored{Member: "top", Score: math.Inf(1)}] || !got[respool.Scored{Member: "bottom", Score: math.Inf(-1)}] {
			t.Errorf("got %v", got)
		}
	})
}

func TestScanEndsWithItsError(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	mustDo(t, c, "SET", "text", "x")
	last := func(seq iter.Seq2[string, error]) (n int, last error) {
		for _, err := range seq {
			if last != nil {
				t.Errorf("more after the error %v", last)
			}
			n, last = n+1, err
		}
		return n, last
	}
	_, err := last(c.SScan(ctx, "text", respool.ScanOptions{}))
	wantServerError(t, err, "WRONGTYPE")
	_, err = last(c.Scan(ctx, respool.ScanOptions{Count: -1}))
	wantWords(t, err, "count -1")
	_, err = last(c.SScan(ctx, "set", respool.ScanOptions{Type: "set"}))
	wantWords(t, err, "SSCAN", "type")
	for _, err := range c.HScan(ctx, "text", respool.ScanOptions{}) {
		wantServerError(t, err, "WRONGTYPE")
	}
	for _, err := range c.ZScan(ctx, "text", respool.ScanOptions{}) {
		wantServerError(t, err, "WRONGTYPE")
	}

	for i := range 100 {
		mustDo(t, c, "SET", i, i)
	}
	ending, cancel := context.WithCancel(ctx)
	defer cancel()
	n := 0
	for _, err = range c.Scan(ending, respool.ScanOptions{}) {
		n++
		cancel()
	}
	if !errors.Is(err, context.Canceled) || n < 2 || n > 60 {
		t.Errorf("after %d keys: %v: want the end of the ctx", n, err)
	}
}

func TestLeavingAScanCostsNoConnection(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 1 })
	for i := range 100 {
		mustDo(t, c, "SET", i, i)
	}
	for range 50 {
		for key, err := range c.Scan(bounded(t), respool.ScanOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			mustDo(t, c, "GET", key) // the loop holds no connection
			break
		}
	}
	if st := c.Stats(); st.Dials != 1 || st.RepliesDue != 0 {
		t.Errorf("%v, %d dials", st, st.Dials)
	}
}
