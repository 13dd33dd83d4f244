package discovery

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/resp"
)

const (
	replyLimit = 8 << 20  // maximum size of a sentinel's reply
	keepLimit  = 64 << 10 // memory that is kept for the next reply
)

// read distributes the replies and pushes until the connection ends.
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
			v, _, err := resp.Decode(bytes.Clone(buf[start:scanned])) // the decoded value refers to its input
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
			if cap(buf) > keepLimit {
				buf = bytes.Clone(buf[start:])
			} else {
				buf = append(buf[:0], buf[start:]...)
			}
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

// take passes one reply or push to its users.
func (l *link) take(v resp.Value, push bool) error {
	if l.at.kind == sentinel.Subscription {
		return l.takePush(v, push)
	}
	if push {
		return nil
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.alone() {
		l.reauthenticatedLocked(v)
		return nil
	}
	if len(l.asked) == 0 {
		if l.closing {
			return errClosedBy
		}
		return errUnasked
	}
	u := l.asked[0]
	l.asked = l.asked[1:]
	u.w.enqueue(sentinel.Answer{Seq: u.seq, Reply: v})
	l.reauthLocked()
	return nil
}

// takePush processes a frame on a subscription: a message, a confirmation or a pong.
func (l *link) takePush(v resp.Value, push bool) error {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	defer l.reauthLocked()
	if l.alone() && !push {
		l.reauthenticatedLocked(v)
		return nil
	}
	switch v.Kind {
	case resp.SimpleError, resp.BulkError:
		if l.subscribed && l.unsure == 0 {
			l.pings = max(0, l.pings-1)
			return nil // this sentinel does not support PING on a subscription, but it has replied
		}
		return resp.NewServerError(string(v.Str))
	case resp.Array, resp.Push:
	default:
		l.pings = max(0, l.pings-1)
		return nil // a RESP3 pong
	}
	if len(v.Elems) != 3 {
		l.pings = max(0, l.pings-1)
		return nil // a RESP2 pong
	}
	switch string(v.Elems[0].Str) {
	case "subscribe":
		l.unsure = max(0, l.unsure-1)
	case "message":
		l.publishLocked(sentinel.Push{Sentinel: l.at.addr, Channel: string(v.Elems[1].Str), Payload: string(v.Elems[2].Str)})
	}
	return nil
}

// publishLocked passes a message to all users. It detaches a user whose queue is full. After its new connection that
// user queries for the missed state.
func (l *link) publishLocked(e sentinel.Push) {
	l.users = slices.DeleteFunc(l.users, func(u user) bool {
		if u.w.push(e) {
			return false
		}
		u.w.enqueue(sentinel.SentinelDown{Seq: u.seq, Err: errFlood})
		return true
	})
	if len(l.users) == 0 {
		l.closeLocked()
	}
}
