package netio

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oneByOne is a link that takes one piece, and the next one after writable.
type oneByOne struct {
	Link
	busy bool
}

func (l *oneByOne) write(b []byte) (int, error) {
	if l.busy {
		return 0, nil
	}
	l.busy = true
	return len(b), nil
}

func (l *oneByOne) await() {}

func TestAClientThatReadsSomethingIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &oneByOne{}
		o := Output{link: l, total: new(atomic.Int64)}
		for range 10 {
			o.Append(make([]byte, bigReply), true)
		}
		o.Flush()
		for range 8 {
			time.Sleep(time.Minute)
			l.busy = false
			o.writable()
			if size, since := o.Waiting(); size == 0 || time.Since(since) > 0 {
				t.Errorf("%d bytes wait, and nothing was taken for %v", size, time.Since(since))
			}
		}
	})
}

// sink is a link that takes nothing until it is open.
type sink struct {
	Link
	open, closed bool
	took         []byte
}

func (l *sink) write(b []byte) (int, error) {
	if !l.open {
		return 0, nil
	}
	l.took = append(l.took, b...)
	return len(b), nil
}

func (l *sink) await() {}
func (l *sink) close() { l.closed = true }

func TestPushesBeyondTheLimitCloseTheOutput(t *testing.T) {
	push := make([]byte, 60)
	for name, prepare := range map[string]func(o *Output){
		"link blocked": func(*Output) {},
		"pushes held":  (*Output).HoldPushes,
	} {
		l := &sink{}
		o := Output{link: l, total: new(atomic.Int64)}
		o.Append(make([]byte, 1000), false) // replies do not count
		prepare(&o)
		if o.Push(push, 100) || l.closed {
			t.Errorf("%s: a push within the limit closed the output", name)
		}
		if !o.Push(push, 100) || !l.closed || !o.IsClosed() {
			t.Errorf("%s: pushes beyond the limit did not close the output", name)
		}
		encode := func(dst []byte, _ bool) []byte {
			t.Errorf("%s: a closed output takes a message", name)
			return dst
		}
		if o.Push(push, 0) || o.PushMessage(0, encode) || o.Append(push, true) {
			t.Errorf("%s: a closed output reports more than one overflow", name)
		}
		if n, _ := o.Waiting(); n != 0 {
			t.Errorf("%s: %d bytes wait in a closed output", name, n)
		}
	}
}

func TestPushesFollowTheReplyThatAnnouncesThem(t *testing.T) {
	l := &sink{open: true}
	o := Output{link: l, total: new(atomic.Int64)}
	o.HoldPushes()
	o.Push([]byte("push "), 1000)
	o.PushMessage(1000, func(dst []byte, resp3 bool) []byte { return append(dst, "message "...) })
	o.Append([]byte("reply "), false)
	o.ReleasePushes()
	o.SetProto(3)
	large := make([]byte, 2*segment)
	o.PushMessage(1000, func(dst []byte, resp3 bool) []byte {
		if len(dst) != 0 || !resp3 {
			t.Errorf("a message is appended to %q, RESP3 %t", dst, resp3)
		}
		return append(dst, large...)
	})
	if o.message != nil {
		t.Errorf("the output keeps a buffer of %d bytes", cap(o.message))
	}
	if want := "reply push message " + string(large); string(l.took) != want {
		t.Errorf("the link took %d bytes, %.30q: want %d", len(l.took), l.took, len(want))
	}
}
