package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// drillPause is how long a caller rests between two operations: it is not
// throughput that a drill is about.
const drillPause = 5 * time.Millisecond

// seen is what the callers of one kind saw.
type seen struct {
	kind string

	mu      sync.Mutex
	ops     int64
	errors  map[string]int64 // by kind of error
	first   map[string]string
	last    time.Time     // when any of them succeeded last
	outage  time.Duration // the longest time in which none succeeded
	longest time.Duration // the longest operation that succeeded
	gaps    int64         // of subscribers
}

func newSeen(kind string) *seen {
	return &seen{kind: kind, errors: map[string]int64{}, first: map[string]string{}}
}

func (s *seen) success(began time.Time) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	if !s.last.IsZero() {
		s.outage = max(s.outage, now.Sub(s.last))
	}
	s.last = now
	s.longest = max(s.longest, now.Sub(began))
}

func (s *seen) failure(err error) {
	kind := errorKind(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors[kind]++; s.first[kind] == "" {
		s.first[kind] = err.Error()
	}
}

// errorKind names what matters of an error: may the command have been executed?
func errorKind(err error) string {
	var ce *respool.ConnError
	var se *respool.ServerError
	switch {
	case errors.As(err, &ce) && ce.Sent:
		return "sent, outcome unknown"
	case errors.As(err, &ce), errors.Is(err, respool.ErrPoolExhausted):
		return "not sent"
	case errors.As(err, &se):
		return "refused: " + se.Code
	}
	return "other"
}

// drillLoad is all callers of a drill.
type drillLoad struct {
	client  *respool.Client
	prefix  string
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	count   atomic.Int64
	writers []*drillWriter

	reads, writes, pops, messages *seen
}

func newDrillLoad(c *respool.Client, prefix string) *drillLoad {
	return &drillLoad{client: c, prefix: prefix,
		reads: newSeen("readers"), writes: newSeen("writers"), pops: newSeen("blocked"), messages: newSeen("subscribers")}
}

func (l *drillLoad) key(kind string, i int) string { return l.prefix + kind + ":" + strconv.Itoa(i) }

func (l *drillLoad) operations() int64 { return l.count.Load() }

func (l *drillLoad) begin(ctx context.Context, d *drillCmd) error {
	l.ctx, l.cancel = context.WithCancel(ctx)
	if err := l.client.Do(ctx, "SET", l.key("read", 0), "value").Err(); err != nil {
		return err
	}
	var subscriptions []*respool.Subscription
	for range d.Subscribers {
		sub, err := l.client.Subscribe(ctx, l.prefix+"channel")
		if err != nil {
			return err
		}
		subscriptions = append(subscriptions, sub)
	}
	for _, sub := range subscriptions {
		l.wg.Go(func() { l.receive(sub) })
	}
	for range d.Readers {
		l.wg.Go(l.read)
	}
	for i := range d.Writers {
		w := &drillWriter{key: l.key("write", i), acked: map[int]bool{}, unknown: map[int]bool{}}
		l.writers = append(l.writers, w)
		l.wg.Go(func() { l.write(w) })
	}
	for i := range d.Blocked {
		l.wg.Go(func() { l.pop(i) })
		l.wg.Go(func() { l.push(i) })
	}
	if d.Subscribers > 0 {
		l.wg.Go(l.publish)
	}
	return nil
}

// end stops all callers.
func (l *drillLoad) end() {
	if l.cancel != nil {
		l.cancel()
	}
	l.wg.Wait()
}

// each runs one operation after the other until the end.
func (l *drillLoad) each(s *seen, rest time.Duration, do func(n int) error) {
	for n := 0; ; n++ {
		began := time.Now()
		err := do(n)
		if l.ctx.Err() != nil {
			return
		}
		l.count.Add(1)
		if err != nil {
			s.failure(err)
		} else {
			s.success(began)
		}
		if pause(l.ctx, rest) != nil {
			return
		}
	}
}

func (l *drillLoad) read() {
	l.each(l.reads, drillPause, func(int) error {
		text, err := l.client.Do(l.ctx, "GET", l.key("read", 0)).Text()
		if err == nil && text != "value" {
			return fmt.Errorf("GET gave %.40q", text)
		}
		if errors.Is(err, respool.ErrNil) {
			return nil // it was not replicated in time: no fault of the connection
		}
		return err
	})
}

// drillWriter increments a field of its own for each operation, so that the
// end tells of each whether it was done, and how often.
type drillWriter struct {
	key     string
	acked   map[int]bool
	unknown map[int]bool // sent, and no reply
	n       int
	lost    int // acknowledged, and not there in the end
	twice   int // there more than once
	came    int // outcome unknown, and there
}

func (l *drillLoad) write(w *drillWriter) {
	l.each(l.writes, drillPause, func(n int) error {
		w.n = n + 1
		v, err := l.client.Do(l.ctx, "HINCRBY", w.key, n, 1).Int64()
		var ce *respool.ConnError
		switch {
		case err == nil:
			w.acked[n] = true
			if v > 1 {
				w.twice++
			}
		case errors.As(err, &ce) && ce.Sent && l.ctx.Err() == nil:
			w.unknown[n] = true
		}
		return err
	})
}

// blockFor is the BLPOP's own timeout.
const blockFor = 2

func (l *drillLoad) pop(i int) {
	l.each(l.pops, 0, func(int) error {
		_, err := l.client.Do(l.ctx, "BLPOP", l.key("list", i), blockFor).Array()
		if errors.Is(err, respool.ErrNil) {
			return nil
		}
		return err
	})
}

// push feeds those in BLPOP, and does not count.
func (l *drillLoad) push(i int) {
	for pause(l.ctx, 20*drillPause) == nil {
		l.client.Do(l.ctx, "RPUSH", l.key("list", i), "element")
	}
}

func (l *drillLoad) publish() {
	for pause(l.ctx, 2*drillPause) == nil {
		l.client.Do(l.ctx, "PUBLISH", l.prefix+"channel", "message")
	}
}

func (l *drillLoad) receive(sub *respool.Subscription) {
	defer sub.Close()
	for {
		m, err := sub.Receive(l.ctx)
		if l.ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
			l.messages.failure(err)
			return
		case m.Gap != nil:
			l.messages.mu.Lock()
			l.messages.gaps++
			l.messages.mu.Unlock()
		default:
			l.count.Add(1)
			l.messages.success(time.Now())
		}
	}
}

// verify compares what the writers were told with what is there now.
func (l *drillLoad) verify(ctx context.Context) error {
	for _, w := range l.writers {
		there, err := l.client.Do(ctx, "HGETALL", w.key).Map()
		if err != nil {
			return fmt.Errorf("read what the writers wrote: %w", err)
		}
		w.twice = 0
		for n := range w.n {
			v, err := there[strconv.Itoa(n)].Int64()
			switch {
			case err != nil && w.acked[n]:
				w.lost++
			case err == nil && v > 1:
				w.twice++
			case err == nil && w.unknown[n]:
				w.came++
			}
		}
	}
	return nil
}

// remove takes the keys away again, also after an interruption.
func (l *drillLoad) remove() {
	l.end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// What the callers left behind on other connections may be carried out yet.
	for l.client.Stats().RepliesDue > 0 && pause(ctx, time.Millisecond) == nil {
	}
	p := l.client.Pipeline().Do("DEL", l.key("read", 0))
	for i := range l.writers {
		p.Do("UNLINK", l.key("write", i))
	}
	for i := range 1 + l.pops.ops {
		p.Do("DEL", l.key("list", int(i)))
	}
	if _, err := p.Exec(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "respool: the keys %s... could not be removed: %v\n", strings.TrimSuffix(l.prefix, ":"), err)
	}
}
