package pool

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Conn is a leased conn. Until Release or Destroy only its holder uses its lane.
type Conn struct {
	member *member

	// Guarded by Pool.mu.
	subpool  *Subpool
	released bool
}

// Lane returns the lane to use while the conn is held.
func (c *Conn) Lane() *lane.Lane { return c.member.lane }

// Suspicion returns a channel for the holder of a subscribed conn. A value asks the holder to ping: another conn
// became silent, and this one received nothing since.
func (c *Conn) Suspicion() <-chan struct{} { return c.member.suspicion }

// Patience returns the time limit for the reply to that ping.
func (c *Conn) Patience() time.Duration { return c.member.pool.patience() }

// NoteHolder stores the caller's stack for leak detection.
func (c *Conn) NoteHolder(skip int) {
	p := c.member.pool
	if p.cfg.LeakThreshold <= 0 {
		return
	}
	pcs := make([]uintptr, 32)
	pcs = pcs[:runtime.Callers(skip+2, pcs)]
	p.mu.Lock()
	if !c.released {
		c.member.stack = pcs
	}
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

// Identity returns the identity of the conn.
func (c *Conn) Identity() Identity {
	p := c.member.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.subpool.identity
}

// SetIdentity records that the holder has switched the conn to another identity. After its release the conn belongs
// to that subpool.
func (c *Conn) SetIdentity(k Identity) {
	p := c.member.pool
	p.mu.Lock()
	if !c.released {
		c.subpool, c.member.accepted = p.enlistLocked(p.subpoolLocked(k)), k
		p.moveToSubpoolLocked(c.member, c.subpool)
	}
	p.unlock()
}

// Release returns a clean conn. The pool waits in the background for pending replies of callers that have left.
// Further calls do nothing. It does not block.
func (c *Conn) Release() { c.giveUp("") }

// Destroy closes the conn. reason appears in events. Further calls do nothing.
func (c *Conn) Destroy(reason string) { c.giveUp(reason) }

func (c *Conn) giveUp(reason string) {
	p := c.member.pool
	p.mu.Lock()
	if !c.released {
		c.released = true
		if reason == "" {
			c.member.lane.OnPush(nil, false) // later pushes do not belong to the holder
		}
		p.returnLocked(c.member, reason)
	}
	p.unlock()
}

// ReleaseDirty returns a conn in an unknown state. Config.Restore restores it before another caller uses it. If that
// is not possible, the conn closes with the given reason.
func (c *Conn) ReleaseDirty(reason string) {
	p := c.member.pool
	p.mu.Lock()
	defer p.unlock()
	m := c.member
	switch {
	case c.released:
		return
	case p.cfg.Restore == nil || p.closed || p.suspended || m.class == closing || m.retire != "" || m.lane.Depth() != 0:
		c.released = true
		p.returnLocked(m, reason)
		return
	}
	c.released, m.released = true, true
	m.stack = nil
	m.lane.OnPush(nil, false)
	p.emitReleasedLocked(m)
	p.moveLocked(m, preparing)
	p.goroutines++
	go p.restore(p.dials, m, m.subpool.identity, reason)
	p.serveLocked()
}

func (p *Pool) restore(ctx context.Context, c *member, k Identity, reason string) {
	err := p.cfg.Restore(ctx, c.lane, k)
	p.mu.Lock()
	defer p.unlock()
	p.goroutines--
	if err == nil {
		reason = ""
	}
	p.endUseLocked(c, reason)
	if c.class == idle {
		p.serveSubpoolLocked(c.subpool)
	}
	p.serveLocked()
}
