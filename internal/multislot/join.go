package multislot

import (
	"bytes"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Join returns the reply to the whole command. frames are the replies to its parts, in the order of Parts. If one of
// them is an error, Join returns that error.
func (c *Cut) Join(frames [][]byte) []byte {
	if byStreams(c.info) || c.info.Reply == command.KeyOrder {
		if failed := firstError(frames); failed != nil {
			return failed
		}
		if byStreams(c.info) {
			return c.joinStreams(frames)
		}
		return c.joinValues(frames)
	}
	return Merge(c.info.Reply, frames)
}

// joinValues puts the elements of the parts into the order of the keys.
func (c *Cut) joinValues(frames [][]byte) []byte {
	all := make([][]byte, len(c.keys))
	size := 0
	for i, f := range frames {
		elements, err := resp.Elements(f)
		if err != nil || len(elements) != len(c.Parts[i].keys) {
			return unexpected(f)
		}
		for j, k := range c.Parts[i].keys {
			all[k] = elements[j]
		}
		size += len(f)
	}
	return joinElements('*', len(all), all, size)
}

// joinStreams joins the entries of streams, in the order of the keys. In RESP3 they are a map, otherwise an array of pairs.
func (c *Cut) joinStreams(frames [][]byte) []byte {
	kind := byte(0)
	entries := make([][][]byte, len(c.keys)) // of each key, as elements of the reply
	n, size := 0, 0
	for i, f := range frames {
		switch {
		case isNull(f):
			continue
		case f[0] != '*' && f[0] != '%', kind != 0 && kind != f[0]:
			return unexpected(f)
		}
		kind = f[0]
		elements, err := resp.Elements(f)
		if err != nil {
			return unexpected(f)
		}
		each := 1 // elements of a stream
		if kind == '%' {
			each = 2
		}
		for rest := c.Parts[i].keys; len(elements) > 0; elements = elements[each:] {
			at := c.streamOf(rest, elements[0], kind)
			if at < 0 {
				return unexpected(f)
			}
			entries[rest[at]] = elements[:each]
			rest = rest[at+1:]
			n++
		}
		size += len(f)
	}
	if n == 0 {
		return frames[0]
	}
	return joinElements(kind, n, slices.Concat(entries...), size)
}

// streamOf returns the index in keys of the stream whose entries an element of a part's reply contains; -1 if it is none.
// keys are ordinals.
func (c *Cut) streamOf(keys []int, element []byte, kind byte) int {
	if kind == '*' {
		pair, err := resp.Elements(element)
		if err != nil || len(pair) == 0 {
			return -1
		}
		element = pair[0]
	}
	name, _ := resp.StringOf(element)
	return slices.IndexFunc(keys, func(k int) bool { return bytes.Equal(c.keys[k], name) })
}

// Merge joins the replies of several nodes, by the command's reply policy. frames has at least one
// reply.
func Merge(policy command.ReplyPolicy, frames [][]byte) []byte {
	switch policy {
	case command.OneSucceeded:
		if i := slices.IndexFunc(frames, func(f []byte) bool { return resp.ErrorIn(f) == nil }); i >= 0 {
			return frames[i]
		}
		return frames[0]
	case command.AggSum:
		return aggregate(frames, func(a, b int64) int64 { return a + b })
	case command.AggMin:
		return aggregate(frames, func(a, b int64) int64 { return min(a, b) })
	case command.AggMax:
		return aggregate(frames, func(a, b int64) int64 { return max(a, b) })
	case command.AggLogicalAnd:
		return aggregate(frames, func(a, b int64) int64 { return min(a, b) })
	case command.AggLogicalOr:
		return aggregate(frames, func(a, b int64) int64 { return max(a, b) })
	}
	if failed := firstError(frames); failed != nil {
		return failed
	}
	if policy == command.AllSucceeded {
		return frames[0]
	}
	return concat(frames)
}

// concat joins arrays, sets or maps. Nulls add nothing. It returns the first of other replies.
func concat(frames [][]byte) []byte {
	var all [][]byte
	kind, size := byte(0), 0
	for _, f := range frames {
		switch {
		case isNull(f):
			continue
		case f[0] != '*' && f[0] != '~' && f[0] != '%':
			return frames[0]
		}
		elements, err := resp.Elements(f)
		if err != nil || kind != 0 && kind != f[0] {
			return unexpected(f)
		}
		all, kind = append(all, elements...), f[0]
		size += len(f)
	}
	switch kind {
	case 0:
		return frames[0]
	case '%':
		return joinElements(kind, len(all)/2, all, size)
	}
	return joinElements(kind, len(all), all, size)
}

// aggregate joins integers, or arrays of integers element by element.
func aggregate(frames [][]byte, with func(a, b int64) int64) []byte {
	if failed := firstError(frames); failed != nil {
		return failed
	}
	if frames[0][0] != '*' {
		return total(frames, with)
	}
	var columns [][][]byte
	for _, f := range frames {
		elements, err := resp.Elements(f)
		if err != nil || columns != nil && len(elements) != len(columns) {
			return unexpected(f)
		}
		if columns == nil {
			columns = make([][][]byte, len(elements))
		}
		for i, e := range elements {
			columns[i] = append(columns[i], e)
		}
	}
	joined := make([][]byte, len(columns))
	for i, column := range columns {
		joined[i] = total(column, with)
	}
	return joinElements('*', len(joined), joined, 8*len(joined))
}

// total joins integers.
func total(frames [][]byte, with func(a, b int64) int64) []byte {
	var n int64
	for i, f := range frames {
		h, err := resp.ReadHead(f)
		switch {
		case err != nil || h.Kind != resp.Integer:
			return unexpected(f)
		case i == 0:
			n = h.Int
		default:
			n = with(n, h.Int)
		}
	}
	return resp.AppendInteger(nil, n)
}

// joinElements encodes an aggregate of n elements, or of n pairs in a map.
func joinElements(kind byte, n int, elements [][]byte, size int) []byte {
	frame := resp.AppendArrayHeader(make([]byte, 0, size+16), n)
	frame[0] = kind
	for _, e := range elements {
		frame = append(frame, e...)
	}
	return frame
}

func firstError(frames [][]byte) []byte {
	if i := slices.IndexFunc(frames, func(f []byte) bool { return resp.ErrorIn(f) != nil }); i >= 0 {
		return frames[i]
	}
	return nil
}

func isNull(frame []byte) bool {
	return frame[0] == '_' || bytes.HasPrefix(frame, []byte("*-1")) || bytes.HasPrefix(frame, []byte("$-1"))
}

// unexpected returns the error for a reply of another form than the command's.
func unexpected(frame []byte) []byte {
	return resp.AppendError(nil, "a node of the cluster replied with "+resp.Kind(frame[0]).String()+", which cannot be joined with the replies of other nodes")
}
