package resp

import (
	"bytes"
	"io"
	"slices"
)

// Head is a complete scalar, or the first line of an aggregate.
type Head struct {
	Kind   Kind
	Null   bool    // a null of any protocol: kind Null, or a BulkString or Array of length -1
	Stream bool    // a streamed string or aggregate
	Int    int64   // integers; booleans as 0 or 1; the number of elements (of a map: pairs) unless streamed
	Float  float64 // doubles; infinite if the text exceeds a float64
	Str    []byte  // a scalar's text; nil for nulls. It aliases the frame unless Stream is set
	Format string  // of a verbatim string, such as "txt"; Str is without it
	Size   int     // bytes of the scalar, or of the aggregate's line, including the attributes before it
}

// ReadHead reads the start of a frame and skips its attributes. A scalar must be complete. For an
// aggregate, the first line is enough; ReadHead does not read its elements. If b ends too early,
// the error is io.ErrUnexpectedEOF. Otherwise it is a *ProtocolError.
func ReadHead(b []byte) (Head, error) {
	skipped := 0
	for skipped < len(b) && Kind(b[skipped]) == Attribute {
		s := Scanner{attrOnly: true}
		n, done, err := s.Scan(b[skipped:])
		if err != nil {
			return Head{}, err
		}
		if !done {
			return Head{}, io.ErrUnexpectedEOF
		}
		skipped += n
	}
	b = b[skipped:]
	var n int
	var err error
	if len(b) > 0 && Kind(b[0]).aggregate() {
		n, err = headerLen(b)
	} else {
		n, err = FrameLen(b)
	}
	if err != nil {
		return Head{}, err
	}
	r := reader{b: b[:n]}
	h := r.head()
	h.Size = skipped + n
	return h, nil
}

// StringOf returns the text of a frame that is one simple or bulk string, as most replies are. The
// text aliases the frame. It is the Str of [ReadHead], at a fraction of the cost. ok is false for
// other frames, and for two rare strings: an empty simple string, and a bulk string whose length
// has more than nine digits. The frame must be complete and valid.
func StringOf(frame []byte) (text []byte, ok bool) {
	const end = len("\r\n")
	if len(frame) <= 1+end {
		return nil, false
	}
	switch Kind(frame[0]) {
	case SimpleString:
		return frame[1 : len(frame)-end], true
	case BulkString:
		n, size := countLine(frame)
		if size == 0 || len(frame) != size+n+end {
			return nil, false
		}
		return frame[size : size+n], true
	}
	return nil, false
}

// headerLen returns the length of the first line of the aggregate at the start of b.
func headerLen(b []byte) (int, error) {
	if _, size := countLine(b); size > 0 {
		return size, nil
	}
	const longest = 1 + maxDigits + 2
	line := b[:min(len(b), longest)]
	end := bytes.IndexByte(line, '\n')
	if end >= 0 {
		line = line[:end+1]
	}
	var s Scanner
	if _, _, err := s.Scan(line); err != nil {
		return 0, err
	}
	if end < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return len(line), nil
}

// Elements returns the frames of the elements of the aggregate frame, each with its attributes. The
// elements of a map are keys and values in turn. They alias frame. A null array has none. Elements
// ignores bytes after the aggregate.
//
// If frame ends too early, the error is io.ErrUnexpectedEOF. Otherwise, or if frame is no
// aggregate, it is a *ProtocolError.
func Elements(frame []byte) ([][]byte, error) { return AppendElements(nil, frame) }

// AppendElements is [Elements] that appends to elems.
func AppendElements(elems [][]byte, frame []byte) ([][]byte, error) {
	h, err := ReadHead(frame)
	switch {
	case err != nil:
		return nil, err
	case !h.Kind.aggregate():
		return nil, &ProtocolError{Reason: "found " + h.Kind.withArticle() + ": want an aggregate"}
	case h.Null:
		return elems, nil
	}
	rest := frame[h.Size:]
	if h.Stream {
		return streamedElements(elems, rest, h.Kind)
	}
	count := h.elements()
	if most := int(min(count, int64(len(rest)/minValue))); elems == nil {
		elems = make([][]byte, 0, most)
	} else {
		elems = slices.Grow(elems, most)
	}
	s := Scanner{inner: true}
	for range count {
		n, err := elementLen(&s, rest)
		if err != nil {
			return nil, err
		}
		elems, rest = append(elems, rest[:n:n]), rest[n:]
	}
	return elems, nil
}

func streamedElements(elems [][]byte, rest []byte, k Kind) ([][]byte, error) {
	const end = ".\r\n"
	s := Scanner{inner: true}
	for !bytes.HasPrefix(rest, []byte(end)) {
		if bytes.HasPrefix([]byte(end), rest) {
			return nil, io.ErrUnexpectedEOF
		}
		n, err := elementLen(&s, rest)
		if err != nil {
			return nil, err
		}
		elems, rest = append(elems, rest[:n:n]), rest[n:]
	}
	if k == Map && len(elems)%2 != 0 {
		return nil, &ProtocolError{Reason: "found the end of a streamed map: want the value of its last key"}
	}
	return elems, nil
}

func elementLen(s *Scanner, b []byte) (int, error) {
	n, done, err := s.Scan(b)
	if err == nil && !done {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// elements returns the number of values that follow the head: two for each pair of a map.
func (h *Head) elements() int64 {
	if h.Kind == Map || h.Kind == Attribute {
		return 2 * h.Int
	}
	return h.Int
}
