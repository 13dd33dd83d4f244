// Package resp reads and writes RESP2 and RESP3, the protocol of Redis.
//
// It has three parts that can be used alone. [Scanner] finds the ends of frames in a stream of
// bytes; only it decides which bytes are well formed. [Decode], [ReadHead] and [Elements] read
// frames in memory. [AppendCommand] encodes commands.
//
// The package does no I/O, starts no goroutines and knows no commands. Its functions are safe for
// concurrent use.
package resp

import "strconv"

// Kind is the first byte of a frame, which determines its type.
type Kind byte

// The first five kinds are those of RESP2. RESP3 added the others.
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
	Attribute Kind = '|' // precedes a value, and belongs to the value's frame
	Push      Kind = '>' // out of band, at the top level only
	chunk     Kind = ';' // a part of a streamed string
	streamEnd Kind = '.' // the end of a streamed aggregate
)

// String returns the name of the kind, such as "bulk string". For any other byte it returns the
// quoted byte.
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

// withArticle returns the name of the kind with an indefinite article.
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

// streams reports whether a value of kind k may be streamed, with an unknown length.
func (k Kind) streams() bool {
	return k == BulkString || k == Array || k == Map || k == Set
}
