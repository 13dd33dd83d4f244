package drill

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
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
)

// restBetween is the time between two operations of a caller. A drill does not measure throughput.
const restBetween = 5 * time.Millisecond

// load runs all callers of a drill.
type load struct {
	client  *respool.Client
	prefix  string
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	count   atomic.Int64
	writers []*writer
	lists   int // lists with a caller in BLPOP

	readKeys int // keys that readers GET

	reads, writes, pops, messages *callerStats
}

func newLoad(c *respool.Client, prefix string) *load {
	return &load{client: c, prefix: prefix, readKeys: 1,
		reads: newCallerStats("readers"), writes: newCallerStats("writers"), pops: newCallerStats("blocked"), messages: newCallerStats("subscribers")}
}

func (l *load) key(kind string, i int) string { return l.prefix + kind + ":" + strconv.Itoa(i) }

func (l *load) operations() int64 { return l.count.Load() }

func (l *load) start(ctx context.Context, d *Config) error {
	l.ctx, l.cancel = context.WithCancel(ctx)
	for i := range l.readKeys {
		if err := l.client.Do(ctx, "SET", l.key("read", i), "value").Err(); err != nil {
			return err
		}
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
	for i := range d.Readers {
		l.wg.Go(func() { l.read(i % l.readKeys) })
	}
	for i := range d.Writers {
		w := &writer{key: l.key("write", i), acked: map[int]bool{}, unknown: map[int]bool{}}
		l.writers = append(l.writers, w)
		l.wg.Go(func() { l.write(w) })
	}
	l.lists = d.Blocked
	for i := range l.lists {
		l.wg.Go(func() { l.pop(i) })
		l.wg.Go(func() { l.push(i) })
	}
	if d.Subscribers > 0 {
		l.wg.Go(l.publish)
	}
	return nil
}

// stop ends all callers and waits for them.
func (l *load) stop() {
	if l.cancel != nil {
		l.cancel()
	}
	l.wg.Wait()
}

// each runs one operation after the other until the load stops.
func (l *load) each(s *callerStats, rest time.Duration, do func(n int) error) {
	last := time.Now() // of a success, or the beginning
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
			s.paused(time.Since(last))
			last = time.Now()
		}
		if pause.For(l.ctx, rest) != nil {
			return
		}
	}
}

func (l *load) read(i int) {
	l.each(l.reads, restBetween, func(int) error {
		text, err := l.client.Do(l.ctx, "GET", l.key("read", i)).Text()
		if err == nil && text != "value" {
			return fmt.Errorf("GET returned %.40q", text)
		}
		if errors.Is(err, respool.ErrNil) {
			return nil // not replicated in time: not an error of the connection
		}
		return err
	})
}

func (l *load) write(w *writer) {
	l.each(l.writes, restBetween, func(n int) error {
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

// popTimeout is the timeout of BLPOP, in seconds.
const popTimeout = 2

func (l *load) pop(i int) {
	l.each(l.pops, 0, func(int) error {
		_, err := l.client.Do(l.ctx, "BLPOP", l.key("list", i), popTimeout).Array()
		if errors.Is(err, respool.ErrNil) {
			return nil
		}
		return err
	})
}

// push feeds the callers in BLPOP. Its own operations are not counted.
func (l *load) push(i int) {
	for pause.For(l.ctx, 20*restBetween) == nil {
		l.client.Do(l.ctx, "RPUSH", l.key("list", i), "element")
	}
}

func (l *load) publish() {
	for pause.For(l.ctx, 2*restBetween) == nil {
		l.client.Do(l.ctx, "PUBLISH", l.prefix+"channel", "message")
	}
}

func (l *load) receive(sub *respool.Subscription) {
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

// verify compares the acknowledgements with the data on the new primary.
func (l *load) verify(ctx context.Context) error {
	for _, w := range l.writers {
		there, err := l.client.Do(ctx, "HGETALL", w.key).Map()
		if err != nil {
			return fmt.Errorf("read the written values: %w", err)
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
				w.unknownDone++
			}
		}
	}
	return nil
}

// readKeysOfCluster is the number of keys that readers GET in a cluster, so that they read from each primary.
const readKeysOfCluster = 50

// keys are all keys of the callers. Those that are written come first.
func (l *load) keys() (keys []string) {
	for i := range l.writers {
		keys = append(keys, l.key("write", i))
	}
	for i := range l.lists {
		keys = append(keys, l.key("list", i))
	}
	for i := range l.readKeys {
		keys = append(keys, l.key("read", i))
	}
	return keys
}

// remove deletes the keys, after an interruption too.
func (l *load) remove() {
	l.stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// Commands of the callers on other connections may still be executed.
	for l.client.Stats().RepliesDue > 0 && pause.For(ctx, time.Millisecond) == nil {
	}
	p := l.client.Pipeline()
	for _, key := range l.keys() {
		p.Do("UNLINK", key)
	}
	if _, err := p.Exec(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "respool: cannot remove the keys %s...: %v\n", strings.TrimSuffix(l.prefix, ":"), err)
	}
}
