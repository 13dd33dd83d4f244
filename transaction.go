package respool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Transaction collects commands that run as one unit, without commands of other clients in between:
// MULTI, the commands and EXEC are one write on a lane. To decide on values that were read before,
// use Client.Watch. After Exec it can be used again. It is not safe for concurrent use.
type Transaction struct{ batch engine.Batch }

// Transaction returns an empty transaction. It sends nothing before Exec.
func (c *Client) Transaction() *Transaction { return &Transaction{c.engine.Batch()} }

// Do adds a command, with the rules of Pipeline.Do. It also accepts blocking commands, because they
// do not block inside a transaction.
func (t *Transaction) Do(args ...any) *Transaction {
	t.batch.AddQueued(args)
	return t
}

// Len returns the number of commands in the transaction.
func (t *Transaction) Len() int { return max(0, t.batch.Len()-1) }

// Exec runs the transaction and returns one Reply for each command. It waits with the limits of
// Client.Do. If the server refuses to queue a command, the whole transaction fails with that
// *ServerError, and nothing was executed. If a command fails while it runs, only its Reply has an
// error. The client never resends a transaction.
//
// The first transaction of a client runs on a dedicated connection, in two steps, because a server
// that refuses MULTI would run the commands one by one. A transaction with a command whose effect
// the server does not report runs there too; Exec resets that connection afterwards.
func (t *Transaction) Exec(ctx context.Context) ([]Reply, error) {
	return execReplies(t.batch.ExecTransaction(ctx))
}

func notExecuted(err error) error {
	return fmt.Errorf("respool: the transaction was not executed: %w", err)
}

// execReplies converts the replies to MULTI, the commands and EXEC.
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
		return nil, fmt.Errorf("respool: EXEC returned %d replies to %d commands", len(replies), len(frames)-2)
	}
	return replies, nil
}

// Watched is the argument of the function of Client.Watch. Do reads at once. Queue collects the
// commands of the transaction, which runs if no watched key changed. It is not safe for concurrent
// use, and valid only until the function returns.
type Watched struct {
	conn      *Conn
	queue     engine.Batch
	clustered bool
}

// Do runs a command at once, on the connection that watches, with the rules of Conn.Do.
func (w *Watched) Do(ctx context.Context, args ...any) Reply { return w.conn.Do(ctx, args...) }

// Queue adds a command to the transaction that runs after the function returns nil. Watch returns
// errors of its arguments.
func (w *Watched) Queue(args ...any) *Watched {
	w.queue.AddQueued(args)
	return w
}

// Watch watches keys, runs fn and then, if fn returned nil, executes the queued commands as one
// transaction. It returns their replies. If a watched key changed before that, it executes nothing
// and returns ErrConflict. If fn returns an error, it executes nothing and returns that error
// unchanged.
//
// In a cluster, all keys must lie in one slot. If the slot moves to another node meanwhile, Watch
// returns ErrConflict.
//
// It holds a dedicated connection while fn runs, so fn should be quick, and must not call Watch or
// Acquire itself. See WatchRetry.
func (c *Client) Watch(ctx context.Context, keys []string, fn func(*Watched) error) ([]Reply, error) {
	if len(keys) == 0 {
		return nil, errors.New("respool: watch: want one key or more")
	}
	conn := &Conn{}
	if err := c.engine.Watch(ctx, &conn.conn, keys); err != nil {
		return nil, wrapError(err)
	}
	defer conn.Release()
	w := &Watched{conn: conn, queue: c.engine.Batch(), clustered: c.engine.Clustered()}
	if err := fn(w); err != nil {
		conn.conn.Unwatch(ctx)
		return nil, w.conflictOf(err)
	}
	replies, err := execReplies(w.queue.ExecWatched(ctx, &conn.conn))
	return replies, w.conflictOf(err)
}

// conflictOf returns ErrConflict for an error that says that the slot of the keys moved to another
// node of a cluster, and other errors unchanged. Nothing was executed.
func (w *Watched) conflictOf(err error) error {
	if w.clustered && slotMoved(err) {
		return fmt.Errorf("%w, or its slot moved: %w", ErrConflict, err)
	}
	return err
}

// Limits of the random pauses between the attempts of WatchRetry. The first pause is at most
// firstConflictPause; the limit doubles for each further pause, up to lastConflictPause.
const (
	firstConflictPause = time.Millisecond
	lastConflictPause  = 100 * time.Millisecond
)

// WatchRetry calls Watch, and repeats it on ErrConflict after a short random pause, for at most
// attempts calls in all. fn must start from the beginning in each call.
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
