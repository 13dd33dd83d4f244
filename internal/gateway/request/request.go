// Package request finds and parses the requests in the byte stream of a Redis client: arrays of bulk strings and inline
// commands. It has the limits, the tolerance and the protocol errors of redis-server 7.0. It returns all requests in
// canonical form, so that every server finds the same requests in it.
//
// It does no I/O, has no goroutines and does not know commands. Package resp handles replies.
package request

// Request is a request, or a part of a request that is too large to buffer. Its slices are valid until the next call of
// Next.
type Request struct {
	// Raw is the request as an array of bulk strings in canonical form, or the next bytes of it. It is a view of the
	// input if the input contains this form. It is nil if no request is complete, and otherwise not empty.
	Raw []byte
	// Args are the command's name and arguments, as views of Raw. They contain at least the name, unless Part is First.
	// They are nil after the first part.
	Args [][]byte
	// Count is the number of all arguments of the request, including the name. It is 0 after the first part.
	Count int
	// Part is the position of this part in its request.
	Part Part
	// Owned means that the scanner does not reuse the memory of Raw, so it stays valid after the next call of Next.
	// This is the case for large requests that came in several pieces.
	Owned bool
	// Inline means that the client sent an inline command.
	Inline bool
}

// Part is the position of a part in a request.
type Part uint8

const (
	// Whole is a complete request.
	Whole Part = iota
	// First is the beginning of a request. Args are the complete arguments, and Raw ends after the length of the next
	// one. There are no Args if the next one is the command's name, which is then nearly as long as Limits.Stream.
	First
	// Middle is a part between the first and the last.
	Middle
	// Last is the end of a request.
	Last
)

// String returns the name of the constant.
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
