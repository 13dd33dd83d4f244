// Package resp reads and writes RESP2 and RESP3, the protocol of Redis.
//
// It has three parts that can be used alone. [Scanner] finds where frames end
// in a stream of bytes, and is the only judge of what is well formed. [Decode],
// [ReadHead] and [Elements] read frames that are in memory.
// [AppendCommand] writes commands.
//
// The package does no I/O, starts no goroutines and knows no commands: what a
// reply means is its caller's business.
package resp

import "strconv"

// Kind is the byte that a frame starts with, and says what the frame holds.
type Kind byte

// The kinds of RESP2 are the first five; the others came with RESP3.
const (
	SimpleString Kind = '+'
	SimpleError  Kind = '-'
	Integer      Kind = ':'
	BulkString   Kind = '$'
	Array        Kind = '*'

	Null      Kind = '_'
	Boolean   Kind = '#'
	Double    Kind = ','
	BigNumber Kind = '('
	BulkError Kind = '!'
	Verbatim  Kind = '='
	Map       Kind = '%'
	Set       Kind = '~'
	Attribute Kind = '|' // stands before a value, and belongs to its frame
	Push      Kind = '>' // out of band, and at the top level only
	chunk     Kind = ';' // a part of a streamed string
	streamEnd Kind = '.' // the end of a streamed aggregate
)

// String gives the kind's name in words, such as "bulk string"; for a byte
// that is no kind it gives the byte in quotes.
func (k Kind) String() string {
	switch k {
	case SimpleString:
		return "simple string"
	case SimpleError:
		return "simple error"
	case Integer:
		return "integer"
	case BulkString:
		return "bulk string"
	case Array:
		return "array"
	case Null:
		return "null"
	case Boolean:
		return "boolean"
	case Double:
		return "double"
	case BigNumber:
		return "big number"
	case BulkError:
		return "bulk error"
	case Verbatim:
		return "verbatim string"
	case Map:
		return "map"
	case Set:
		return "set"
	case Attribute:
		return "attribute"
	case Push:
		return "push"
	case chunk:
		return "chunk of a streamed string"
	case streamEnd:
		return "end of a streamed aggregate"
	}
	return strconv.Quote(string([]byte{byte(k)}))
}

// withArticle gives the kind's name for the middle of a sentence.
func (k Kind) withArticle() string {
	switch k {
	case Integer, Array, Attribute, streamEnd:
		return "an " + k.String()
	}
	return "a " + k.String()
}

// aggregate reports whether a value of kind k has elements.
func (k Kind) aggregate() bool {
	return k == Array || k == Map || k == Set || k == Push
}

// streams reports whether a value of kind k may leave its length open.
func (k Kind) streams() bool {
	return k == BulkString || k == Array || k == Map || k == Set
}
