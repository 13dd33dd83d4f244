// Package request finds where requests end in what a client sends to a Redis
// server, and takes them apart: arrays of bulk strings and inline commands, with the
// limits, the tolerance and the protocol errors of redis-server 7.0. What it hands out is always
// in the strict form, so that every server sees the same requests in it as this package does.
//
// It does no I/O, has no goroutines and does not know what commands mean. Replies are
// the matter of package resp.
package request

// Request is a request, or a part of one that is too large to be held. Its slices are
// valid until the next call of Next.
type Request struct {
	// Raw is an array of bulk strings, to be forwarded as it is; of a request in parts, the next
	// bytes of that. It is a view of the input where the input holds it in this form. It
	// is nil if there is no request yet, and never empty otherwise.
	Raw []byte
	// Args are the command's name and its arguments, as views of Raw: one at least, unless Part
	// is First. Behind the first part it is nil.
	Args [][]byte
	// Count is how many arguments the request has, the name and those to come included.
	// Behind the first part it is 0.
	Count int
	// Part says which part of its request this is.
	Part Part
	// Owned says that Raw is memory of its own, which the scanner does not use again: it may be kept
	// beyond the next call of Next. So it is with large requests that did not come in one piece.
	Owned bool
	// Inline says that the client sent a line of text.
	Inline bool
}

// Part is what a Request holds of the client's request.
type Part uint8

const (
	// Whole is all of it.
	Whole Part = iota
	// First is its beginning: Args are the arguments that are whole, and Raw ends behind the
	// length of the one after them. There are no Args if that is the command's
	// name, which is then nearly as long as Limits.Stream.
	First
	// Middle is more of it.
	Middle
	// Last is its end.
	Last
)

// String gives the constant's name.
func (p Part) String() string {
	switch p {
	case Whole:
		return "Whole"
	case First:
		return "First"
	case Middle:
		return "Middle"
	}
	return "Last"
}
