package discovery

import (
	"bytes"
	"errors"
	"io"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

// read hands out what comes until the connection ends.
func (l *link) read(conn Conn) error {
	scanner := resp.Scanner{Limit: replyLimit}
	var buf []byte
	chunk := make([]byte, 4096)
	start, scanned := 0, 0
	for {
		n, done, err := scanner.Scan(buf[scanned:])
		if err != nil {
			return err
		}
		scanned += n
		if done {
			kind := scanner.Kind()
			v, _, err := resp.Decode(bytes.Clone(buf[start:scanned])) // what it gives refers to what it is given
			if err != nil {
				return err
			}
			start = scanned
			if err := l.take(v, kind == resp.Push); err != nil {
				return err
			}
			continue
		}
		if start > 0 {
			buf = append(buf[:0], buf[start:]...)
			scanned, start = scanned-start, 0
		}
		n, err = conn.Read(chunk)
		buf = append(buf, chunk[:n]...)
		l.heard.Add(uint64(n))
		if err != nil && n == 0 {
			if errors.Is(err, io.EOF) {
				return errClosedBy
			}
			return err
		}
	}
}

// take hands one reply or push to whom it is for.
func (l *link) take(v resp.Value, push bool) error {
	if l.at.kind == sentinel.Subscription {
		return l.takePush(v)
	}
	if push {
		return nil
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if len(l.asked) == 0 {
		if l.closing {
			return errClosedBy
		}
		return errUnasked
	}
	u := l.asked[0]
	l.asked = l.asked[1:]
	u.w.enqueue(sentinel.Answer{Seq: u.seq, Reply: v})
	return nil
}

func (l *link) takePush(v resp.Value) error {
	switch v.Kind {
	case resp.SimpleError, resp.BulkError:
		return resp.NewServerError(string(v.Str))
	case resp.Array, resp.Push:
	default:
		return nil // a PONG
	}
	if len(v.Elems) != 3 || string(v.Elems[0].Str) != "message" {
		return nil // a confirmation, or a RESP2 pong
	}
	e := sentinel.Push{Sentinel: l.at.addr, Channel: string(v.Elems[1].Str), Payload: string(v.Elems[2].Str)}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	for _, u := range l.users {
		u.w.enqueue(e)
	}
	return nil
}
