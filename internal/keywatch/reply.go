package keywatch

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// RefusedError is the reason why a key, or any key, cannot be tracked. The owner of the watch uses another way to wait.
type RefusedError struct {
	Op  string // what was refused, such as "CLIENT TRACKING"
	Key bool   // only the key of the watch is refused; the server may track others
	Err error  // the server's error, or another cause
}

// Error states what was refused, and the cause.
func (e *RefusedError) Error() string { return fmt.Sprintf("track keys: %s: %v", e.Op, e.Err) }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// errRESP2 is the cause of a refusal if the connection has no pushes.
var errRESP2 = errors.New("the connection uses RESP2, which has no pushes")

// Pauses after transient refusals.
const (
	pauseBase = 20 * time.Millisecond
	pauseCap  = time.Second
	// awayPause is the longest pause before the server is asked again about keys that it does not serve.
	awayPause = 100 * time.Millisecond
)

// verdict is the consequence of a refusal.
type verdict uint8

const (
	transient verdict = iota // send the request again after a pause
	split                    // send a request per key
	keyOnly                  // the key cannot be tracked here
	elsewhere                // another node serves the key
	unserved                 // no node serves the key
	never                    // no key can be tracked
	broken                   // the connection is useless
)

// judge returns the consequence of an error reply. several: it concerns several keys in one command.
func judge(err *resp.ServerError, several bool) verdict {
	switch err.Code {
	case "LOADING", "MASTERDOWN", "BUSY":
		return transient
	case "CLUSTERDOWN":
		if !several && strings.Contains(err.Message, "slot not served") { // the node serves the others
			return unserved
		}
		return transient
	case "NOAUTH":
		return broken
	case "TRYAGAIN":
		if several {
			return split
		}
		return transient
	case "CROSSSLOT":
		if several {
			return split
		}
	case "MOVED", "ASK":
		if several {
			return split
		}
		return elsewhere
	case "NOPERM":
		// Redis and Valkey name the command, or mention the key.
		switch {
		case strings.Contains(strings.ToLower(err.Message), "command"):
		case several:
			return split
		default:
			return keyOnly
		}
	}
	return never
}

// reply processes the next reply. An error means that the connection cannot be used any more.
func (c *core) reply(now time.Duration, frame []byte) error {
	if c.flight.len() == 0 {
		return unexpected("a reply")
	}
	r := c.flight.first()
	err := resp.ErrorIn(frame)
	defer func() {
		if r.replies--; r.replies == 0 {
			c.answered()
		}
	}()
	switch r.verb {
	case trackingOn:
		return c.onReply(now, err)
	case trackingOff:
		if err != nil {
			return err
		}
		c.clean = true
	case authenticate:
		r.done <- asError(err)
	case exists:
		keys := r.keys
		if r.each {
			i := len(keys) - r.replies
			keys = keys[i : i+1]
		}
		if err != nil {
			return c.existsRefused(now, keys, err)
		}
		head, malformed := resp.ReadHead(frame)
		if malformed != nil || head.Kind != resp.Integer {
			return unexpected("no number in reply to EXISTS")
		}
		c.nowTracked(now, keys, int(head.Int))
	}
	return nil
}

func asError(err *resp.ServerError) error {
	if err == nil {
		return nil
	}
	return err
}

// onReply processes the reply to CLIENT TRACKING ON.
func (c *core) onReply(now time.Duration, err *resp.ServerError) error {
	if err == nil {
		c.on, c.pauses = true, 0
		return nil
	}
	switch judge(err, false) {
	case transient:
		c.started = false
		c.pause(now)
	case broken:
		return err
	default:
		c.refuse(now, &RefusedError{Op: "CLIENT TRACKING", Err: err})
	}
	return nil
}

// existsRefused processes an error reply to an EXISTS of keys.
func (c *core) existsRefused(now time.Duration, keys []*key, err *resp.ServerError) error {
	if c.refusal != nil {
		return nil
	}
	found := judge(err, len(keys) > 1)
	switch {
	case c.moves:
	case found == elsewhere:
		found = keyOnly
	case found == unserved:
		found = transient
	}
	switch found {
	case transient:
		c.retry(keys)
		c.pause(now)
	case split:
		c.single = c.single || err.Code == "CROSSSLOT"
		for _, k := range keys {
			k.alone = true
		}
		c.retry(keys)
	case keyOnly:
		refused := &RefusedError{Op: "EXISTS", Key: true, Err: err}
		for _, k := range keys {
			c.endKey(k, refused)
		}
	case elsewhere, unserved:
		c.sentAway(now, keys)
	case broken:
		return err
	case never:
		c.refuse(now, &RefusedError{Op: "EXISTS", Err: err})
	}
	return nil
}

// nowTracked notifies about keys that the server tracks. Some of them exist.
func (c *core) nowTracked(now time.Duration, keys []*key, exist int) {
	if c.refusal != nil {
		return
	}
	if !c.on {
		// CLIENT TRACKING ON was refused for now: the server does not track the keys.
		c.retry(keys)
		return
	}
	c.pauses = 0
	pushed := 0
	if c.reported {
		c.reported = false
		c.notes = append(c.notes, note{})
	}
	tick := c.wheel.tick(now)
	for _, k := range keys {
		if k.pushed {
			pushed++
		}
		if k.gone() {
			continue
		}
		c.notify(k, tick)
		k.alone, k.pushed = false, false
		if k.again {
			c.enqueue(k)
		} else {
			k.state = tracked
		}
	}
	c.pace.replied(pushed, exist)
}

// sentAway notifies about keys that this node does not serve, since nobody reports their changes meanwhile.
func (c *core) sentAway(now time.Duration, keys []*key) {
	c.pauses = 0
	if len(c.away) == 0 {
		c.awayUntil = now + awayPause/2 + c.random(awayPause/2+1)
	}
	for _, k := range keys {
		if !k.gone() {
			c.notify(k, c.wheel.tick(now))
			k.state, k.pushed = away, false
			c.away = append(c.away, k)
		}
	}
}

// retry puts keys into the queue again.
func (c *core) retry(keys []*key) {
	for _, k := range keys {
		if !k.gone() {
			c.enqueue(k)
		}
	}
}

// pause holds further requests back.
func (c *core) pause(now time.Duration) {
	if now < c.resumeAt {
		return // one pause for all requests in flight
	}
	d := pauseCap
	if c.pauses < 10 {
		d = min(d, pauseBase<<c.pauses)
	}
	c.pauses++
	c.resumeAt = now + d/2 + c.random(d/2+1)
}

// refuse ends all watches because no key can be tracked. The driver drops the connection.
func (c *core) refuse(now time.Duration, err *RefusedError) {
	c.refusal, c.reported = err, true
	c.retryAt = now + c.retryAfter
	c.notes = append(c.notes, note{refusal: err})
	c.endAll(err)
}

// forgive ends the time after a refusal.
func (c *core) forgive() {
	c.refusal = nil
}

// refuses reports whether an attempt to connect failed because the server lacks RESP3.
func refuses(err error) bool {
	var se *resp.ServerError
	if !errors.As(err, &se) {
		return false
	}
	return se.Code == "NOPROTO" || strings.Contains(strings.ToLower(se.Message), "unknown command")
}

// push processes a push frame. An error means that the connection cannot be used any more.
func (c *core) push(frame []byte) error {
	head, err := resp.ReadHead(frame)
	if err != nil {
		return err
	}
	if head.Kind != resp.Push || head.Int < 1 {
		return nil
	}
	n := head.Int
	frame = frame[head.Size:]
	if head, err = resp.ReadHead(frame); err != nil {
		return err
	}
	if string(head.Str) != "invalidate" {
		return nil // another kind of push
	}
	if n != 2 {
		return unexpected("an invalidation")
	}
	frame = frame[head.Size:]
	if head, err = resp.ReadHead(frame); err != nil {
		return err
	}
	if head.Null {
		c.allChanged()
		return nil
	}
	if head.Kind != resp.Array || head.Stream {
		return unexpected("an invalidation")
	}
	for range head.Int {
		frame = frame[head.Size:]
		if head, err = resp.ReadHead(frame); err != nil {
			return err
		}
		if head.Str == nil {
			return unexpected("an invalidation")
		}
		c.changed(head.Str)
	}
	return nil
}

// unexpected returns the error for a frame that breaks the protocol. It does not quote the frame, which may contain
// names of keys.
func unexpected(what string) error {
	return fmt.Errorf("the server sent a frame that the watcher does not expect here: %s", what)
}
