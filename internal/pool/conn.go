package pool

import (
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// Conn is a conn on loan. Until it is released or destroyed its holder alone
// uses its lane.
type Conn struct {
	member *member

	// Guarded by Pool.mu.
	group    *Subpool
	released bool
}

// Lane gives the lane to use while the conn is held.
func (c *Conn) Lane() *lane.Lane { return c.member.lane }

// Suspicion tells the holder of a subscribed conn to ask for a sign of life: another conn to the server fell
// silent, and this one was not heard since.
func (c *Conn) Suspicion() <-chan struct{} { return c.member.suspicion }

// Patience is how long that sign may take.
func (c *Conn) Patience() time.Duration { return c.member.pool.patience() }

// NoteHolder remembers the caller's stack for leak detection.
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

// Identity is the key of the conn.
func (c *Conn) Identity() Identity {
	p := c.member.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.group.key
}

// SetIdentity tells that the holder has turned the conn into one of another key, to
// whose group it goes when it is released.
func (c *Conn) SetIdentity(k Identity) {
	p := c.member.pool
	p.mu.Lock()
	if !c.released {
		c.group = p.enlistLocked(p.groupLocked(k))
		p.regroupLocked(c.member, c.group)
	}
	p.unlock()
}

// Release gives the conn back clean. Replies that are still due, of commands
// whose callers left, are waited for in the background. Further calls do nothing.
func (c *Conn) Release() { c.giveUp("") }

// Destroy closes the conn for the reason given. Further calls do nothing.
func (c *Conn) Destroy(reason string) { c.giveUp(reason) }

func (c *Conn) giveUp(reason string) {
	p := c.member.pool
	p.mu.Lock()
	if !c.released {
		c.released = true
		if reason == "" {
			c.member.lane.OnPush(nil, false) // what comes now is not the holder's
		}
		p.returnLocked(c.member, reason)
	}
	p.unlock()
}
