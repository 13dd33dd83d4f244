package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// The causes of failures.
var (
	causeBroken  = error(io.ErrUnexpectedEOF)
	causeTimeout = error(&wire.TimeoutError{Text: "no reply within 5s"})
	causeStall   = error(&lane.StallError{Silent: time.Second})
	causeCtx     = context.DeadlineExceeded
	causeLoading = error(resp.NewServerError("LOADING Redis is loading the dataset in memory"))
	causeLogin   = error(resp.NewServerError("WRONGPASS invalid username-password pair"))
)

func unsentError(op string, cause error) error {
	return &wire.Error{Op: op, Addr: "localhost:6379", Err: cause}
}

func sentError(cause error) error {
	return &wire.Error{Op: "wait for the reply of", Addr: "localhost:6379", Sent: true, Err: cause}
}

// Each row holds for a router that finds nodes, and for a fixed address.
func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name         string
		f            failure
		fixed, finds decision
	}{
		{"answered", failure{}, giveUp, giveUp},
		{"answered, in part passed on, refused", failure{refused: true, partial: true}, giveUp, giveUp},
		{"refused for the server's role or state", failure{refused: true}, retryLater, retryLater},

		{"a read refused by a replica", failure{refused: true, reads: true, replica: true}, retryNow, retryNow},
		{"a read of a replica, sent: broken", failure{err: sentError(causeBroken), reads: true, replica: true}, retryNow, retryNow},
		{"a read of a replica, sent: stall", failure{err: sentError(causeStall), reads: true, replica: true}, retryNow, retryNow},
		{"a read of a replica, sent: timeout", failure{err: sentError(causeTimeout), reads: true, replica: true}, giveUp, giveUp},
		{"a read of a replica, not sent: timeout", failure{err: unsentError("dial", causeTimeout), waited: true, reads: true, replica: true}, retryNow, retryNow},
		{"a read of a replica, not sent: login refused", failure{err: unsentError(wire.OpHandshake, causeLogin), reads: true, replica: true}, retryNow, retryNow},
		{"a read of a replica, not sent: ctx ended", failure{err: unsentError("wait for a connection to", causeCtx), reads: true, replica: true}, giveUp, giveUp},
		{"a read of a replica, engine closed", failure{err: sentError(causeBroken), reads: true, replica: true, closed: true}, giveUp, giveUp},
		{"a read of a replica, in part passed on", failure{err: sentError(causeBroken), reads: true, replica: true, partial: true}, giveUp, giveUp},

		{"lane drains", failure{err: lane.ErrDraining}, retryNow, retryNow},
		{"lane drains, engine closed", failure{err: lane.ErrDraining, closed: true}, retryNow, retryNow},
		{"pool suspended", failure{err: pool.ErrSuspended}, retryNow, retryNow},
		{"pool closed", failure{err: pool.ErrClosed}, giveUp, retryNow},
		{"pool closed with the engine", failure{err: pool.ErrClosed, closed: true}, giveUp, giveUp},
		{"pool exhausted", failure{err: fmt.Errorf("wait: %w", pool.ErrExhausted)}, giveUp, giveUp},
		{"wrong argument", failure{err: &resp.ArgumentError{}}, giveUp, giveUp},

		{"not sent: broken", failure{err: unsentError("write", causeBroken)}, retryNow, retryLater},
		{"not sent: broken, for the 16th time", failure{err: unsentError("write", causeBroken), moves: maxMoves - 1}, retryNow, retryLater},
		{"not sent: broken, too often", failure{err: unsentError("write", causeBroken), moves: maxMoves}, giveUp, retryLater},
		{"not sent: waited in line", failure{err: unsentError("dial", causeBroken), waited: true}, giveUp, retryLater},
		{"not sent: timeout", failure{err: unsentError("dial", causeTimeout)}, giveUp, retryLater},
		{"not sent: stall", failure{err: unsentError("write", causeStall)}, retryNow, retryLater},
		{"not sent: ctx ended", failure{err: unsentError("wait for a connection to", causeCtx)}, giveUp, giveUp},
		{"not sent: engine closed", failure{err: unsentError("write", causeBroken), closed: true}, giveUp, giveUp},
		{"not sent: server loads", failure{err: unsentError("handshake with", causeLoading)}, retryLater, retryLater},
		{"not sent: server loads, waited in line", failure{err: unsentError("handshake with", causeLoading), waited: true}, retryLater, retryLater},
		{"not sent: identity refused", failure{err: unsentError(wire.OpHandshake, causeLogin)}, giveUp, giveUp},

		{"sent, writes: broken", failure{err: sentError(causeBroken), retries: 2}, giveUp, giveUp},
		{"sent, writes: stall", failure{err: sentError(causeStall), retries: 2}, giveUp, giveUp},
		{"sent, reads: broken", failure{err: sentError(causeBroken), reads: true, retries: 2}, retryNow, retryLater},
		{"sent, reads: broken, the last retry", failure{err: sentError(causeBroken), reads: true, retries: 2, resends: 1}, retryNow, retryLater},
		{"sent, reads: broken, no retry left", failure{err: sentError(causeBroken), reads: true, retries: 2, resends: 2}, giveUp, giveUp},
		{"sent, reads: no retries", failure{err: sentError(causeBroken), reads: true}, giveUp, giveUp},
		{"sent, reads: timeout", failure{err: sentError(causeTimeout), reads: true, retries: 2}, giveUp, giveUp},
		{"sent, reads: stall", failure{err: sentError(causeStall), reads: true, retries: 2}, retryNow, retryLater},
		{"sent, reads: malformed reply", failure{err: sentError(&resp.ProtocolError{}), reads: true, retries: 2}, giveUp, giveUp},
		{"sent, reads: reply too large", failure{err: sentError(resp.ErrTooLarge), reads: true, retries: 2}, giveUp, giveUp},
		{"sent, reads: ctx ended", failure{err: sentError(causeCtx), reads: true, retries: 2}, giveUp, giveUp},
		{"sent, reads: engine closed", failure{err: sentError(causeBroken), reads: true, retries: 2, closed: true}, giveUp, giveUp},
		{"sent, reads: a part was passed on", failure{err: sentError(causeBroken), reads: true, retries: 2, partial: true}, giveUp, giveUp},
	} {
		for _, finds := range []bool{false, true} {
			f, want := c.f, c.fixed
			if f.finds = finds; finds {
				want = c.finds
			}
			if got := f.decide(); got != want {
				t.Errorf("%s, router finds nodes: %v: got %v, want %v", c.name, finds, got, want)
			}
		}
	}
}

// Whatever happened, a request that may have been executed and does more than read is never sent again.
func TestNothingThatWasSentAndWritesIsSentAgain(t *testing.T) {
	for _, cause := range []error{causeBroken, causeTimeout, causeStall, causeCtx, causeLoading, causeLogin, wire.ErrClosed, pool.ErrClosed, errors.New("any")} {
		for _, finds := range []bool{false, true} {
			f := failure{err: sentError(cause), retries: 9, finds: finds}
			if got := f.decide(); got != giveUp {
				t.Errorf("%v, router finds nodes: %v: %v", cause, finds, got)
			}
		}
	}
}

// However often a server refuses dials while it loads, the command may still move as often as otherwise.
func TestPausesAreNoMoves(t *testing.T) {
	var so attempts
	for range 2 * maxMoves {
		so.count(retryLater, false)
	}
	so.count(retryNow, false)
	so.count(retryLater, true)
	so.count(retryNow, true)
	if so.moves != 1 || so.resends != 2 {
		t.Errorf("%d moves and %d resends: want 1 and 2", so.moves, so.resends)
	}
}

// A route that is published after the check of a pause, and before its wait, ends the pause.
func TestAPauseMissesNoRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{nodes: newNodes(nil, 1)}
		e.cfg.Pool.WaitTimeout = time.Minute
		owners := [command.Slots]uint16{1}
		old, other, next := &node{addr: "a:1"}, &node{addr: "b:1"}, &node{addr: "c:1"}
		owned := func(n *node) *route { return &route{slots: &slotMap{owners: &owners, shards: []shard{{primary: n}}}} }
		publish := func(r *route) *route {
			e.nodes.mu.Lock()
			defer e.nodes.mu.Unlock()
			e.nodes.publishLocked(r)
			return r
		}
		req := &request{slot: 1}
		pause := func(r *route, want time.Duration, then ...*node) {
			t.Helper()
			began := time.Now()
			for _, n := range then {
				publish(owned(n))
			}
			if !e.pauseSince(t.Context(), r, old, req, &attempts{pauses: 10}) {
				t.Fatal("the pause allows no retry")
			}
			if took := time.Since(began); took > want || want == 0 != (took == 0) {
				t.Errorf("a pause of %v after the routes %v: want %v", took, then, want)
			}
		}
		pause(publish(owned(old)), 0, next)
		pause(publish(owned(old)), 0, old, other)
		pause(publish(owned(other)), 0)
		pause(publish(owned(old)), lastPause)      // nothing changes
		pause(publish(owned(old)), lastPause, old) // a change of other slots
	})
}
