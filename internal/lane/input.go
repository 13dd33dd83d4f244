package lane

import (
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Sizes of the read side, in bytes.
const (
	firstBuffer = 4 << 10  // size on an idle lane
	fullBuffer  = 32 << 10 // size under load
	// firstFrames is the number of frames of one read for which an idle lane keeps memory.
	firstFrames = 16
	// bigFrame is the size from which the reader reads a frame directly into its final memory. The caller then owns
	// that memory, so the frame is not copied.
	bigFrame = fullBuffer / 2
	// bigRead is the minimum size of a read into that memory.
	bigRead = 4 << 10
	// bigStart is the memory for a frame of claimed size before its bytes arrive.
	bigStart = 64 << 10
)

// frame is a complete frame of one read.
type frame struct {
	b     []byte
	q     *request // the request of the reply; nil for a push
	push  bool
	owned bool // b has its own memory and does not alias the read buffer

	posted bool // q has a sink
	last   bool // completes q
}

// input is the read half: bytes, and the frames in them.
type input struct {
	scanner resp.Scanner
	buf     []byte
	r, w    int // buf[r:w] is an incomplete frame, or empty
	big     []byte
	handed  int // bytes of that frame that a sink has received already
	refused int // length of big when a sink refused it
	largest int // the largest complete frame: the limit of trust in a claimed size
	frames  []frame
	batch   Batch // flushers of the sinks that received frames
	poll    poller

	parts   atomic.Pointer[func(part []byte)] // receives large replies in parts; nil: big collects them
	parting bool                              // such a reply is incomplete
}

// patience states how a read waits for its first byte.
type patience uint8

const (
	asLong  patience = iota // without limit
	soon                    // a reply is expected soon: poll first
	tryOnce                 // no wait
)

func patienceFor(expected bool) patience {
	if expected {
		return soon
	}
	return asLong
}

// fill reads once and finds the complete frames. It may find frames and also return an error.
func (in *input) fill(conn *wire.Conn, p patience) (n int, err error) {
	clear(in.frames)
	in.frames = in.frames[:0]
	if in.big != nil && in.scanner.Need() >= bigRead {
		return in.fillBig(conn, p)
	}
	in.makeRoom()
	at := in.w
	if p == tryOnce {
		n, err = conn.TryRead(in.buf[in.w:])
	} else {
		n, err = in.poll.read(conn, in.buf[in.w:], p == soon)
	}
	in.w += n
	if perr := in.scan(at); perr != nil {
		return n, perr
	}
	return n, err
}

// makeRoom provides room to read into.
func (in *input) makeRoom() {
	if in.r == in.w {
		if in.w == len(in.buf) && len(in.buf) < fullBuffer {
			in.buf = make([]byte, min(max(firstBuffer, 2*len(in.buf)), fullBuffer))
		}
		in.r, in.w = 0, 0
		return
	}
	if len(in.buf)-in.w >= len(in.buf)/4 {
		return
	}
	to := in.buf
	if len(in.buf) < fullBuffer {
		to = make([]byte, fullBuffer)
	}
	in.w = copy(to, in.buf[in.r:in.w])
	in.r, in.buf = 0, to
}

// shrink releases the memory that an idle lane does not need.
func (in *input) shrink() {
	if in.r == in.w && len(in.buf) > firstBuffer {
		in.buf, in.r, in.w = nil, 0, 0
	}
	clear(in.frames) // they refer to the buffer
	if in.frames = in.frames[:0]; cap(in.frames) > firstFrames {
		in.frames = nil
	}
}

// scan scans the bytes that were read into buf from at on.
func (in *input) scan(at int) error {
	for at < in.w {
		n, done, err := in.scanner.Scan(in.buf[at:in.w])
		if err != nil {
			return in.blame(err)
		}
		at += n
		if !done {
			break
		}
		f := frame{b: in.buf[in.r:at], push: in.scanner.Kind() == resp.Push}
		if in.parting {
			in.part(f.b)
			in.parting = false
		}
		if in.big != nil {
			f.b, f.owned = append(in.big, f.b...), true
			in.largest = max(in.largest, len(f.b))
			in.big, in.handed, in.refused = nil, 0, 0
		}
		in.frames = append(in.frames, f)
		in.r = at
	}
	in.setAside()
	return nil
}

// setAside moves the beginning of a large frame to its own memory. That memory grows with the received bytes, never
// with a claimed length.
func (in *input) setAside() {
	part := in.buf[in.r:in.w]
	if len(part) == 0 {
		return
	}
	if in.parting {
		in.part(part)
		in.r, in.w = 0, 0
		return
	}
	if in.big == nil {
		whole := in.scanner.Size() + in.scanner.Need()
		if whole <= bigFrame {
			return
		}
		if in.parts.Load() != nil && resp.Kind(part[0]) != resp.Push {
			in.parting = true
			in.part(part)
			in.r, in.w = 0, 0
			return
		}
		in.big = make([]byte, 0, int(min(whole, int64(max(bigStart, in.largest)))))
	}
	in.big = append(in.big, part...)
	in.r, in.w = 0, 0
}

// part passes on a part of a large reply.
func (in *input) part(b []byte) {
	if fn := in.parts.Load(); fn != nil {
		(*fn)(b)
	}
}

// fillBig reads directly into the large frame, and never beyond its end.
func (in *input) fillBig(conn *wire.Conn, p patience) (int, error) {
	need := in.scanner.Need()
	have := len(in.big)
	if have == cap(in.big) {
		// For an aggregate, need covers only a part: steps of that size would copy the frame repeatedly.
		size := max(min(int64(have)+need, int64(2*have)), int64(have+have/4))
		bigger := make([]byte, have, int(size))
		copy(bigger, in.big)
		in.big = bigger
	}
	room := int(min(int64(cap(in.big)-have), need))
	read := conn.Read
	if p == tryOnce {
		read = conn.TryRead
	}
	n, err := read(in.big[have : have+room])
	in.big = in.big[:have+n]
	if n == 0 {
		return n, err
	}
	_, done, perr := in.scanner.Scan(in.big[have:])
	if perr != nil {
		return n, in.blame(perr)
	}
	if done {
		in.frames = append(in.frames, frame{b: in.big, owned: true, push: in.scanner.Kind() == resp.Push})
		in.largest = max(in.largest, len(in.big))
		in.big, in.handed, in.refused = nil, 0, 0
	}
	return n, err
}

// Frequent frames share memory.
var (
	frameOK     = []byte("+OK\r\n")
	frameQueued = []byte("+QUEUED\r\n")
	framePong   = []byte("+PONG\r\n")
	frameNull   = []byte("_\r\n")
	frameNil    = []byte("$-1\r\n")
	frameZero   = []byte(":0\r\n")
	frameOne    = []byte(":1\r\n")
)

// keep returns the frame in memory that outlives the read buffer. Nobody may write to it.
func (f *frame) keep() []byte {
	if f.owned {
		return f.b
	}
	if known := shared(f.b); known != nil {
		return known
	}
	return append([]byte(nil), f.b...)
}

// shared returns the shared memory of a frequent frame; nil if b is another one.
func shared(b []byte) []byte {
	if len(b) > len(frameQueued) {
		return nil
	}
	switch string(b) {
	case "+OK\r\n":
		return frameOK
	case "+QUEUED\r\n":
		return frameQueued
	case "+PONG\r\n":
		return framePong
	case "_\r\n":
		return frameNull
	case "$-1\r\n":
		return frameNil
	case ":0\r\n":
		return frameZero
	case ":1\r\n":
		return frameOne
	}
	return nil
}
