package pool

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Conn is a member of the ledger. While it is lent, its holder alone uses its
// lane. Fields are guarded by Pool.mu; lane never changes.
type Conn struct {
	pool    *Pool
	group   *Group
	lane    *lane.Lane
	laneCfg lane.Config

	class     class
	was       class  // what it was before it began to close
	draining  bool   // closed for newcomers until nothing is due
	retire    string // why it is to be closed rather than kept, once nothing is due
	reason    string // why it was closed
	idleSince time.Time
	checkedAt time.Time
	expires   time.Time // zero: never
	cutAt     time.Time // when it is closed though replies are due; zero: never
	released  bool

	acquired time.Time
	stack    []uintptr // of the holder, with leak detection
	reported bool
}

// Lane gives the lane to use while the conn is held.
func (c *Conn) Lane() *lane.Lane { return c.lane }

func (c *Conn) expired(now time.Time) bool { return !c.expires.IsZero() && now.After(c.expires) }

// Acquire lends a conn. It waits in line, bounded by ctx and the wait timeout.
func (p *Pool) Acquire(ctx context.Context) (*Conn, error) { return p.base.obtain(ctx, dedicated) }

// AcquireSubscriber lends a conn that the ledger counts as subscribed.
func (p *Pool) AcquireSubscriber(ctx context.Context) (*Conn, error) {
	return p.base.obtain(ctx, subscribed)
}

// lendLocked gives an idle conn to a holder.
func (p *Pool) lendLocked(c *Conn, to class) {
	p.moveLocked(c, to)
	c.lane.Undrain(nil)
	c.released, c.reported = false, false
	c.acquired = time.Now()
	if p.cfg.LeakThreshold > 0 && to == dedicated {
		c.stack = nil
	}
}

// NoteHolder remembers the caller's stack for leak detection.
func (c *Conn) NoteHolder(skip int) {
	p := c.pool
	if p.cfg.LeakThreshold <= 0 {
		return
	}
	pcs := make([]uintptr, 32)
	pcs = pcs[:runtime.Callers(skip+2, pcs)]
	p.mu.Lock()
	c.stack = pcs
	p.mu.Unlock()
}

func stackText(pcs []uintptr) string {
	if len(pcs) == 0 {
		return ""
	}
	var b strings.Builder
	frames := runtime.CallersFrames(pcs)
	for {
		f, more := frames.Next()
		b.WriteString(f.Function + "\n\t" + f.File + ":" + strconv.Itoa(f.Line) + "\n")
		if !more {
			return b.String()
		}
	}
}

// Release gives the conn back clean. Replies that are still due, of commands
// whose callers left, are waited for in the background. It ends the holder's use: a further
// call might meet the next holder's.
func (c *Conn) Release() { c.giveUp("") }

// Destroy closes the conn for the reason given, in place of Release.
func (c *Conn) Destroy(reason string) { c.giveUp(reason) }

func (c *Conn) giveUp(reason string) {
	p := c.pool
	p.mu.Lock()
	if !c.released {
		c.released = true
		p.releasedLocked(c)
		p.giveUpLocked(c, reason)
		p.serveLocked()
	}
	p.unlock()
}

// releasedLocked tells that a lent conn came back.
func (p *Pool) releasedLocked(c *Conn) {
	if p.cfg.OnEvent == nil {
		return
	}
	lent := c.class
	if lent == closing {
		lent = c.was
	}
	p.emitLocked(Event{Kind: Released, Class: lent.String(), Duration: time.Since(c.acquired)})
}

func (p *Pool) giveUpLocked(c *Conn, reason string) {
	c.stack = nil
	switch {
	case c.class == closing:
	case reason != "":
		p.closeLocked(c, reason)
	case c.lane.Depth() > 0:
		c.draining = true
		p.later = append(p.later, func() { c.lane.Drain(c.drained) })
	default:
		p.settleLocked(c)
	}
}

// giveBackLocked returns a grant that its waiter does not take.
func (p *Pool) giveBackLocked(c *Conn, want class) {
	if want == shared {
		p.later = append(p.later, c.lane.Unreserve)
		return
	}
	c.released = true
	p.giveUpLocked(c, "")
}

// closeLocked begins the end of a conn; its slot comes back when the server
// has closed its side.
func (p *Pool) closeLocked(c *Conn, reason string) {
	p.removeLaneLocked(c)
	if c.reason == "" {
		c.reason = reason
	}
	p.moveLocked(c, closing)
	p.later = append(p.later, func() { c.lane.Condemn(closeReason(reason)) })
}

// closeReason is a close on purpose: no failure.
type closeReason string

func (r closeReason) Error() string { return "connection closed: " + string(r) }

// died is called when the lane can't be used any more.
func (c *Conn) died(l *lane.Lane, cause error) {
	p := c.pool
	p.mu.Lock()
	if c.class != closing {
		if c.retire == "" {
			p.troubleLocked(cause)
		}
		if c.class == shared {
			p.statistic.condemned++
			p.emitLocked(Event{Kind: LaneCondemned, Class: c.class.String(), Err: cause})
		}
		c.group.dropLocked(c)
		p.removeLaneLocked(c)
		c.reason = cause.Error()
		p.moveLocked(c, closing)
		p.failFastLocked()
		p.serveLocked()
	}
	p.unlock()
}

// closed is called when the socket is gone on both sides: the slot is free.
func (c *Conn) closed(l *lane.Lane) {
	p := c.pool
	p.mu.Lock()
	p.count[closing]--
	delete(p.members, l)
	p.statistic.closed++
	p.emitLocked(Event{Kind: Closed, Class: c.was.String(), Duration: time.Since(l.Born), Reason: c.reason})
	p.serveLocked()
	p.unlock()
}
