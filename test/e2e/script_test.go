package e2e_test

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestScriptIsSentOnce(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	const source = `redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1], ARGV[2]}`
	script := respool.NewScript(source)
	if want := fmt.Sprintf("%x", sha1.Sum([]byte(source))); script.Digest() != want {
		t.Errorf("digest %s: want %s", script.Digest(), want)
	}
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		s.Do("SCRIPT", "FLUSH")
		before := calls(s, "eval")
		for i := range 5 {
			texts, err := script.Run(bounded(t), c, []string{"k"}, i, "more").Texts()
			if err != nil || fmt.Sprint(texts) != fmt.Sprintf("[k %d more]", i) {
				t.Errorf("run %d returns %q, %v", i, texts, err)
			}
		}
		if n := calls(s, "eval") - before; n != 1 {
			t.Errorf("the source was sent %d times", n)
		}
		s.Do("SCRIPT", "FLUSH") // like a restart or a failover
		if err := script.Run(bounded(t), c, []string{"k"}, 1).Err(); err != nil {
			t.Errorf("after the server forgot it: %v", err)
		}
	})
}

func TestLoadedScriptIsNeverSentAgain(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	script := respool.NewScript("return redis.call('INCRBY', KEYS[1], ARGV[1])")
	if err := script.Load(bounded(t), c); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := script.Run(bounded(t), c, []string{"n"}, 2).Err(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantText(t, mustDo(t, c, "GET", "n"), "100")
	if n := calls(s, "eval"); n != 0 {
		t.Errorf("the source was sent %d times", n)
	}
}

func TestScriptErrors(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	broken := respool.NewScript("return +")
	wantServerError(t, broken.Run(ctx, c, nil).Err(), "ERR")
	wantServerError(t, broken.Load(ctx, c), "ERR")
	own := respool.NewScript("return redis.error_reply('MINE of the script')").Run(ctx, c, nil)
	wantServerError(t, own.Err(), "MINE")
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := broken.Run(cancelled, c, nil).Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v: want the end of the ctx", err)
	}
	wantWords(t, respool.NewScript("return 1").Run(ctx, c, []string{"k"}, []int{1}).Err(), "[]int")
}

func TestReadOnlyScript(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	mustDo(t, c, "SET", "k", "v")
	get := respool.NewScript("return redis.call('GET', KEYS[1])").ReadOnly()
	if !s.Has("EVALSHA_RO") {
		wantServerError(t, get.Run(ctx, c, []string{"k"}).Err(), "ERR")
		return
	}
	for range 3 {
		wantText(t, get.Run(ctx, c, []string{"k"}), "v")
	}
	if n := calls(s, "eval_ro"); n != 1 {
		t.Errorf("the source was sent %d times", n)
	}
	set := respool.NewScript("return redis.call('SET', KEYS[1], 'w')")
	if set.ReadOnly().Digest() != set.Digest() {
		t.Error("the read-only script has another digest")
	}
	wantServerError(t, set.ReadOnly().Run(ctx, c, []string{"k"}).Err(), "ERR")
	wantText(t, mustDo(t, c, "GET", "k"), "v")
}
