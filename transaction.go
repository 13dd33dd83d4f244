package respool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Transaction gathers commands that run as one, with nobody's commands in
// between: MULTI, the commands and EXEC go out in one piece on a shared
// connection. To decide on values that were read first, use Client.Watch.
// It may be used again after Exec and is not safe for concurrent use.
type Transaction struct{ batch engine.Batch }

// Transaction makes an empty transaction.
func (c *Client) Transaction() *Transaction { return &Transaction{c.engine.Batch()} }

// Do adds a command, as Pipeline.Do does. Blocking commands are let in, since
// they do not block inside a transaction.
func (t *Transaction) Do(args ...any) *Transaction {
	t.batch.AddQueued(args)
	return t
}

// Len is the number of commands gathered.
func (t *Transaction) Len() int { return max(0, t.batch.Len()-1) }

// Exec runs the transaction and gives a Reply for each command. A command that
// the server refuses to queue makes the whole transaction fail with its
// *ServerError: nothing was executed. A command that fails while it runs does
// not: its Reply tells. Exec is never repeated once it was sent.
//
// A client's first transaction runs on a connection of its own, in two steps:
// a server that refuses MULTI would run the commands one by one otherwise. So does one
// with a command of which the server tells nothing; that connection is reset afterwards.
func (t *Transaction) Exec(ctx context.Context) ([]Reply, error) {
	return execReplies(t.batch.ExecTransaction(ctx))
}

func notExecuted(err error) error {
	return fmt.Errorf("respool: the transaction was not executed: %w", err)
}

// execReplies reads the replies to MULTI, the commands and EXEC.
func execReplies(frames [][]byte, err error) ([]Reply, error) {
	if err != nil || len(frames) == 0 {
		return nil, wrapError(err)
	}
	if err := (Reply{frame: frames[0]}).Err(); err != nil && len(frames) == 1 {
		return nil, notExecuted(err)
	} else if err != nil {
		return nil, fmt.Errorf("respool: MULTI was refused, so the commands did not run as one transaction: %w", err)
	}
	for _, f := range frames[1 : len(frames)-1] {
		if err := (Reply{frame: f}).Err(); err != nil {
			return nil, notExecuted(err)
		}
	}
	exec := Reply{frame: frames[len(frames)-1]}
	if exec.IsNil() {
		return nil, ErrConflict
	}
	replies, err := exec.Array()
	if err != nil {
		return nil, notExecuted(err)
	}
	if len(replies) != len(frames)-2 {
		return nil, fmt.Errorf("respool: EXEC gave %d replies to %d commands", len(replies), len(frames)-2)
	}
	return replies, nil
}

// Watched is what the function given to Client.Watch works with: Do reads at
// once, Queue gathers what runs as one transaction if no watched key changed.
type Watched struct {
	conn  *Conn
	queue engine.Batch
}

// Do runs a command at once, on the connection that watches.
func (w *Watched) Do(ctx context.Context, args ...any) Reply { return w.conn.Do(ctx, args...) }

// Queue adds a command to the transaction that runs when the function returns
// nil. Errors of arguments are returned by Watch.
func (w *Watched) Queue(args ...any) *Watched {
	w.queue.AddQueued(args)
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
	w := &Watched{conn: conn, queue: c.engine.Batch()}
	if err := fn(w); err != nil {
		conn.conn.Unwatch(ctx)
		return nil, err
	}
	return execReplies(w.queue.ExecWatched(ctx, conn.conn))
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
