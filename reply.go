package respool

import (
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Reply is the reply to one command, or the error that replaces it. It is a value. Each conversion
// decodes it again. The caller owns its memory, which the client never reuses. A Reply may be kept
// and shared; concurrent use is safe.
//
// Each conversion first returns the error of Err. It returns ErrNil for a null, and an error that
// names both kinds if the reply has a kind that does not convert.
type Reply struct {
	frame []byte // one complete frame
	err   error
}

// Err returns the error if there is no reply: a *ConnError, a usage error, or the *ServerError that
// the server sent. A null is not an error here.
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

var errNoReply = errors.New("respool: this Reply is empty: no command returned it")

func malformed(err error) error { return fmt.Errorf("respool: malformed reply: %w", err) }

// head decodes the first line of the frame. It fails on errors and nulls.
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

// Kind returns the kind of the reply on the wire, or 0 if there is no reply.
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

// scalar returns the text of any value except an aggregate.
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

// Text returns a string, or a number or boolean in text form. The string shares the memory of the
// Reply.
func (r Reply) Text() (string, error) {
	b, err := r.scalar()
	if err != nil || len(b) == 0 {
		return "", err
	}
	// Nothing changes the frame: it belongs to the Reply, and Bytes copies it.
	return unsafe.String(&b[0], len(b)), nil
}

// Bytes returns a copy of Text. The caller owns it.
func (r Reply) Bytes() ([]byte, error) {
	b, err := r.scalar()
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(b)), b...), nil
}

// Int64 returns an integer, a boolean as 1 or 0, or the integer in a string or big number.
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

// Float64 returns a double, an integer, or the number in a string or big number.
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

// Bool returns a boolean, or an integer or string that is 1 or 0.
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

// Array returns the elements of an array, set or push. For a map it returns keys and values in
// turn. Each element is a Reply, which may be a null or an error.
func (r Reply) Array() ([]Reply, error) {
	frames, err := r.appendElements(nil)
	if err != nil {
		return nil, err
	}
	replies := make([]Reply, len(frames))
	for i, f := range frames {
		replies[i].frame = f
	}
	return replies, nil
}

// appendElements appends the frames of the elements to dst.
func (r Reply) appendElements(dst [][]byte) ([][]byte, error) {
	h, err := r.head()
	if err != nil {
		return nil, err
	}
	switch h.Kind {
	case resp.Array, resp.Set, resp.Map, resp.Push:
	default:
		return nil, mismatch(h.Kind, "an array, set or map")
	}
	frames, err := resp.AppendElements(dst, r.frame)
	if err != nil {
		return nil, malformed(err)
	}
	return frames, nil
}

// Texts returns the elements of Array as strings. A null element becomes an empty string.
func (r Reply) Texts() ([]string, error) {
	var few [8][]byte
	frames, err := r.appendElements(few[:0])
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(frames))
	for i, f := range frames {
		if texts[i], err = (Reply{frame: f}).Text(); err != nil && !errors.Is(err, ErrNil) {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return texts, nil
}

// Map returns a map, or converts an array of alternating keys and values, as RESP2 sends it. Keys
// are strings or numbers.
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

// String formats the reply for display. It is not a conversion: use Text.
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
