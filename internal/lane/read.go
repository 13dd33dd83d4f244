package lane

import (
	"errors"
	"io"
	"os"
	"runtime"

	"github.com/seed-2b0d76a6/respool/resp"
)

var (
	errUnasked   = errors.New("the server sent a reply that nobody asked for")
	errServerEnd = serverEnd{}
)

// shallowLimit is the number of consecutive replies for a lone caller after which the background reader returns the
// read half.
const shallowLimit = 4

// readLoop is the lane's background reader. It reads whenever it has the read half. At the end it closes the
// connection.
func (l *Lane) readLoop() {
	for range l.bgWake {
		for l.readInBackground() {
		}
		if l.Err() != nil {
			break
		}
	}
	l.mu.Lock()
	writing := l.writing
	l.mu.Unlock()
	if writing {
		<-l.wrDone
	}
	select {
	case <-l.abort:
		l.conn.Abort()
	default:
	}
	l.conn.Linger(l.lingers())
	l.telling.Wait()
	if l.cfg.OnClosed != nil {
		l.cfg.OnClosed(l)
	}
}

// wakeReader wakes the background reader, which has the read half now.
func (l *Lane) wakeReader() {
	select {
	case l.bgWake <- struct{}{}:
	default:
	}
}

// readInBackground reads once and reports whether to continue.
func (l *Lane) readInBackground() bool {
	if l.Depth() == 0 && len(l.in.frames) > 0 {
		// Callers that have just received replies may send again.
		runtime.Gosched()
	}
	soon, idle, dead := l.expects()
	if dead {
		return false
	}
	if idle {
		l.in.shrink()
	}
	n, err := l.in.fill(l.conn, patienceFor(soon))
	l.take(n, err)
	l.mu.Lock()
	l.sleeps = false
	if l.dead != nil {
		l.mu.Unlock()
		return false
	}
	l.resumeLocked()
	l.roomy = len(l.in.buf) > firstBuffer
	if l.driver != nil {
		l.giveLocked()
		l.unlockDrained()
		return false
	}
	switch {
	case l.queue.n > 0 || len(l.in.frames) > 1:
		l.shallow = 0
	case len(l.in.frames) == 1 && l.in.frames[0].q != nil && !l.in.frames[0].posted:
		l.shallow++
	}
	if l.queue.n == 0 && l.shallow >= shallowLimit && !l.pushOnly {
		l.shallow = 0
		l.reading = nobody
		l.startClockLocked()
		l.unlockDrained()
		return false
	}
	l.unlockDrained()
	return true
}

// take distributes the result of a read, and fails the lane after an error.
func (l *Lane) take(n int, err error) {
	l.bytesIn.Add(uint64(n))
	if cerr := l.complete(nil); cerr != nil {
		err = cerr
	}
	l.handPart()
	if err != nil && !isTimeout(err) {
		l.Fail(readError(err))
	}
}

// expects reports whether a reply is pending that the server does not hold back and a caller waits for, whether the lane has
// been idle for a while, and whether it has failed.
func (l *Lane) expects() (soon, idle, dead bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	soon = l.urgentLocked()
	l.sleeps = !soon && l.in.poll.works()
	return soon, !l.clock.running, l.dead != nil
}

// urgentLocked reports whether a caller waits for the next reply, and the server does not hold it back.
func (l *Lane) urgentLocked() bool {
	head := l.queue.front()
	return head != nil && head.q.block == 0 && !head.q.patient
}

// readForSelf reads until q is decided. The caller was alone when it sent q. It distributes replies of other requests
// on the way.
func (l *Lane) readForSelf(q *request) error {
	for q.state.Load() == waiting {
		n, err := l.in.fill(l.conn, patienceFor(q.block == 0))
		l.bytesIn.Add(uint64(n))
		if cerr := l.complete(q); cerr != nil {
			err = cerr
		}
		l.handPart()
		if err == nil {
			continue
		}
		if !isTimeout(err) {
			l.Fail(readError(err))
			break
		}
		// Interrupted, because q was decided, or the lane has failed. Fail then decides q.
		l.mu.Lock()
		dead := l.dead != nil
		l.resumeLocked()
		l.mu.Unlock()
		if dead {
			break
		}
	}
	l.handOver()
	if q.mine {
		return nil
	}
	<-q.wake
	return q.err
}

// handOver passes the read half on: to the background reader or driver if replies or pushes are pending or the lane
// has failed, else to nobody.
func (l *Lane) handOver() {
	l.mu.Lock()
	l.resumeLocked()
	l.roomy = len(l.in.buf) > firstBuffer
	if l.queue.n == 0 && l.dead == nil && !l.pushOnly && l.driver == nil {
		l.reading = nobody
	} else {
		l.shallow = 0
		l.giveLocked()
	}
	l.unlockDrained()
}

// hastenLocked wakes a background reader that sleeps, so that it polls for the reply to the only request, which was just
// written. With more requests, waking and polling cost more than they save.
func (l *Lane) hastenLocked() {
	if l.sleeps && l.queue.n == 1 && l.reading == background && l.urgentLocked() {
		l.sleeps = false
		l.interruptReaderLocked()
	}
}

func (l *Lane) interruptReaderLocked() {
	if l.dead == nil {
		l.kicked = true
		l.conn.InterruptRead()
	}
}

// resumeLocked reverts an interruption. A failed lane stays interrupted.
func (l *Lane) resumeLocked() {
	if l.kicked && l.dead == nil {
		l.kicked = false
		l.conn.ResumeRead()
	}
}

// complete distributes the frames of one read. self is the request of the caller that reads, or nil.
func (l *Lane) complete(self *request) error {
	frames := l.in.frames
	if len(frames) == 0 {
		return nil
	}
	l.mu.Lock()
	if l.dead != nil {
		l.mu.Unlock()
		return nil
	}
	if l.proof.expects() {
		if err := l.proof.verify(frames); err != nil {
			l.mu.Unlock()
			return err
		}
	}
	before := l.queue.n
	asked := l.matchLocked(frames)
	l.expect = before - l.queue.n
	l.silence = usual
	l.publishDepthLocked()
	l.grantLocked()
	onPush := l.onPush
	l.mu.Unlock()

	first := 0 // index of the first frame of the current request; pushes may be between
	for i := range frames[:asked] {
		switch f := &frames[i]; {
		case f.q == nil:
			if onPush != nil {
				onPush(f.b)
			}
		case f.posted:
			l.hand(f)
			first = i + 1
		case f.last:
			f.q.take(frames[first : i+1])
			f.q.deliver(f.q == self)
			first = i + 1
		}
	}
	l.in.batch.flush()
	if asked < len(frames) {
		return unasked(frames[asked].b)
	}
	return nil
}

// matchLocked assigns the frames to requests, in order, and removes complete requests from the queue. It returns the
// number of expected frames. It stores the replies of an incomplete request while it holds the lock, because Fail may
// return them.
func (l *Lane) matchLocked(frames []frame) int {
	asked := len(frames)
	partial := -1
	for i := range frames {
		f := &frames[i]
		p := l.queue.front()
		if f.push || p == nil && l.pushOnly {
			continue
		}
		if p == nil {
			asked = i
			break
		}
		if partial < 0 {
			partial = i
		}
		f.q, f.posted = p.q, p.q.sink != nil
		p.want--
		l.window.due.replies--
		if p.want == 0 {
			f.last = true
			l.window.due.bytes -= p.bytes
			l.queue.pop()
			partial = -1
		}
	}
	if partial >= 0 && !frames[partial].posted {
		q := frames[partial].q
		q.take(frames[partial:asked])
	}
	return asked
}

// take stores the frames of q. If q has one reply, it is the last frame.
func (q *request) take(frames []frame) {
	if q.state.Load() != waiting {
		return
	}
	if !q.multi {
		q.frame = frames[len(frames)-1].keep()
		return
	}
	size := 0
	for i := range frames {
		f := &frames[i]
		if f.q != q || f.owned {
			continue
		}
		if known := shared(f.b); known != nil {
			f.b, f.owned = known, true
			continue
		}
		size += len(f.b)
	}
	slab := make([]byte, 0, size)
	for i := range frames {
		switch f := &frames[i]; {
		case f.q != q:
		case f.owned:
			q.frames = append(q.frames, f.b)
		default:
			at := len(slab)
			slab = append(slab, f.b...)
			q.frames = append(q.frames, slab[at:len(slab):len(slab)])
		}
	}
}

func unasked(b []byte) error {
	if len(b) > 0 && (b[0] == byte(resp.SimpleError) || b[0] == byte(resp.BulkError)) {
		if v, _, err := resp.Decode(b); err == nil {
			return resp.NewServerError(string(v.Str))
		}
	}
	return errUnasked
}

// isTimeout distinguishes an interrupted read from TCP's ETIMEDOUT.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// serverEnd is the cause if the server closed the connection. It is io.EOF in plain words.
type serverEnd struct{}

func (serverEnd) Error() string { return "the server closed the connection" }
func (serverEnd) Unwrap() error { return io.EOF }

func readError(err error) error {
	if errors.Is(err, io.EOF) {
		return errServerEnd
	}
	return err
}
