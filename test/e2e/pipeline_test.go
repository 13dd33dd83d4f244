package e2e_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestPipelineRepliesInOrderWithTheirOwnErrors(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		p := c.Pipeline().Do("SET", "k", "v").Do("INCR", "k").Do("GET", "k").Do("GET", "missing").Do("INCR", "n")
		if p.Len() != 5 {
			t.Errorf("Len is %d", p.Len())
		}
		replies, err := p.Exec(bounded(t))
		if err != nil || len(replies) != 5 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		wantText(t, replies[0], "OK")
		wantServerError(t, replies[1].Err(), "ERR")
		wantText(t, replies[2], "v")
		if !replies[3].IsNil() || replies[3].Err() != nil {
			t.Errorf("a null is %v, %v", replies[3], replies[3].Err())
		}
		wantText(t, replies[4], "1")
	})
}

func TestPipelineIsEmptyAfterExec(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	ctx := bounded(t)
	p := c.Pipeline()
	if replies, err := p.Exec(ctx); replies != nil || err != nil {
		t.Errorf("an empty pipeline returns %v, %v", replies, err)
	}
	first, err := p.Do("ECHO", "one").Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p.Len() != 0 {
		t.Errorf("Len is %d after Exec", p.Len())
	}
	if _, err := p.Do("ECHO", nil).Do("ECHO", "x").Exec(ctx); err == nil {
		t.Error("a bad argument returned no error")
	}
	second, err := p.Do("ECHO", "two").Do("ECHO", "three").Exec(ctx)
	if err != nil || len(second) != 2 {
		t.Fatalf("after an error: %d replies, %v", len(second), err)
	}
	wantText(t, first[0], "one")
	wantText(t, second[0], "two")
	wantText(t, second[1], "three")

	tx := c.Transaction()
	if replies, err := tx.Exec(ctx); replies != nil || err != nil {
		t.Errorf("an empty transaction returns %v, %v", replies, err)
	}
	for i := range 3 {
		if tx.Do("INCR", "n").Do("INCR", "n"); tx.Len() != 2 {
			t.Errorf("Len is %d", tx.Len())
		}
		replies, err := tx.Exec(ctx)
		if err != nil || len(replies) != 2 || tx.Len() != 0 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		wantText(t, replies[1], strconv.Itoa(2*i+2))
	}
}

func TestPipelineWithAWrongArgumentSendsNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	mustDo(t, c, "PING")
	ctx := bounded(t)
	for _, bad := range [][]any{{"SET", "k", time.Second}, {}, {"BLPOP", "q", 0}, {"SELECT", 1}, {"SUBSCRIBE", "ch"}} {
		replies, err := c.Pipeline().Do("SET", "a", 1).Do("SET", "b", 1).Do(bad...).Do("SET", "c", 1).Exec(ctx)
		if replies != nil {
			t.Errorf("%v: %d replies", bad, len(replies))
		}
		wantWords(t, err, "respool: pipeline command 2: ")
	}
	replies, err := c.Transaction().Do("SET", "a", 1).Do("SET", "b", []int{1}).Exec(ctx)
	if replies != nil {
		t.Errorf("%d replies", len(replies))
	}
	wantWords(t, err, "respool: transaction command 1: ", "argument 2", "[]int")
	if n := calls(s, "set") + calls(s, "multi"); n != 0 {
		t.Errorf("%d commands were executed", n)
	}
}

func TestPipelineOfTenThousand(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 2 })
	var wg sync.WaitGroup
	for caller := range 4 {
		wg.Go(func() {
			p := c.Pipeline()
			for i := range 10_000 {
				p.Do("ECHO", caller*1_000_000+i)
			}
			replies, err := p.Exec(bounded(t))
			if err != nil || len(replies) != 10_000 {
				t.Errorf("%d replies, %v", len(replies), err)
				return
			}
			for i, r := range replies {
				if n, err := r.Int64(); err != nil || int(n) != caller*1_000_000+i {
					t.Errorf("reply %d is %v, %v", i, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestPipelineOfBigReplies(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		p := c.Pipeline()
		for i := range 20 {
			p.Do("SET", fmt.Sprint("k", i), strings.Repeat(string(rune('a'+i)), 1<<20)).Do("GET", fmt.Sprint("k", i)).Do("ECHO", i)
		}
		replies, err := p.Exec(bounded(t))
		if err != nil || len(replies) != 60 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		for i := range 20 {
			wantText(t, replies[3*i+1], strings.Repeat(string(rune('a'+i)), 1<<20))
			wantText(t, replies[3*i+2], strconv.Itoa(i))
		}
	})
}

func TestPipelineTakesTheCopiesOfItsArguments(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	b := []byte("before")
	p := c.Pipeline().Do("ECHO", b)
	copy(b, "after!")
	replies, err := p.Exec(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, replies[0], "before")
}

func TestTransactionIsAtomic(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				for range 20 {
					replies, err := c.Transaction().Do("INCR", "a").Do("GET", "b").Do("INCR", "b").Exec(ctx)
					if err != nil || len(replies) != 3 {
						t.Errorf("%d replies, %v", len(replies), err)
						return
					}
					a, _ := replies[0].Int64()
					if b, _ := replies[2].Int64(); a != b {
						t.Errorf("a is %d and b %d", a, b)
					}
				}
			})
		}
		wg.Wait()
		wantText(t, mustDo(t, c, "GET", "a"), "400")
	})
}

func TestTransactionErrors(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		ctx := bounded(t)
		// A command that fails when it runs does not stop the others.
		replies, err := c.Transaction().Do("SET", "k", "text").Do("INCR", "k").Do("APPEND", "k", "!").Exec(ctx)
		if err != nil || len(replies) != 3 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		wantText(t, replies[0], "OK")
		wantServerError(t, replies[1].Err(), "ERR")
		wantText(t, replies[2], "5")

		// After a command that cannot be queued, none runs.
		for _, bad := range [][]any{{"GET"}, {"NOSUCH", "x"}} {
			replies, err = c.Transaction().Do("SET", "k", "other").Do(bad...).Do("SET", "k", "another").Exec(ctx)
			if replies != nil {
				t.Errorf("%d replies", len(replies))
			}
			wantServerError(t, err, "ERR")
			wantWords(t, err, "not executed")
			wantText(t, mustDo(t, c, "GET", "k"), "text!")
		}

		// No command blocks in a transaction.
		mustDo(t, c, "RPUSH", "q", "element")
		replies, err = c.Transaction().Do("BLPOP", "q", 0).Do("BLPOP", "q", 0).Do("XREAD", "BLOCK", 0, "STREAMS", "s", "$").Exec(ctx)
		if err != nil || len(replies) != 3 {
			t.Fatalf("%d replies, %v", len(replies), err)
		}
		wantPopped(t, replies[0], "q", "element")
		if !replies[1].IsNil() || !replies[2].IsNil() {
			t.Errorf("blocking commands give %v, %v", replies[1], replies[2])
		}
	})
}

// A server that refuses MULTI runs the commands one by one. No error may claim that they did not run.
func TestTransactionOfAUserWithoutMulti(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"alice on >secret ~* &* +@all -multi", "bob on >secret ~* &* +@all -exec"}})
	ctx := bounded(t)
	for _, user := range []string{"alice", "bob"} {
		c := newClient(t, s, func(o *respool.Options) {
			o.Username, o.Password, o.MaxConnections = user, "secret", 1
		})
		_, err := c.Transaction().Do("SET", user, "v").Exec(ctx)
		wantWords(t, err, "NOPERM")
		if r := mustDo(t, c, "EXISTS", user); r.String() == "1" && strings.Contains(err.Error(), "was not executed") {
			t.Errorf("%s's command was executed, and the error is: %v", user, err)
		}

		_, err = c.Watch(ctx, []string{"w"}, func(w *respool.Watched) error {
			w.Queue("SET", user, "v")
			return nil
		})
		if !errors.As(err, new(*respool.ServerError)) {
			t.Errorf("%s: Watch returns %v", user, err)
		}
		// The pool does not lease the connection in the WATCH state.
		s.Do("ACL", "SETUSER", user, "+multi", "+exec")
		s.Do("SET", "w", "changed")
		if _, err := c.Transaction().Do("SET", user, "v").Exec(ctx); err != nil {
			t.Errorf("%s: a transaction of the next caller: %v", user, err)
		}
	}
}
