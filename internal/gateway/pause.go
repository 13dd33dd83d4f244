package gateway

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

// pauseControl holds commands back during a pause. It also holds commands that publish or list subscribers behind
// earlier subscriptions that the server has not confirmed. While it holds nothing back, a command costs one load of
// active.
type pauseControl struct {
	active        atomic.Bool   // it holds some commands back
	subscribeWait time.Duration // Config.SubscribeWait

	mu      sync.Mutex
	pauses  [pausers]pause
	changed chan struct{} // closed when a pause ends
	pending []*ticket     // unconfirmed subscriptions, in order of arrival
	closed  bool          // the gateway shuts down: no pause holds
}

// pauser is the origin of a pause. A pause of one origin neither ends nor changes that of another.
type pauser uint8

const (
	byConsole pauser = iota // RESPOOL PAUSE
	byClient                // CLIENT PAUSE
	pausers
)

// pauseMode is the set of commands that a pause holds back. Each mode includes the modes before it.
type pauseMode uint8

const (
	pauseNothing pauseMode = iota
	pauseWrites            // commands that may change data, or publish
	pauseServer            // all commands that go to the server
	pauseAll               // all commands except those that end a pause
	pauseNever             // level of a command that no pause holds back
)

type pause struct {
	mode  pauseMode
	end   time.Time
	timer *time.Timer
}

// Pauses returns the pauses that hold back commands now, in words, such as "commands to the server by RESPOOL PAUSE, 58s
// left".
func (g *Gateway) Pauses() (texts []string) {
	g.pauses.mu.Lock()
	defer g.pauses.mu.Unlock()
	for by, p := range g.pauses.pauses {
		if p.mode == pauseNothing {
			continue
		}
		held := [...]string{pauseWrites: "writes", pauseServer: "commands to the server", pauseAll: "all commands"}[p.mode]
		origin := [...]string{byConsole: "RESPOOL PAUSE", byClient: "CLIENT PAUSE"}[by]
		texts = append(texts, held+" by "+origin+", "+max(time.Until(p.end), 0).Round(time.Second).String()+" left")
	}
	return texts
}

// maxPause bounds a pause.
const maxPause = 100 * 365 * 24 * time.Hour

func (g *pauseControl) init(subscribeWait time.Duration) {
	g.changed, g.subscribeWait = make(chan struct{}), cmp.Or(subscribeWait, defaultSubscribeWait)
}

// pause starts a pause. As on a server, a CLIENT PAUSE may extend an earlier one or make it stricter, but neither
// shorten nor relax it. A console pause replaces the earlier one.
func (g *pauseControl) pause(by pauser, mode pauseMode, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	d = min(d, maxPause)
	p := &g.pauses[by]
	end := time.Now().Add(d)
	if by == byClient && p.mode != pauseNothing {
		mode = max(mode, p.mode)
		if end.Before(p.end) {
			end, d = p.end, time.Until(p.end)
		}
	}
	g.endLocked(p)
	p.mode, p.end = mode, end
	var timer *time.Timer
	timer = time.AfterFunc(d, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if p.timer == timer { // otherwise a later pause has replaced this one
			g.endLocked(p)
		}
	})
	p.timer = timer
	g.active.Store(true)
}

// resume ends the pause of a client, or all pauses if the console calls it.
func (g *pauseControl) resume(by pauser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.pauses {
		if by == byConsole || by == pauser(i) {
			g.endLocked(&g.pauses[i])
		}
	}
}

// close ends all pauses and prevents later ones.
func (g *pauseControl) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.resume(byConsole)
}

func (g *pauseControl) endLocked(p *pause) {
	if p.timer == nil {
		return
	}
	p.timer.Stop()
	*p = pause{}
	close(g.changed)
	g.changed = make(chan struct{})
	g.updateActiveLocked()
}

func (g *pauseControl) updateActiveLocked() {
	paused := slices.ContainsFunc(g.pauses[:], func(p pause) bool { return p.mode != pauseNothing })
	g.active.Store(paused || len(g.pending) > 0)
}

// paused returns a channel that is closed when a pause ends, or nil if no pause holds back a command of this level.
func (g *pauseControl) paused(level pauseMode) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.pauses {
		if g.pauses[i].mode >= level {
			return g.changed
		}
	}
	return nil
}

// awaitResume waits until no pause holds a command back.
func (g *pauseControl) awaitResume(ctx context.Context, level pauseMode) error {
	for {
		changed := g.paused(level)
		if changed == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ticket is a subscription that the server has not confirmed yet.
type ticket struct {
	keyspace bool // it may receive notifications of changed keys
	ended    bool
	passed   chan struct{} // closed when it and all earlier tickets have ended
}

// enter adds a subscription.
func (g *pauseControl) enter(topics []session.Topic) *ticket {
	t := &ticket{keyspace: slices.ContainsFunc(topics, notifies), passed: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending = append(g.pending, t)
	g.active.Store(true)
	return t
}

// leave ends a subscription: the server confirmed it, or it failed. A second call and a nil ticket are no-ops.
func (g *pauseControl) leave(t *ticket) {
	if t == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	t.ended = true
	for len(g.pending) > 0 && g.pending[0].ended {
		close(g.pending[0].passed)
		g.pending[0] = nil
		g.pending = g.pending[1:]
	}
	g.updateActiveLocked()
}

// behind returns the last subscription that a step must not overtake, or nil.
func (g *pauseControl) behind(step *session.Step) *ticket {
	if !g.active.Load() {
		return nil
	}
	sees, writes := step.InvolvesSubscribers(), step.Writes()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range slices.Backward(g.pending) {
		if sees || writes && t.keyspace {
			return t
		}
	}
	return nil
}

// holds reports whether a step is held back now.
func (g *pauseControl) holds(step *session.Step) bool { return g.active.Load() && g.holdsNow(step) }

func (g *pauseControl) holdsNow(step *session.Step) bool {
	return g.paused(levelOf(step)) != nil || g.behind(step) != nil
}

// keyspace is the prefix of the channels of keyspace notifications.
const keyspace = "__key"

// notifies reports whether a topic may carry notifications of changed keys.
func notifies(topic session.Topic) bool {
	if i := strings.IndexAny(topic.Name, `*?[\`); topic.Kind == session.Pattern && i >= 0 && i < len(keyspace) {
		return strings.HasPrefix(keyspace, topic.Name[:i])
	}
	return topic.Kind != session.Shard && strings.HasPrefix(topic.Name, keyspace)
}

// levelOf returns the mildest pause that holds a step back.
func levelOf(step *session.Step) pauseMode {
	switch {
	case step.Kind == session.Console, step.Kind == session.ClientCommand && step.Query.Op == session.QueryUnpause:
		return pauseNever
	case step.Kind == session.Learn:
		return pauseServer
	case !step.Kind.Upstream():
		return pauseAll
	case step.Writes():
		return pauseWrites
	}
	return pauseServer
}

// multiplexedLevel is levelOf for a multiplexed command.
func multiplexedLevel(reads bool) pauseMode {
	if reads {
		return pauseServer
	}
	return pauseWrites
}

const defaultSubscribeWait = time.Second

// awaitTurn waits until nothing holds the command back.
func (w *worker) awaitTurn(ctx context.Context) error {
	g := &w.c.g.pauses
	if w.behind != nil {
		timer := time.NewTimer(time.Until(w.queuedAt.Add(g.subscribeWait)))
		defer timer.Stop()
		select {
		case <-w.behind.passed:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !g.active.Load() || g.paused(w.level) == nil {
		return nil
	}
	w.setWaits(waitsForResume)
	defer w.setWaits(notWaiting)
	return g.awaitResume(ctx, w.level)
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
