package blocking

import (
	"context"
	"sync"
	"testing"
)

// memory is a Sender and a Watcher with a server in memory. It replies within Send, unless held.
type memory struct {
	mu     sync.Mutex
	server listServer
	subs   map[string]Subscriber
	held   []*Attempt
	hold   bool
	answer func(a *Attempt) *Outcome // nil: the server replies
	sent   []string
	log    bool
}

func newMemory() *memory {
	m := &memory{subs: map[string]Subscriber{}}
	m.server.lists = map[string][]string{}
	return m
}

func (m *memory) Send(a *Attempt) {
	m.mu.Lock()
	if m.log {
		m.sent = append(m.sent, join(a.Args))
	}
	if m.hold {
		m.held = append(m.held, a)
		m.mu.Unlock()
		return
	}
	o := m.outcome(a)
	m.mu.Unlock()
	a.Done(o)
}

func (m *memory) outcome(a *Attempt) Outcome {
	if m.answer != nil {
		if o := m.answer(a); o != nil {
			return *o
		}
	}
	return Outcome{Reply: m.server.run(a.Args)}
}

// release replies to the attempts held so far.
func (m *memory) release() {
	m.mu.Lock()
	held := m.held
	m.held, m.hold = nil, false
	m.mu.Unlock()
	for _, a := range held {
		m.mu.Lock()
		o := m.outcome(a)
		m.mu.Unlock()
		a.Done(o)
	}
}

func (m *memory) Watch(keys []string, s Subscriber) {
	m.mu.Lock()
	for _, k := range keys {
		m.subs[k] = s
	}
	m.mu.Unlock()
	s.Changed(keys...)
}

func (m *memory) Unwatch(keys []string, _ Subscriber) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range keys {
		delete(m.subs, k)
	}
}

func (m *memory) push(key string, elements ...string) {
	m.mu.Lock()
	for _, e := range elements {
		m.server.push(key, false, e)
	}
	s := m.subs[key]
	m.mu.Unlock()
	if s != nil {
		s.Changed(key)
	}
}

func (m *memory) list(key string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.server.lists[key]
}

func request(line string) Request {
	form, ok := Parse(words(line))
	if !ok {
		panic("Parse refuses " + line)
	}
	return Request{Form: form, Identity: 0}
}

func start(t *testing.T, s *Waits, line string) (*Wait, chan Result) {
	t.Helper()
	done := make(chan Result, 1)
	w, err := s.Start(request(line), func(r Result) { done <- r })
	if err != nil {
		t.Fatal(err)
	}
	return w, done
}

func reply(t *testing.T, done chan Result) string {
	t.Helper()
	select {
	case r := <-done:
		if r.Err != nil {
			return r.Err.Error()
		}
		return string(r.Reply)
	default:
		t.Helper()
		return "waiting"
	}
}

func expect(t *testing.T, done chan Result, want string) {
	t.Helper()
	if got := reply(t, done); got != want {
		t.Errorf("the wait ended with %q: want %q", got, want)
	}
}

func closeWaits(t *testing.T, s *Waits) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

const (
	popX    = "*2\r\n$1\r\na\r\n$1\r\nx\r\n"
	popY    = "*2\r\n$1\r\na\r\n$1\r\ny\r\n"
	null    = "*-1\r\n"
	waitsOn = "waiting"
)
