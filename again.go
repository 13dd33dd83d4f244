package respool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// maxMoves bounds how often a command that was never sent moves to another
// connection of the same server.
const maxMoves = 16

// tries counts what became of a command so far.
type tries struct {
	moves, resends int
	until          time.Time // where nodes are found: when to give up
	pauses         int
}

// node is where a command goes. Where no node is known, or a failover is under
// way and the command does more than read, it waits, bounded by ctx and
// Options.WaitTimeout.
func (c *Client) node(ctx context.Context, t *tries, reads bool) (*node, error) {
	r := c.nodes.now.Load()
	if n := r.node(); n != nil && (r.held == "" || reads) {
		return n, nil
	}
	return c.awaitNode(ctx, t, reads)
}

func (c *Client) awaitNode(ctx context.Context, t *tries, reads bool) (*node, error) {
	c.finder.start()
	for {
		r := c.nodes.now.Load()
		if n := r.node(); n != nil && (r.held == "" || reads) {
			return n, nil
		}
		if r.closed {
			return nil, pool.ErrClosed
		}
		left := c.timeLeft(t)
		if left <= 0 {
			return nil, c.finder.unknown(&wire.TimeoutError{Text: fmt.Sprintf("none was found within the wait timeout of %v", c.opt.WaitTimeout)})
		}
		timer := time.NewTimer(left)
		select {
		case <-r.changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, c.finder.unknown(ctx.Err())
		}
		timer.Stop()
	}
}

// timeLeft is for how long a command may still wait for the right node.
func (c *Client) timeLeft(t *tries) time.Duration {
	if t.until.IsZero() {
		t.until = time.Now().Add(c.opt.WaitTimeout)
	}
	return time.Until(t.until)
}

// Pauses before a command that its node did not take is tried again, if no
// other node is found before: they double, and are drawn from their upper half.
const (
	firstPause = 4 * time.Millisecond
	lastPause  = 128 * time.Millisecond
)

// pause waits until another node is to be used, or a little, and reports
// whether to try again.
func (c *Client) pause(ctx context.Context, n *node, t *tries) bool {
	r := c.nodes.now.Load()
	if now := r.node(); now != nil && now != n && r.only != nil {
		return true
	}
	d := min(firstPause<<min(t.pauses, 10), lastPause)
	t.pauses++
	if d = min(d/2+rand.N(d/2), c.timeLeft(t)); d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.changed:
		return true
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// again decides whether a command that failed on n may be sent once more, and
// waits where that has no use at once.
func (c *Client) again(ctx context.Context, n *node, err error, t *tries, readOnly bool) bool {
	if errors.Is(err, lane.ErrDraining) || errors.Is(err, pool.ErrSuspended) {
		return true // its lane, or its node, is out of sight already
	}
	if c.finds() && errors.Is(err, pool.ErrClosed) {
		return !c.closed.Load() // its node has left
	}
	var we *wire.Error
	if !errors.As(err, &we) || ctxEnded(err) || c.closed.Load() || pool.Refused(err) {
		return false
	}
	if !we.Sent && refusedDial(err) {
		return c.pause(ctx, n, t) // each dial resolves the name anew
	}
	if we.Sent {
		t.resends++
		if !readOnly || t.resends > c.opt.Retries || lane.BadReply(err) || we.Timeout() && !stalled(err) {
			return false
		}
		return !c.finds() || c.pause(ctx, n, t)
	}
	if c.finds() {
		return c.pause(ctx, n, t)
	}
	t.moves++
	return t.moves <= maxMoves && (!we.Timeout() || stalled(err))
}

// stalled reports whether the connection was condemned because nothing moved.
func stalled(err error) bool {
	_, ok := errors.AsType[*lane.StallError](err)
	return ok
}

// finds reports whether the client finds out by itself which node to use.
func (c *Client) finds() bool { return c.finder != nil }
