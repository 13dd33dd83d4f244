package gateway

import (
	"sync"
	"sync/atomic"
	"time"
)

// link is how a client's bytes come and go. Its methods do not block.
type link interface {
	// serve tells whose bytes they are, before anything else is called.
	serve(c *client)
	// write writes what can be written now.
	write(b []byte) (int, error)
	// await has the client's flush called once more can be written.
	await()
	// resume has the client's resume called soon, with reading stopped until then.
	resume()
	// close ends the connection; the client's left is called then. It may be called more than once.
	close()
	// fd is the number of the socket, or -1.
	fd() int
}

// output is what waits to be sent to a client. Replies are appended by whoever has
// them, and written by whoever found it empty.
type output struct {
	link  link
	total *atomic.Int64 // bytes that wait for all clients

	mu      sync.Mutex
	segs    [][]byte // in their order; the last one may be appended to if shared is not set
	off     int      // bytes of segs[0] that are written
	size    int      // bytes that wait
	pushed  int      // of them pushes, at most
	counted int      // of them in total
	since   time.Time
	pushes  []byte // kept back
	message []byte // used again for the next message
	limit   int    // its client goes on once no more waits than this; 0: it does not wait for that
	sent    uint64 // bytes written

	// The flags stand together: each client has them, and apart they would take 32 bytes more.
	resp3   bool // pushes are sent as RESP3
	shared  bool // the last segment is not ours to change
	hold    bool // pushes are kept back: the reply that announces them is not there
	blocked bool // the socket is full: its link calls flush
	last    bool // nothing more comes: close when all is written
	closed  bool
}

// segment is the size of a buffer for replies, and bigReply that from which one is kept
// as it is rather than copied.
const (
	segment  = 4 << 10
	bigReply = 32 << 10
)

var segments = sync.Pool{New: func() any { return new([segment]byte) }}

// append adds a reply. first tells that nothing waited before: its caller has to
// see to a flush.
func (o *output) append(b []byte, owned bool) (first bool) {
	o.mu.Lock()
	first = o.appendLocked(b, owned)
	o.mu.Unlock()
	return first
}

// answer is append for a reply from which on pushes are of a protocol.
func (o *output) answer(b []byte, proto int) (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resp3 = proto == 3
	return o.appendLocked(b, false)
}

func (o *output) appendLocked(b []byte, owned bool) (first bool) {
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

// account keeps the total of all clients right to within accountStep for each.
func (o *output) account() {
	if d := o.size - o.counted; d > accountStep || d < -accountStep {
		o.total.Add(int64(d))
		o.counted = o.size
	}
}

const accountStep = 16 << 10

// flush writes what the link takes.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.blocked {
		return
	}
	o.flushLocked()
}

func (o *output) flushLocked() {
	for taken := 0; len(o.segs) > 0; {
		seg := o.segs[0]
		n, err := o.link.write(seg[o.off:])
		if err != nil {
			o.closeLocked()
			return
		}
		o.sent += uint64(n)
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

// roomLocked has the client go on if it has found too much here and there is room by now.
func (o *output) roomLocked() {
	if o.limit > 0 && o.size <= o.limit {
		o.limit = 0
		o.link.resume()
	}
}

// dropLocked lets go of the first segment, which is written.
func (o *output) dropLocked() {
	seg := o.segs[0]
	o.segs[0] = nil
	if o.segs = o.segs[1:]; len(o.segs) == 0 {
		o.segs, o.shared = nil, false
	}
	if cap(seg) == segment {
		segments.Put((*[segment]byte)(seg[:segment]))
	}
}

// writable takes the link's word that there is room again.
func (o *output) writable() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.blocked = false
	if !o.closed {
		o.flushLocked()
	}
}

// push adds a message for a subscriber, and writes it. It reports whether too many wait: a reply may be as
// large as it likes.
func (o *output) push(b []byte, limit int) (over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pushLocked(b, limit)
}

func (o *output) pushLocked(b []byte, limit int) (over bool) {
	if o.closed {
		return false
	}
	if o.hold {
		o.pushes = append(o.pushes, b...)
		return len(o.pushes) > limit
	}
	o.appendLocked(b, false)
	o.pushed += len(b)
	if !o.blocked {
		o.flushLocked()
	}
	return o.pushed > limit
}

// holdPushes keeps pushes back until release.
func (o *output) holdPushes() {
	o.mu.Lock()
	o.hold = true
	o.mu.Unlock()
}

// release appends the pushes that were kept back for a reply, which stands there now, and writes.
func (o *output) release() {
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

// end closes the connection once everything is written.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last = true; o.size == 0 {
		o.closeLocked()
	}
}

func (o *output) close() {
	o.mu.Lock()
	o.closeLocked()
	o.mu.Unlock()
}

func (o *output) closeLocked() {
	if o.closed {
		return
	}
	o.closed = true
	o.total.Add(-int64(o.counted))
	o.segs, o.pushes, o.size, o.pushed, o.off, o.counted = nil, nil, 0, 0, 0, 0
	o.link.close()
}

// waiting is how much waits, and since when nothing of it was taken; the zero time if all goes well.
func (o *output) waiting() (int, time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.size + len(o.pushes), o.since
}

func (o *output) setProto(proto int) {
	o.mu.Lock()
	o.resp3 = proto == 3
	o.mu.Unlock()
}

// overfull reports whether more waits than limit. The client's resume follows then, once that much
// is written.
func (o *output) overfull(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size <= limit {
		return false
	}
	o.limit = limit
	return true
}

func (o *output) isClosed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}
