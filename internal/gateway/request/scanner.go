package request

import (
	"math/bits"
)

const (
	keepBytes = 16 << 10 // the largest buffer that is used again for the next request
	leastRoom = 4 << 10  // the least that is worth a read of its own
	mostTrust = 4 << 20
	keepArgs  = 32                    // the arguments whose memory an idle scanner keeps
	argBytes  = 3 * bits.UintSize / 8 // of an argument, the slice itself
)

// Scanner finds requests in a stream of bytes. It holds a copy only of what it was given
// of an unfinished request: its memory grows with bytes received, never with lengths
// claimed beyond what was received in a request before, and with Limits.Stream it holds no more of an array than that and one line.
//
// The zero Scanner is ready for use. A Scanner is not safe for concurrent use.
type Scanner struct {
	// Limits may be set between requests.
	Limits Limits

	args  [][]byte // handed out
	buf   []byte   // the unfinished request; what was handed out, if that was no view of the input
	err   error
	size  int64  // bytes of the request so far
	trust int64  // bytes for which memory may be taken before they come: such a request was there before
	body  int64  // bytes of the argument to come
	count int    // arguments of the request; 0: inline, or not known yet
	left  int    // those to come, the unfinished one included
	line  int    // bytes of the line so far
	num   number // on the line
	lead  byte   // the line's first
	state state
	event event // why advance stopped
	fix   byte  // what the last byte must be instead; 0: it is right
	// hidden says that a zero byte stands on the line: Redis, which takes the input for a string of C,
	// does not find the line's end behind it.
	hidden    bool
	streaming bool // the request's first part is handed out

	// Unauthenticated sets Redis' limits for clients that have yet to authenticate, besides
	// Limits: 10 arguments of 16 KiB. It may be set between requests.
	Unauthenticated bool
}

// Next reads the bytes that follow those of the last call up to the end of a
// request: n is how many. If they hold none, Raw is nil and n is len(in). Requests without
// arguments, such as empty lines, are passed over, as Redis does.
//
// Call it until Raw is nil, with what is left of the input, even if that is nothing: the scanner
// then gives back the memory of what it handed out. Where a request may change the limits, as AUTH does,
// set them before the next call.
//
// A request of more than Limits.Stream bytes comes as First, Middle any number of times, and
// Last; together they are its bytes in the strict form. A client may take any time to send the
// rest, and may break off: a connection that the first part was written to belongs to this
// request until the last, and is of no use if that does not come.
//
// The error is a *ProtocolError, ErrAttack or ErrTooLarge. It is final: nothing more can
// be read from this client. It may come behind a request's first part. How a stream is cut into calls
// changes neither the requests nor the error, only how Middle is cut.
func (s *Scanner) Next(in []byte) (req Request, n int, err error) {
	if s.err != nil {
		return Request{}, 0, s.err
	}
	if s.state == atStart || s.streaming {
		s.takeBack(len(in) == 0)
	}
	for n < len(in) {
		if s.state == atStart {
			if size := s.whole(in[n:]); size > 0 {
				req = s.give(in[n:n+size], Whole)
				return req, n + size, s.err
			}
		}
		size := s.advance(in[n:])
		if s.err == nil {
			req = s.pass(in[n : n+size])
		}
		n += size
		if req.Raw != nil || s.err != nil {
			break
		}
	}
	return req, n, s.err
}

// Idle says that the scanner stands between requests.
func (s *Scanner) Idle() bool { return s.state == atStart }

// Held is how many bytes of memory the scanner holds besides its own.
func (s *Scanner) Held() int { return cap(s.buf) + cap(s.args)*argBytes }

// takeBack ends the use of what was handed out last.
func (s *Scanner) takeBack(idle bool) {
	if idle || cap(s.buf) > keepBytes {
		s.buf = nil
	}
	s.buf = s.buf[:0]
	if idle {
		s.dropArgs()
	}
}

// dropArgs lets go of what args refer to.
func (s *Scanner) dropArgs() {
	if cap(s.args) > keepArgs {
		s.args = nil
		return
	}
	clear(s.args[:cap(s.args)])
	s.args = s.args[:0]
}

// whole is the size of the request at the start of in if it is whole there, within
// the limits and in the strict form; args are then its arguments. Otherwise it is 0, and
// says nothing.
func (s *Scanner) whole(in []byte) int {
	size, longest := 0, 0
	s.args, size, longest = split(s.args[:0], in)
	switch {
	case size == 0,
		len(s.args) > s.Limits.args(),
		int64(longest) > s.Limits.bulk(),
		int64(size) > s.Limits.total(),
		!s.Limits.held(int64(size)),
		s.Unauthenticated && (len(s.args) > unauthenticatedArgs || longest > unauthenticatedBulk):
		s.dropArgs()
		return 0
	}
	s.count = len(s.args)
	return size
}

// pass keeps part, which advance has read, or makes a request of what there is.
func (s *Scanner) pass(part []byte) Request {
	if s.fix != 0 || !s.streaming && (s.event == nothing || len(s.buf) > 0) {
		s.keep(part)
		if s.fix != 0 {
			s.buf[len(s.buf)-1] = s.fix
		}
		part = s.buf
	}
	switch {
	case s.streaming && s.event == ended:
		s.streaming = false
		return Request{Raw: part, Part: Last}
	case s.streaming:
		return Request{Raw: part, Part: Middle}
	case s.event == large:
		s.streaming = true
		s.args, _, _ = split(s.args[:0], part)
		return s.give(part, First)
	case s.event == ended && s.count == 0:
		return s.giveInline(part)
	case s.event == ended:
		s.args, _, _ = split(s.args[:0], part)
		req := s.give(part, Whole)
		if len(s.buf) > 0 && cap(s.buf) > keepBytes {
			req.Owned, s.trust = true, min(int64(len(s.buf)), mostTrust)
		}
		return req
	case s.event == skipped:
		s.buf = s.buf[:0]
	}
	return Request{}
}

// keep takes part, the last bytes of the request so far, and copies it unless it was read into Room. Memory is taken
// for twice as many bytes as there are, or as many as the last large request had, or up to the end of their argument
// if that is less.
func (s *Scanner) keep(part []byte) {
	n := len(s.buf)
	if n < cap(s.buf) && &s.buf[:n+1][n] == &part[0] {
		s.buf = s.buf[:n+len(part)]
		return
	}
	if have := n + len(part); have > cap(s.buf) {
		bigger := append(memory(have+int(min(max(int64(have), s.trust), s.body+2))), s.buf...)
		Free(s.buf)
		s.buf = bigger
	}
	s.buf = append(s.buf, part...)
}

// Room is memory for the bytes that come next, where those are more of a large argument: what is read into it
// and given to Next is not copied again. It is nil where there is none. It is valid until the next call of Next.
func (s *Scanner) Room() []byte {
	free := s.buf[len(s.buf):cap(s.buf)]
	n := min(int64(len(free)), s.body+2)
	if s.state != inBody || s.streaming || n < leastRoom {
		return nil
	}
	return free[:n]
}

// give hands out raw, whose arguments are in args.
func (s *Scanner) give(raw []byte, part Part) Request {
	if len(s.args) > 0 && attack(s.args[0]) {
		s.end(ErrAttack)
		return Request{}
	}
	return Request{Raw: raw, Args: s.args, Count: s.count, Part: part}
}

// giveInline hands out the inline command on line, if there is one.
func (s *Scanner) giveInline(line []byte) Request {
	raw, ok := encodeInline(line)
	if !ok {
		s.fail("unbalanced quotes in request")
		return Request{}
	}
	s.buf = raw
	if len(raw) == 0 {
		return Request{}
	}
	s.args, _, _ = split(s.args[:0], raw)
	s.count = len(s.args)
	req := s.give(raw, Whole)
	req.Inline = true
	return req
}

// fail ends scanning with Redis' text for the error.
func (s *Scanner) fail(reason string) { s.end(&ProtocolError{Reason: reason}) }

func (s *Scanner) end(err error) { s.err, s.buf, s.args = err, nil, nil }
