package resp

import (
	"bytes"
	"math"
	"strconv"
)

// reader reads bytes that a Scanner has accepted, so it checks nothing.
type reader struct {
	b  []byte
	at int
}

// line returns the text of the current line, without its kind and CRLF.
func (r *reader) line() []byte {
	first := r.at + 1
	end := first
	for end < len(r.b) && end < first+16 && r.b[end] != '\r' {
		end++
	}
	if r.b[end] != '\r' {
		end += bytes.IndexByte(r.b[end:], '\r')
	}
	r.at = end + 2
	return r.b[first:end:end]
}

// head reads a scalar, or the first line of an aggregate. Size stays 0.
func (r *reader) head() Head {
	h := Head{Kind: Kind(r.b[r.at])}
	text := r.line()
	switch h.Kind {
	case SimpleString, SimpleError, BigNumber:
		h.Str = text
	case Integer:
		h.Str, h.Int = text, parseInt(text)
	case Double:
		h.Str, h.Float = text, parseFloat(text)
	case Boolean:
		h.Str = text
		if text[0] == 't' {
			h.Int = 1
		}
	case Null:
		h.Null = true
	case BulkString, BulkError, Verbatim:
		r.bulk(&h, text)
	default:
		h.length(text)
	}
	return h
}

// length parses the text of a length.
func (h *Head) length(text []byte) {
	switch text[0] {
	case '?':
		h.Stream = true
	case '-':
		h.Null = true
	default:
		h.Int = parseInt(text)
	}
}

// bulk reads the body of the string whose length is text.
func (r *reader) bulk(h *Head, text []byte) {
	h.length(text)
	switch {
	case h.Null:
		return
	case h.Stream:
		h.Str = r.chunks()
	default:
		h.Str = r.body(h.Int)
	}
	h.Int = 0
	if h.Kind == Verbatim {
		h.Format, h.Str = formatName(h.Str[:3]), h.Str[4:]
	}
}

func (r *reader) body(n int64) []byte {
	end := r.at + int(n)
	body := r.b[r.at:end:end]
	r.at = end + 2
	return body
}

// chunks joins the parts of a streamed string.
func (r *reader) chunks() []byte {
	joined := []byte{}
	for {
		n := parseInt(r.line())
		if n == 0 {
			return joined
		}
		joined = append(joined, r.body(n)...)
	}
}

// formatName returns the format without an allocation for the common ones.
func formatName(b []byte) string {
	switch string(b) {
	case "txt":
		return "txt"
	case "mkd":
		return "mkd"
	}
	return string(b)
}

func parseInt(text []byte) int64 {
	neg := text[0] == '-'
	if neg || text[0] == '+' {
		text = text[1:]
	}
	var n uint64 // wraps to math.MinInt64 as intended
	for _, c := range text {
		n = n*10 + uint64(c-'0')
	}
	if neg {
		return -int64(n)
	}
	return int64(n)
}

func parseFloat(text []byte) float64 {
	if text[len(text)-1] == 'n' {
		return math.NaN()
	}
	// ParseFloat returns an infinite value for a number out of range, as intended.
	f, _ := strconv.ParseFloat(string(text), 64)
	return f
}
