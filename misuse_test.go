package respool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// wantsError fails the test unless err contains all words.
func wantsError(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want %q", what, err, w)
		}
	}
}

func TestCommandsThatCannotBeSent(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c, err := respool.Open(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	conn, err := c.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, odd := t.Context(), struct{}{}
	doTo := func(args ...any) error {
		_, err := c.DoTo(ctx, io.Discard, args...)
		return err
	}
	for name, do := range map[string]func(...any) error{
		"Do":      func(args ...any) error { return c.Do(ctx, args...).Err() },
		"DoTo":    doTo,
		"Conn.Do": func(args ...any) error { return conn.Do(ctx, args...).Err() },
		"Pipeline": func(args ...any) error {
			_, err := c.Pipeline().Do(args...).Exec(ctx)
			return err
		},
		"Conn.Pipeline": func(args ...any) error {
			_, err := conn.Pipeline().Do(args...).Exec(ctx)
			return err
		},
		"Transaction": func(args ...any) error {
			_, err := c.Transaction().Do(args...).Exec(ctx)
			return err
		},
	} {
		wantsError(t, name+" of nothing", do(), "empty command")
		wantsError(t, name+" of an argument of no known type", do("GET", odd), "respool: ", "argument 1", "struct {}")
		wantsError(t, name+" of an unknown command with such an argument", do("NO.SUCH", odd), "argument 1")
		wantsError(t, name+" of a number", do(12, "k"), "argument 0 is no string")
		wantsError(t, name+" of an empty name", do("", "k"), "empty command")
	}
	for _, args := range [][]any{{"BLPOP", "list", 0}, {"SUBSCRIBE", "c"}, {"NO.SUCH", "k"}} {
		wantsError(t, "DoTo of "+args[0].(string), doTo(args...), "only commands that neither block nor change their connection")
	}
	conn.Release()
	for name, err := range map[string]error{
		"Do": conn.Do(ctx, "PING").Err(),
		"Pipeline": func() error {
			_, err := conn.Pipeline().Do("PING").Exec(ctx)
			return err
		}(),
	} {
		if !errors.Is(err, respool.ErrReleased) {
			t.Errorf("%s after Release: %v", name, err)
		}
	}
}

// A server may reply to AUTH with too few replies inside MULTI, and not at all while other replies are due.
func TestALoginOnAConnInTheWrongState(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c, err := respool.Open(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	conn, err := c.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if err := conn.Do(t.Context(), "MULTI").Err(); err != nil {
		t.Fatal(err)
	}
	err = conn.Do(t.Context(), "AUTH", "alice", "p").Err()
	wantsError(t, "inside MULTI", err, "AUTH inside MULTI")
	if !errors.Is(err, respool.ErrStateful) {
		t.Errorf("inside MULTI: %v", err)
	}
	wantsError(t, "an unknown command inside MULTI", conn.Do(t.Context(), "NO.SUCH").Err(), "unknown command")
	if err := conn.Do(t.Context(), "DISCARD").Err(); err != nil {
		t.Fatal(err)
	}

	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := conn.Do(ctx, "GET", "k").Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on a suspended server: %v", err)
	}
	wantsError(t, "behind a pending reply", conn.Do(t.Context(), "AUTH", "alice", "p").Err(), "AUTH while replies are due")
	s.Resume()
}

// The error names each sentinel and states that it has not answered.
func TestTheErrorBeforeAnySentinelAnswered(t *testing.T) {
	c, err := respool.New(respool.Options{
		Service: "main", WaitTimeout: 10 * time.Millisecond,
		Sentinel: &respool.SentinelOptions{
			Addrs: []string{"127.0.0.1:1"},
			Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	err = c.Do(t.Context(), "PING").Err()
	wantsError(t, "PING", err, "find the primary of main", "within the wait timeout of 10ms", "127.0.0.1:1 no answer yet")
	if !errors.Is(err, respool.ErrNoPrimary) {
		t.Errorf("PING: %v", err)
	}
}
