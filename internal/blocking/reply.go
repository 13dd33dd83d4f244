package blocking

import (
	"bytes"
	"fmt"

	"github.com/seed-2b0d76a6/respool/resp"
)

// found is what a non-blocking command returned.
type found struct {
	key   []byte   // of the elements
	items [][]byte // raw frames: the elements of a list, or members and scores in turn
	whole []byte   // the reply itself, for forms whose reply needs no conversion
	none  bool     // no data
}

// size returns the number of elements.
func (f *found) size(zset bool) int {
	if zset {
		return len(f.items) / 2
	}
	return len(f.items)
}

// malformed is the error for a reply that does not fit its command.
func malformed(f *Form, want string) error {
	return fmt.Errorf("respool: read a reply for %s: want %s", f.info.Name, want)
}

// parse reads the reply to the command that take built. It does not read error replies.
func (f *Form) parse(reply []byte, keys [][]byte, n int) (found, error) {
	h, err := resp.ReadHead(reply)
	if err != nil {
		return found{}, fmt.Errorf("respool: read a reply for %s: %w", f.info.Name, err)
	}
	if size, err := resp.FrameLen(reply); err != nil || size != len(reply) {
		return found{}, malformed(f, "one complete reply")
	}
	if h.Null {
		return found{none: true}, nil
	}
	switch f.kind {
	case listMove:
		if h.Kind != resp.BulkString {
			return found{}, malformed(f, "a bulk string")
		}
		return found{whole: reply}, nil
	case read, groupRead:
		if h.Kind != resp.Array && h.Kind != resp.Map {
			return found{}, malformed(f, "an array or a map")
		}
		return found{whole: reply}, nil
	case listMPop, zsetMPop:
		return f.parseMPop(reply)
	}
	if len(keys) > 1 {
		return f.parseMPop(reply)
	}
	if f.kind == listPop && n == 1 {
		if h.Kind != resp.BulkString {
			return found{}, malformed(f, "a bulk string")
		}
		return found{key: keys[0], items: [][]byte{reply}}, nil
	}
	items, err := resp.Elements(reply)
	if err != nil || h.Kind != resp.Array {
		return found{}, malformed(f, "an array")
	}
	if f.kind == zsetPop {
		if items, err = f.scored(items, true); err != nil {
			return found{}, err
		}
	}
	return f.checked(found{key: keys[0], items: items, none: len(items) == 0})
}

// parseMPop reads the reply to LMPOP or ZMPOP: a key and its elements.
func (f *Form) parseMPop(reply []byte) (found, error) {
	parts, err := resp.Elements(reply)
	if err != nil || len(parts) != 2 {
		return found{}, malformed(f, "a key and its elements")
	}
	key, err := bulk(parts[0])
	if err != nil {
		return found{}, malformed(f, "a key and its elements")
	}
	items, err := resp.Elements(parts[1])
	if err != nil || len(items) == 0 {
		return found{}, malformed(f, "a key and its elements")
	}
	if f.zset() {
		if items, err = f.scored(items, false); err != nil {
			return found{}, err
		}
	}
	return f.checked(found{key: key, items: items, whole: reply})
}

// scored flattens pairs of member and score. flat allows that they are flat already.
func (f *Form) scored(items [][]byte, flat bool) ([][]byte, error) {
	if len(items) == 0 || flat && len(items[0]) > 0 && items[0][0] == byte(resp.BulkString) {
		if len(items)%2 != 0 {
			return nil, malformed(f, "members with scores")
		}
		return items, nil
	}
	pairs := make([][]byte, 0, 2*len(items))
	for _, item := range items {
		pair, err := resp.Elements(item)
		if err != nil || len(pair) != 2 {
			return nil, malformed(f, "members with scores")
		}
		pairs = append(pairs, pair...)
	}
	return pairs, nil
}

// checked checks that every element can go back to the server.
func (f *Form) checked(d found) (found, error) {
	for i, item := range d.items {
		read := bulk
		if f.zset() && i%2 == 1 {
			read = number
		}
		if _, err := read(item); err != nil {
			return found{}, malformed(f, "bulk strings")
		}
	}
	return d, nil
}

// bulk returns the text of a bulk string.
func bulk(frame []byte) ([]byte, error) {
	if len(frame) > 0 && resp.Kind(frame[0]) == resp.BulkString {
		if text, ok := resp.StringOf(frame); ok {
			return text, nil
		}
	}
	h, err := resp.ReadHead(frame)
	if err != nil {
		return nil, err
	}
	if h.Kind != resp.BulkString || h.Null {
		return nil, &resp.ProtocolError{Reason: "found a " + h.Kind.String() + ": want a bulk string"}
	}
	return h.Str, nil
}

// number returns the text of a score: a bulk string in RESP2, a double in RESP3.
func number(frame []byte) ([]byte, error) {
	h, err := resp.ReadHead(frame)
	switch {
	case err != nil:
		return nil, err
	case h.Kind == resp.Double:
		return bytes.TrimSpace(frame[1:]), nil
	}
	return bulk(frame)
}

// serve returns the reply of the blocking command for the first elements of d, and removes them from d.
func (f *Form) serve(d *found) []byte {
	if !f.takes() {
		return d.whole
	}
	unit := 1
	if f.zset() {
		unit = 2
	}
	n := min(len(d.items), f.want()*unit)
	items := d.items[:n]
	d.items = d.items[n:]
	const heads = len("*2\r\n$100000\r\n\r\n*100000\r\n")
	size := len(d.key) + heads
	for _, item := range items {
		size += len(item)
	}
	if f.kind == zsetMPop {
		size += n / unit * len("*2\r\n")
	}
	reply := make([]byte, 0, size)
	switch f.kind {
	case listPop, zsetPop:
		reply = resp.AppendArrayHeader(reply, 1+unit)
		reply = resp.AppendBulk(reply, d.key)
		for _, item := range items {
			reply = append(reply, item...)
		}
	default:
		reply = resp.AppendArrayHeader(reply, 2)
		reply = resp.AppendBulk(reply, d.key)
		reply = resp.AppendArrayHeader(reply, n/unit)
		for i, item := range items {
			if unit == 2 && i%2 == 0 {
				reply = resp.AppendArrayHeader(reply, 2)
			}
			reply = append(reply, item...)
		}
	}
	return reply
}

// timedOut returns the reply of a blocking command at its timeout.
func timedOut(resp3 bool) []byte {
	if resp3 {
		return []byte("_\r\n")
	}
	return []byte("*-1\r\n")
}

// unblocked is the reply to a command that CLIENT UNBLOCK ends with an error.
const unblocked = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"

// lastID returns the ID of the entry in a reply to XREVRANGE with COUNT 1; 0-0 if there is none.
func lastID(reply []byte) ([]byte, error) {
	const none = "0-0"
	entries, err := resp.Elements(reply)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return []byte(none), nil
	}
	fields, err := resp.Elements(entries[0])
	if err != nil || len(fields) == 0 {
		return nil, &resp.ProtocolError{Reason: "found no entry: want an ID and fields"}
	}
	id, err := bulk(fields[0])
	return bytes.Clone(id), err
}
