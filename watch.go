package respool

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Watched is what the function given to Client.Watch works with: Do reads at
// once, Queue gathers what runs as one transaction if no watched key changed.
type Watched struct {
	conn  *Conn
	queue Pipeline
}

// Do runs a command at once, on the connection that watches.
func (w *Watched) Do(ctx context.Context, args ...any) Reply { return w.conn.Do(ctx, args...) }

// Queue adds a command to the transaction that runs when the function returns
// nil. Errors of arguments are returned by Watch.
func (w *Watched) Queue(args ...any) *Watched {
	w.queue.addQueued(args)
	return w
}

// Watch runs fn while keys are watched and then, if fn returned nil, executes
// what it queued, as one transaction. If a key was changed meanwhile nothing
// is executed and the error is ErrConflict. An error of fn is returned as it
// is, and nothing is executed. The replies are those of the queued commands.
//
// It holds a connection of its own meanwhile, so fn should be quick, and must
// not call Watch or Acquire itself. See WatchRetry.
func (c *Client) Watch(ctx context.Context, keys []string, fn func(*Watched) error) ([]Reply, error) {
	if len(keys) == 0 {
		return nil, errors.New("respool: watch: want one key or more")
	}
	conn, err := c.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	args := make([]any, 1, len(keys)+1)
	args[0] = "WATCH"
	for _, k := range keys {
		args = append(args, k)
	}
	if err := conn.Do(ctx, args...).Err(); err != nil {
		return nil, err
	}
	w := &Watched{conn: conn, queue: Pipeline{c: c}}
	if err := fn(w); err != nil {
		conn.unwatch(ctx)
		return nil, err
	}
	return w.exec(ctx)
}

// unwatch makes the connection clean again, so that it need not be closed.
func (conn *Conn) unwatch(ctx context.Context) {
	if conn.watching && !conn.multi && conn.tainted == "" {
		conn.Do(ctx, "UNWATCH")
	}
}

// learn asks about queued commands on the connection that watches, since it may be the only one.
func (w *Watched) learn(ctx context.Context) error {
	w.queue.conn = w.conn
	defer func() { w.queue.conn = nil }()
	if err := w.queue.learn(ctx); err != nil {
		w.conn.unwatch(ctx)
		return err
	}
	return nil
}

func (w *Watched) exec(ctx context.Context) ([]Reply, error) {
	if w.queue.err != nil || w.queue.n == 0 {
		w.conn.unwatch(ctx)
		return nil, w.queue.err
	}
	if err := w.learn(ctx); err != nil {
		return nil, err
	}
	w.queue.raw = append(w.queue.raw, rawExec...)
	w.queue.n++
	frames, err := w.conn.transact(ctx, &w.queue)
	if err != nil {
		return nil, w.conn.c.public(err)
	}
	w.conn.c.notice(w.conn.node, frames...)
	return execReplies(frames)
}

// Pauses between the attempts of WatchRetry, in time: the first is at most
// this long and each next one at most twice as long, up to the limit.
const (
	firstConflictPause = time.Millisecond
	lastConflictPause  = 100 * time.Millisecond
)

// WatchRetry is Watch, repeated on ErrConflict after a short random pause, up
// to attempts times in all. fn has to start afresh each time.
func (c *Client) WatchRetry(ctx context.Context, attempts int, keys []string, fn func(*Watched) error) ([]Reply, error) {
	if attempts < 1 {
		return nil, fmt.Errorf("respool: watch: %d attempts: want 1 or more", attempts)
	}
	pause := firstConflictPause
	for n := 1; ; n++ {
		replies, err := c.Watch(ctx, keys, fn)
		if !errors.Is(err, ErrConflict) {
			return replies, err
		}
		if n == attempts {
			return nil, fmt.Errorf("%w in each of %d attempts", ErrConflict, attempts)
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, lastConflictPause)
	}
}
