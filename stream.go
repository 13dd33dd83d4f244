package respool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-2b0d76a6/respool/resp"
)

// DoTo sends one command and writes its reply, a string, to w as it comes: a
// large one, such as a value of many megabytes or CLIENT LIST, is never held
// whole. It gives the number of bytes written. Errors are those of Do, of w,
// and one that names the kind of a reply that is no string; ErrNil if it is null.
//
// It holds a connection of its own meanwhile, and waits in line for it, as
// Acquire does. A w that blocks keeps that connection alone waiting. When ctx
// ends the connection is closed: w is not written to any more when DoTo returns.
// Once something was written nothing is sent again.
func (c *Client) DoTo(ctx context.Context, w io.Writer, args ...any) (n int64, err error) {
	out := &stringWriter{w: w}
	frame, err := c.engine.DoParts(ctx, args, out.part, func() bool { return out.begun })
	if err != nil {
		return out.n, wrapError(err)
	}
	return out.end(frame)
}

// stringWriter writes the text of one frame, which comes in parts.
type stringWriter struct {
	w     io.Writer
	begun bool
	skip  int   // bytes of the format before the text that are still to come
	left  int64 // bytes of the text that are still to come
	n     int64 // written
	err   error
}

// part takes the next bytes of a large frame. The first ones hold its first line.
func (s *stringWriter) part(b []byte) {
	if !s.begun {
		s.begun = true
		b = s.begin(b)
	}
	if s.err != nil {
		return
	}
	format := min(s.skip, len(b))
	s.skip, b = s.skip-format, b[format:]
	text := b[:min(int64(len(b)), s.left)]
	s.left -= int64(len(text))
	if len(text) > 0 {
		n, err := s.w.Write(text)
		s.n, s.err = s.n+int64(n), err
	}
}

// begin reads the first line, and gives what stands behind it.
func (s *stringWriter) begin(b []byte) []byte {
	line, rest, found := bytes.Cut(b, []byte("\r\n"))
	if !found || len(line) < 2 {
		s.err = errNoReply
		return nil
	}
	size := int64(0)
	for _, digit := range line[1:] {
		if digit < '0' || digit > '9' {
			size = -1 // a streamed string, of no size
			break
		}
		size = 10*size + int64(digit-'0')
	}
	const format = len("txt:")
	switch kind := resp.Kind(line[0]); {
	case kind == resp.BulkString && size >= 0:
		s.left = size
	case kind == resp.Verbatim && size >= int64(format):
		s.left, s.skip = size-int64(format), format
	case kind == resp.BulkError:
		s.err = errors.New("respool: the server answered with an error that is too large to be shown")
	default:
		s.err = fmt.Errorf("respool: the reply is %v: want a string of known size", kind)
	}
	return rest
}

// end tells how it went. A frame that did not come in parts is written now.
func (s *stringWriter) end(frame []byte) (int64, error) {
	if !s.begun {
		text, err := (Reply{frame: frame}).Bytes()
		if err != nil {
			return 0, err
		}
		n, err := s.w.Write(text)
		return int64(n), err
	}
	return s.n, s.err
}
