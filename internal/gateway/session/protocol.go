package session

import "github.com/seed-2b0d76a6/respool/resp"

// protocol is the protocol version of a client, 2 or 3. Its methods encode the replies that depend on it.
type protocol int

// null returns the null of a string reply.
func (p protocol) null() []byte {
	if p == 3 {
		return replyNull
	}
	return replyNullBulk
}

// nullArray returns the reply of EXEC if a watched key has changed.
func (p protocol) nullArray() []byte {
	if p == 3 {
		return replyNull
	}
	return replyNullArray
}

// appendMapHeader appends the header of a map with n pairs, which is an array in RESP2.
func (p protocol) appendMapHeader(dst []byte, n int) []byte {
	if p == 3 {
		return appendHeader(dst, '%', n)
	}
	return appendHeader(dst, '*', 2*n)
}

// appendSetHeader appends the header of a set, which is an array in RESP2.
func (p protocol) appendSetHeader(dst []byte, n int) []byte {
	if p == 3 {
		return appendHeader(dst, '~', n)
	}
	return appendHeader(dst, '*', n)
}

// appendPushHeader appends the header of a push, which is an array in RESP2.
func (p protocol) appendPushHeader(dst []byte, n int) []byte {
	if p == 3 {
		return appendHeader(dst, '>', n)
	}
	return appendHeader(dst, '*', n)
}

// text returns a text as a verbatim string, which is a bulk string in RESP2.
func (p protocol) text(text []byte) []byte {
	if p == 2 {
		return bulk(text)
	}
	b := appendHeader(nil, byte(resp.Verbatim), len("txt:")+len(text))
	b = append(append(b, "txt:"...), text...)
	return append(b, '\r', '\n')
}
