package request

import (
	"math/bits"
)

const (
	keepBytes = 16 << 10              // the largest buffer that is reused for the next request
	leastRoom = 4 << 10               // the least room that is worth a separate read
	mostTrust = 4 << 20               // the limit of Scanner.trust
	keepArgs  = 32                    // number of arguments whose memory an idle scanner keeps
	argBytes  = 3 * bits.UintSize / 8 // size of the slice of an argument
)

// Scanner finds requests in a stream of bytes. It copies only incomplete requests. Its memory grows with the bytes
// received, and with lengths that a client announces only up to the size of an earlier request. With Limits.Stream it
// buffers no more than that limit and one line.
//
// The zero Scanner is ready for use. A Scanner is not safe for concurrent use.
type Scanner struct {
	// Limits may be set between requests.
	Limits Limits

	args  [][]byte // returned by the last call
	buf   []byte   // the incomplete request, or the returned request if it is not a view of the input
	err   error
	size  int64  // bytes of the request so far
	trust int64  // bytes for which memory may be allocated in advance: the size of an earlier request
	body  int64  // missing bytes of the argument
	count int    // arguments of the request; 0: inline, or not known yet
	left  int    // missing arguments, including the incomplete one
	line  int    // bytes of the line so far
	num   number // on the line
	lead  byte   // first byte of the line
	state state
	event event // why advance stopped
	fix   byte  // correction of the last byte; 0: none
	// hidden means that the line contains a zero byte. Redis searches the input as a string of C, so it does not find a
	// line end after it.
	hidden    bool
	streaming bool // the first part of the request was returned

	// Unauthenticated adds the limits of Redis for clients that have not authenticated: 10 arguments of 16 KiB. It may
	// be set between requests.
	Unauthenticated bool
}

// Next reads the input up to the end of the next request. in follows the bytes of the last call, and n is the number of
// bytes read. If no request is complete, Raw is nil and n is len(in). Like Redis, it skips requests without arguments,
// such as empty lines.
//
// Call Next with the rest of the input until Raw is nil, even if the rest is empty: the scanner then frees the memory
// of the last request. If a request changes the limits, as AUTH does, set them before the next call.
//
// Next returns a request of more than Limits.Stream bytes as First, any number of Middle, and Last. Together they are
// the request in canonical form. A client may delay the rest, or leave before it: a connection on which the first part
// was written is bound to the request until the last part, and cannot be used if that does not come.
//
// The error is a *ProtocolError, ErrAttack or ErrTooLarge. It is final: no more requests can be read from this client.
// It may follow the first part of a request. The division of a stream into calls affects neither the requests nor the
// error, except the division into Middle parts.
func (s *Scanner) Next(in []byte) (req Request, n int, err error) {
	if s.err != nil {
		return Request{}, 0, s.err
	}
	if s.state == atStart || s.streaming {
		s.recycle(len(in) == 0)
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

// Idle reports whether the scanner is between requests.
func (s *Scanner) Idle() bool { return s.state == atStart }

// Partial returns the bytes of the incomplete request, which another scanner can read again. It is valid until the next call
// of Next. Without an incomplete request, and after its first part was returned, it is empty.
func (s *Scanner) Partial() []byte {
	if s.state == atStart || s.streaming {
		return nil
	}
	return s.buf
}

// Held returns the bytes of memory that the scanner holds besides its own size.
func (s *Scanner) Held() int { return cap(s.buf) + cap(s.args)*argBytes }

// recycle frees or reuses the memory of the last request.
func (s *Scanner) recycle(idle bool) {
	if idle || cap(s.buf) > keepBytes {
		s.buf = nil
	}
	s.buf = s.buf[:0]
	if idle {
		s.dropArgs()
	}
}

// dropArgs drops the references in args.
func (s *Scanner) dropArgs() {
	if cap(s.args) > keepArgs {
		s.args = nil
		return
	}
	clear(s.args[:cap(s.args)])
	s.args = s.args[:0]
}

// whole returns the size of the request at the start of in, and sets args, if the request is complete, within the
// limits and in canonical form. Otherwise it returns 0.
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

// pass buffers part, which advance has read, or returns the request that it completes.
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

// keep appends part to the incomplete request. It does not copy bytes that were read into Room. If it needs memory, it
// allocates room for as many more bytes as there are, or as the last large request had, but at most up to the end of
// the argument.
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

// Room returns memory for the next bytes of a large argument, or nil. Next does not copy bytes that were read into it.
// It is valid until the next call of Next.
func (s *Scanner) Room() []byte {
	free := s.buf[len(s.buf):cap(s.buf)]
	n := min(int64(len(free)), s.body+2)
	if s.state != inBody || s.streaming || n < leastRoom {
		return nil
	}
	return free[:n]
}

// give returns the request raw with the arguments in args.
func (s *Scanner) give(raw []byte, part Part) Request {
	if len(s.args) > 0 && attack(s.args[0]) {
		s.end(ErrAttack)
		return Request{}
	}
	return Request{Raw: raw, Args: s.args, Count: s.count, Part: part}
}

// giveInline returns the request for the inline command on line, if the line is not empty.
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

// fail ends scanning with an error text of Redis.
func (s *Scanner) fail(reason string) { s.end(&ProtocolError{Reason: reason}) }

func (s *Scanner) end(err error) { s.err, s.buf, s.args = err, nil, nil }
