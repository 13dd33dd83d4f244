package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// wire is a plain connection to a server.
type wire struct {
	net.Conn
	buf []byte
}

func dialServer(server *redistest.Server) (*wire, error) {
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		return nil, err
	}
	return &wire{Conn: conn}, conn.SetDeadline(time.Now().Add(10 * time.Second))
}

func (w *wire) frames(raw []byte, n int) ([][]byte, error) {
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	var frames [][]byte
	for len(frames) < n {
		size, err := resp.FrameLen(w.buf)
		if err == nil {
			frames, w.buf = append(frames, w.buf[:size:size]), w.buf[size:]
			continue
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, err
		}
		if err := w.more(); err != nil {
			return nil, err
		}
	}
	return frames, nil
}

func (w *wire) more() error {
	chunk := make([]byte, 16<<10)
	n, err := w.Read(chunk)
	w.buf = append(w.buf, chunk[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// executor executes steps one at a time on real connections. Its lanes outlive its sessions, as in a gateway.
type executor struct {
	server   *redistest.Server
	password string
	lanes    map[session.Identity]*wire
	idle     map[session.Identity][]*wire
	pin      *wire
	pinKey   session.Identity
	topics   map[session.Topic]bool
}

func newExecutor(t testing.TB, server *redistest.Server, password string) *executor {
	e := &executor{server: server, password: password, lanes: map[session.Identity]*wire{}, idle: map[session.Identity][]*wire{}}
	t.Cleanup(func() {
		for _, w := range e.lanes {
			_ = w.Close()
		}
		for _, all := range e.idle {
			for _, w := range all {
				_ = w.Close()
			}
		}
	})
	return e
}

func (e *executor) open(key session.Identity) (*wire, error) {
	w, err := dialServer(e.server)
	if err != nil {
		return nil, err
	}
	hello := []string{"HELLO", strconv.Itoa(key.Proto)}
	if e.password != "" {
		hello = append(hello, "AUTH", key.User, e.password)
	}
	first, _ := request(hello...)
	second, _ := request("SELECT", strconv.Itoa(key.DB))
	frames, err := w.frames(append(first, second...), 2)
	if err != nil || frames[0][0] == '-' || frames[1][0] == '-' {
		return nil, fmt.Errorf("the handshake returned %q, %v", frames, err)
	}
	return w, nil
}

func (e *executor) lane(key session.Identity) (*wire, error) {
	if w := e.lanes[key]; w != nil {
		return w, w.SetDeadline(time.Now().Add(10 * time.Second))
	}
	w, err := e.open(key)
	if err == nil {
		e.lanes[key] = w
	}
	return w, err
}

func (e *executor) dedicated(key session.Identity) (*wire, error) {
	if all := e.idle[key]; len(all) > 0 {
		w := all[len(all)-1]
		e.idle[key] = all[:len(all)-1]
		return w, w.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return e.open(key)
}

// do executes a request of a session and returns the bytes that the client reads.
func (e *executor) do(s *session.Session, raw []byte, args [][]byte) (reply []byte, closed bool, err error) {
	step := s.Next(raw, args)
	if step.Identity != s.Identity() {
		return nil, false, fmt.Errorf("%v has the identity %v, the session %v", &step, step.Identity, s.Identity())
	}
	e.subscriptions(&step)
	if !step.NeedsDone() && step.Kind != session.Multiplexed {
		return step.Reply, step.Kind == session.Close, e.release(step.Release)
	}
	frames, err := e.run(&step)
	if err != nil {
		return nil, false, fmt.Errorf("%v: %w", &step, err)
	}
	out := s.Done(&step, frames, nil)
	if step.Kind == session.Subscribe && len(out.Reply) > 0 {
		for _, topic := range step.Topics {
			e.topics[topic] = true
		}
	}
	return out.Reply, out.Close, e.release(out.Release)
}

func (e *executor) run(step *session.Step) ([][]byte, error) {
	switch step.Kind {
	case session.Subscribe:
		return nil, nil
	case session.Identify:
		auth, _ := request("AUTH", step.Credentials.User, step.Credentials.Password)
		w := e.pin
		if !step.OnPin {
			var err error
			if w, err = dialServer(e.server); err != nil {
				return nil, err
			}
			defer w.Close()
		}
		return w.frames(auth, 1)
	}
	w, err := e.connFor(step)
	if err != nil {
		return nil, err
	}
	frames, err := w.frames(step.Raw, step.Replies)
	if step.Kind == session.Dedicated && err == nil {
		db, known := step.Database(frames)
		if step.Destroy || !known || db != step.Identity.DB {
			_ = w.Close()
		} else {
			e.idle[step.Identity] = append(e.idle[step.Identity], w)
		}
	}
	return frames, err
}

func (e *executor) connFor(step *session.Step) (*wire, error) {
	switch {
	case step.OnPin:
		return e.pin, nil
	case step.Kind == session.Multiplexed, step.Kind == session.Transaction:
		return e.lane(step.Identity)
	case step.Kind == session.Pin:
		w, err := e.dedicated(step.Identity)
		e.pin, e.pinKey = w, step.Identity
		return w, err
	case step.Kind == session.Dedicated:
		return e.dedicated(step.Identity)
	}
	return nil, errors.New("the step cannot run")
}

func (e *executor) subscriptions(step *session.Step) {
	if step.Kind == session.Unsubscribe {
		for _, topic := range step.Topics {
			delete(e.topics, topic)
		}
	}
}

func (e *executor) release(r session.Release) error {
	for _, topic := range r.Topics {
		if !e.topics[topic] {
			return fmt.Errorf("%v is released without a subscription", topic)
		}
		delete(e.topics, topic)
	}
	switch r.Conn {
	case session.Clean:
		e.idle[e.pinKey] = append(e.idle[e.pinKey], e.pin)
		e.pin = nil
	case session.Destroy:
		if e.pin == nil {
			return errors.New("a connection is released, but none is pinned")
		}
		_ = e.pin.Close()
		e.pin = nil
	}
	return nil
}

// direct runs requests on one connection and returns everything that the server sends.
func direct(w *wire, all [][]string) ([]byte, error) {
	var raw []byte
	for _, words := range all {
		b, _ := request(words...)
		raw = append(raw, b...)
	}
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	end := []byte("$12\r\nthe very end\r\n")
	for !bytes.HasSuffix(w.buf, end) {
		if err := w.more(); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				break
			}
			return w.buf, err
		}
	}
	return w.buf, nil
}
