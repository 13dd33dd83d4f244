package respool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-2b0d76a6/respool/resp"
)

// DoTo sends one command and writes its reply, a string, to w as it arrives. It never holds a large
// reply, such as a value of many megabytes or CLIENT LIST, in memory. It returns the number of
// bytes written. Its errors are those of Do, those of w, and ErrNil for a null. If the reply is not
// a string, the error names its kind.
//
// It holds a dedicated connection, and waits for it in order, as Acquire does. A w that blocks
// delays only that connection. If ctx ends, the connection closes. DoTo does not write to w after
// it returns. It resends nothing after the first byte was written.
func (c *Client) DoTo(ctx context.Context, w io.Writer, args ...any) (n int64, err error) {
	out := &stringWriter{w: w}
	frame, err := c.engine.DoParts(ctx, args, out.part, func() bool { return out.begun })
	if err != nil {
		return out.n, wrapError(err)
	}
	return out.end(frame)
}

// stringWriter writes the text of one frame, which arrives in parts.
type stringWriter struct {
	w     io.Writer
	begun bool
	skip  int   // bytes of the format, before the text, that have not arrived
	left  int64 // bytes of the text that have not arrived
	n     int64 // written
	err   error
}

// part consumes the next bytes of a large frame. The first call contains its first line.
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

// begin reads the first line and returns the bytes after it.
func (s *stringWriter) begin(b []byte) []byte {
	line, rest, found := bytes.Cut(b, []byte("\r\n"))
	if !found || len(line) < 2 {
		s.err = errNoReply
		return nil
	}
	size := int64(0)
	for _, digit := range line[1:] {
		if digit < '0' || digit > '9' {
			size = -1 // a streamed string, of unknown size
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

// end returns the count and the error. It writes a frame that did not arrive in parts.
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
