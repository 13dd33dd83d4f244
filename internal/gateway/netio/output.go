package netio

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Output holds the bytes that wait for one client. Any goroutine may append a reply; the one that found the output
// empty flushes it. All methods are safe for concurrent use.
type Output struct {
	link  Link
	total *atomic.Int64 // bytes that wait for all clients

	mu      sync.Mutex
	segs    [][]byte  // in order; if shared is not set, the last one may grow
	off     int       // bytes of segs[0] that are written
	size    int       // bytes that wait
	pushed  int       // upper bound of the bytes of pushes in size
	counted int       // the part of size that total includes
	since   time.Time // when the link last took a byte, while it is blocked
	pushes  []byte    // pushes that wait for ReleasePushes
	message []byte    // reused buffer for the next message
	limit   int       // resume the client once size is within it; 0: the client does not wait
	sent    uint64    // bytes written
	marks   *[]mark   // in order; nil: none

	// The flags are adjacent: otherwise each client would need 32 bytes more.
	resp3   bool // pushes are sent as RESP3
	shared  bool // the last segment belongs to its appender: do not change it
	hold    bool // keep pushes back until the reply that announces them is there
	blocked bool // the socket is full: its link calls writable
	last    bool // no more replies follow: close once all is written
	away    bool // the link is detached: nothing may be written
	closed  bool
}

// segment is the size of a buffer for replies. Output keeps a reply of bigReply bytes or more as it is, and copies
// smaller ones.
const (
	segment  = 4 << 10
	bigReply = 32 << 10
)

var segments = sync.Pool{New: func() any { return new([segment]byte) }}

// Init connects an output to its link and the link to its client. total counts the bytes that wait for all clients.
func (o *Output) Init(l Link, c Client, total *atomic.Int64) {
	o.link, o.total = l, total
	l.serve(c, o)
}

// mark is a place in the stream of replies.
type mark struct {
	end  uint64 // bytes before it
	done func()
}

// mostMarks bounds the marks of an output.
const mostMarks = 64

// Append adds a reply. The output keeps b if owned is set. If nothing waited before, first is true and the caller must
// call Flush.
func (o *Output) Append(b []byte, owned bool) (first bool) {
	o.mu.Lock()
	first = o.appendLocked(b, owned)
	o.mu.Unlock()
	return first
}

// AppendBehind is Append. behind reports that the client has not read all earlier replies, or that this one is large, and
// that Mark accepts another mark.
func (o *Output) AppendBehind(b []byte, owned bool) (first, behind bool) {
	o.mu.Lock()
	first = o.appendLocked(b, owned)
	behind = (o.blocked || len(b) >= bigReply) && (o.marks == nil || len(*o.marks) < mostMarks)
	o.mu.Unlock()
	return first, behind
}

// Mark calls done once all bytes that wait now are written, or dropped. done must not call the output. If too many
// marks wait, Mark ignores it.
func (o *Output) Mark(done func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.size == 0:
		done()
		return
	case o.marks == nil:
		o.marks = &[]mark{}
	case len(*o.marks) >= mostMarks:
		return
	}
	*o.marks = append(*o.marks, mark{o.sent + uint64(o.size), done})
}

// passLocked ends the marks up to a place.
func (o *Output) passLocked(place uint64) {
	list := *o.marks
	for len(list) > 0 && list[0].end <= place {
		list[0].done()
		list = list[1:]
	}
	if *o.marks = list; len(list) == 0 {
		o.marks = nil
	}
}

// Answer is Append for a reply after which pushes use the protocol version proto.
func (o *Output) Answer(b []byte, proto int) (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resp3 = proto == 3
	return o.appendLocked(b, false)
}

func (o *Output) appendLocked(b []byte, owned bool) (first bool) {
	if o.closed || len(b) == 0 {
		return false
	}
	first = o.size == 0
	o.size += len(b)
	o.account()
	if owned && len(b) >= bigReply {
		o.segs, o.shared = append(o.segs, b), true
		return first
	}
	if n := len(o.segs); n > 0 && !o.shared {
		if last := o.segs[n-1]; len(last)+len(b) <= max(cap(last), bigReply) {
			o.segs[n-1] = append(last, b...)
			return first
		}
	}
	var seg []byte
	if len(b) <= segment {
		seg = segments.Get().(*[segment]byte)[:0]
	}
	o.segs, o.shared = append(o.segs, append(seg, b...)), false
	return first
}

// account keeps the total of all clients exact to accountStep bytes for each client.
func (o *Output) account() {
	if d := o.size - o.counted; d > accountStep || d < -accountStep {
		o.total.Add(int64(d))
		o.counted = o.size
	}
}

const accountStep = 16 << 10

// Flush writes as much as the link takes.
func (o *Output) Flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.blocked {
		return
	}
	o.flushLocked()
}

func (o *Output) flushLocked() {
	if o.away {
		return
	}
	for taken := 0; len(o.segs) > 0; {
		seg := o.segs[0]
		n, err := o.link.write(seg[o.off:])
		if err != nil {
			o.closeLocked()
			return
		}
		if o.sent += uint64(n); o.marks != nil {
			o.passLocked(o.sent)
		}
		o.size -= n
		o.pushed = min(o.pushed, o.size)
		o.account()
		taken += n
		if o.off += n; o.off < len(seg) {
			if taken > 0 || o.since.IsZero() {
				o.since = time.Now()
			}
			o.blocked = true
			o.link.await()
			o.roomLocked()
			return
		}
		o.off = 0
		o.dropLocked()
	}
	o.since = time.Time{}
	o.roomLocked()
	if o.last {
		o.closeLocked()
	}
}

// roomLocked resumes a client that found the output overfull, once there is room.
func (o *Output) roomLocked() {
	if o.limit > 0 && o.size <= o.limit {
		o.limit = 0
		o.link.resume()
	}
}

// dropLocked removes the first segment, which is written.
func (o *Output) dropLocked() {
	seg := o.segs[0]
	o.segs[0] = nil
	if o.segs = o.segs[1:]; len(o.segs) == 0 {
		o.segs, o.shared = nil, false
	}
	if cap(seg) == segment {
		segments.Put((*[segment]byte)(seg[:segment]))
	}
}

// writable continues to write: the link has room again.
func (o *Output) writable() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blocked = false
	if !o.closed {
		o.flushLocked()
	}
}

// Push adds a push frame and writes it. If more than limit bytes of pushes wait, it closes the output and returns true.
// A reply may be of any size.
func (o *Output) Push(b []byte, limit int) (over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pushLocked(b, limit)
}

// PushMessage is Push for a message that encode appends to dst in the client's protocol.
func (o *Output) PushMessage(limit int, encode func(dst []byte, resp3 bool) []byte) (over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false
	}
	b := encode(o.message[:0], o.resp3)
	if o.message = b; cap(b) > segment {
		o.message = nil
	}
	return o.pushLocked(b, limit)
}

func (o *Output) pushLocked(b []byte, limit int) (over bool) {
	switch {
	case o.closed:
		return false
	case o.hold:
		o.pushes = append(o.pushes, b...)
		over = len(o.pushes) > limit
	default:
		o.appendLocked(b, false)
		o.pushed += len(b)
		if !o.blocked {
			o.flushLocked()
		}
		over = o.pushed > limit
	}
	if over {
		o.closeLocked()
	}
	return over
}

// HoldPushes keeps pushes back until ReleasePushes.
func (o *Output) HoldPushes() {
	o.mu.Lock()
	o.hold = true
	o.mu.Unlock()
}

// ReleasePushes appends the pushes that HoldPushes kept back and writes: the reply before them has been appended.
func (o *Output) ReleasePushes() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hold = false
	o.appendLocked(o.pushes, false)
	o.pushed += len(o.pushes)
	o.pushes = nil
	if !o.closed && !o.blocked {
		o.flushLocked()
	}
}

// End closes the connection once everything is written. No more replies may follow.
func (o *Output) End() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last = true; o.size == 0 {
		o.closeLocked()
	}
}

// Close closes the connection and drops the bytes that wait.
func (o *Output) Close() {
	o.mu.Lock()
	o.closeLocked()
	o.mu.Unlock()
}

func (o *Output) closeLocked() {
	if o.closed {
		return
	}
	o.closed = true
	o.total.Add(-int64(o.counted))
	if o.marks != nil {
		o.passLocked(math.MaxUint64)
	}
	o.segs, o.pushes, o.size, o.pushed, o.off, o.counted = nil, nil, 0, 0, 0, 0
	o.link.close()
}

// Waiting returns how many bytes wait, and since when the link has taken none of them. The time is zero if the link is
// not blocked.
func (o *Output) Waiting() (int, time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size + len(o.pushes), o.since
}

// SetProto sets the protocol version of the pushes that follow.
func (o *Output) SetProto(proto int) {
	o.mu.Lock()
	o.resp3 = proto == 3
	o.mu.Unlock()
}

// Overfull reports whether more than limit bytes wait. If so, the output resumes the client once they no longer do.
func (o *Output) Overfull(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size <= limit {
		return false
	}
	o.limit = limit
	return true
}

// IsClosed reports whether the connection is closed, or about to be.
func (o *Output) IsClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

// Depart has the link call Client.Depart soon, if the connection can move to another process.
func (o *Output) Depart() { o.link.depart() }

// Detach ends reading and writing, so that another process can take over the socket. It returns false, and changes nothing, if
// bytes wait or the connection ends. Client.Depart calls it. Attach or Leave follows.
func (o *Output) Detach() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.last || o.hold || o.blocked || o.size > 0 || len(o.pushes) > 0 {
		return false
	}
	o.away = true
	o.link.detach()
	return true
}

// Attach continues after Detach: no other process took the socket over.
func (o *Output) Attach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = false
	if o.closed {
		return
	}
	o.link.attach()
	o.flushLocked()
}

// Leave ends the connection here after Detach, because another process has taken the socket over.
func (o *Output) Leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.link.leave()
		o.closeLocked()
	}
}

// Resume has the link call Client.Resume soon.
func (o *Output) Resume() { o.link.resume() }

// Descriptor is the number of the client's socket, or -1.
func (o *Output) Descriptor() int { return o.link.descriptor() }

// Sent returns how many bytes were written.
func (o *Output) Sent() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}
