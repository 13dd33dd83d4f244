package respool

import (
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Reply is what the server answered to one command, or why there is no
// answer. It is a value, decoded when it is asked for, and may be kept and
// shared; its memory is never used again by the client.
//
// Each conversion returns the error of Err first; ErrNil if the reply is a
// null; and an error that names both kinds if the reply is of a kind that does
// not convert.
type Reply struct {
	frame []byte // one whole frame
	err   error
}

// Err is why there is no reply: a *ConnError, a usage error, or the
// *ServerError that the server answered with. A null is no error here.
func (r Reply) Err() error {
	if r.err != nil {
		return r.err
	}
	if len(r.frame) == 0 {
		return errNoReply
	}
	if k := resp.Kind(r.frame[0]); k != resp.SimpleError && k != resp.BulkError && k != resp.Attribute {
		return nil
	}
	h, err := resp.ReadHead(r.frame)
	if err != nil {
		return malformed(err)
	}
	if h.Kind == resp.SimpleError || h.Kind == resp.BulkError {
		return resp.NewServerError(string(h.Str))
	}
	return nil
}

var errNoReply = errors.New("respool: this Reply is empty: it comes from no command")

func malformed(err error) error { return fmt.Errorf("respool: malformed reply: %w", err) }

// head decodes the frame's first line; it fails on errors and nulls.
func (r Reply) head() (resp.Head, error) {
	if err := r.Err(); err != nil {
		return resp.Head{}, err
	}
	h, err := resp.ReadHead(r.frame)
	if err != nil {
		return h, malformed(err)
	}
	if h.Null {
		return h, ErrNil
	}
	return h, nil
}

func mismatch(k resp.Kind, want string) error {
	return fmt.Errorf("respool: the reply is of kind %v: want %s", k, want)
}

// IsNil reports whether the server answered with a null.
func (r Reply) IsNil() bool {
	_, err := r.head()
	return errors.Is(err, ErrNil)
}

// Kind is the kind of the reply on the wire, or 0 if there is none.
func (r Reply) Kind() resp.Kind {
	if r.err != nil || len(r.frame) == 0 {
		return 0
	}
	h, err := resp.ReadHead(r.frame)
	if err != nil {
		return 0
	}
	return h.Kind
}

// scalar gives the text of anything that is not an aggregate.
func (r Reply) scalar() ([]byte, error) {
	if r.err == nil {
		if b, ok := resp.StringOf(r.frame); ok {
			return b, nil
		}
	}
	h, err := r.head()
	if err != nil {
		return nil, err
	}
	switch h.Kind {
	case resp.SimpleString, resp.BulkString, resp.Verbatim, resp.BigNumber, resp.Integer, resp.Double:
		return h.Str, nil
	case resp.Boolean:
		return strconv.AppendBool(nil, h.Int != 0), nil
	}
	return nil, mismatch(h.Kind, "a string or a number")
}

// Text gives a string, or a number or boolean in text form.
func (r Reply) Text() (string, error) {
	b, err := r.scalar()
	if err != nil || len(b) == 0 {
		return "", err
	}
	// The frame is the reply's own and Bytes copies, so nothing changes it.
	return unsafe.String(&b[0], len(b)), nil
}

// Bytes gives what Text does, as a slice that the caller owns.
func (r Reply) Bytes() ([]byte, error) {
	b, err := r.scalar()
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(b)), b...), nil
}

// Int64 gives an integer, or a string or big number that holds one.
func (r Reply) Int64() (int64, error) {
	h, err := r.head()
	if err != nil {
		return 0, err
	}
	switch h.Kind {
	case resp.Integer, resp.Boolean:
		return h.Int, nil
	case resp.SimpleString, resp.BulkString, resp.Verbatim, resp.BigNumber:
		n, err := strconv.ParseInt(string(h.Str), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("respool: the reply %.40q is no 64-bit integer", h.Str)
		}
		return n, nil
	}
	return 0, mismatch(h.Kind, "an integer")
}

// Float64 gives a double or an integer, or a string that holds one.
func (r Reply) Float64() (float64, error) {
	h, err := r.head()
	if err != nil {
		return 0, err
	}
	switch h.Kind {
	case resp.Double:
		return h.Float, nil
	case resp.Integer:
		return float64(h.Int), nil
	case resp.SimpleString, resp.BulkString, resp.Verbatim, resp.BigNumber:
		f, err := strconv.ParseFloat(string(h.Str), 64)
		if err != nil {
			return 0, fmt.Errorf("respool: the reply %.40q is no number", h.Str)
		}
		return f, nil
	}
	return 0, mismatch(h.Kind, "a number")
}

// Bool gives a boolean, or an integer or string that is 1 or 0.
func (r Reply) Bool() (bool, error) {
	h, err := r.head()
	if err != nil {
		return false, err
	}
	switch {
	case h.Kind == resp.Boolean || h.Kind == resp.Integer && (h.Int == 0 || h.Int == 1):
		return h.Int == 1, nil
	case (h.Kind == resp.BulkString || h.Kind == resp.SimpleString) && len(h.Str) == 1 && (h.Str[0] == '0' || h.Str[0] == '1'):
		return h.Str[0] == '1', nil
	case h.Kind == resp.Integer:
		return false, fmt.Errorf("respool: the reply %d is no boolean: want 0 or 1", h.Int)
	}
	return false, mismatch(h.Kind, "a boolean, 0 or 1")
}

// Array gives the elements of an array, set or push, and the keys and values
// of a map in turn. Each is a Reply of its own; those may be nulls or errors.
func (r Reply) Array() ([]Reply, error) {
	h, err := r.head()
	if err != nil {
		return nil, err
	}
	switch h.Kind {
	case resp.Array, resp.Set, resp.Map, resp.Push:
	default:
		return nil, mismatch(h.Kind, "an array, set or map")
	}
	frames, err := resp.Elements(r.frame)
	if err != nil {
		return nil, malformed(err)
	}
	replies := make([]Reply, len(frames))
	for i, f := range frames {
		replies[i].frame = f
	}
	return replies, nil
}

// Texts gives the elements of Array as strings; a null among them is empty.
func (r Reply) Texts() ([]string, error) {
	elems, err := r.Array()
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(elems))
	for i, e := range elems {
		if texts[i], err = e.Text(); err != nil && !errors.Is(err, ErrNil) {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return texts, nil
}

// Map gives a map, or an array of keys and values in turn as RESP2 has it.
// The keys are strings or numbers.
func (r Reply) Map() (map[string]Reply, error) {
	elems, err := r.Array()
	if err != nil {
		return nil, err
	}
	if len(elems)%2 != 0 {
		return nil, fmt.Errorf("respool: the reply has %d elements: want keys and values in turn", len(elems))
	}
	m := make(map[string]Reply, len(elems)/2)
	for i := 0; i < len(elems); i += 2 {
		key, err := elems[i].Text()
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i/2, err)
		}
		m[key] = elems[i+1]
	}
	return m, nil
}

// String describes the reply for people. It is no conversion: use Text.
func (r Reply) String() string {
	if err := r.Err(); err != nil {
		return err.Error()
	}
	h, err := resp.ReadHead(r.frame)
	switch {
	case err != nil:
		return malformed(err).Error()
	case h.Null:
		return "(nil)"
	}
	if text, err := r.Text(); err == nil {
		return text
	}
	return fmt.Sprintf("(%v of %d)", h.Kind, h.Int)
}
