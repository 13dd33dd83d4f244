package clusterload

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// waitFor is the timeout of blocking commands. An element arrives much earlier, unless it is lost.
const waitFor = 10 * time.Second

// queue is a list or a stream.
type queue interface {
	name() string
	open(ctx context.Context, client Client, key string) error
	push(ctx context.Context, client Client, key, value string) error
	take(ctx context.Context, client Client, key string) ([]string, error)
	// rest returns the elements that nobody took.
	rest(ctx context.Context, client Client, key string) ([]string, error)
}

type list struct{}

func (list) name() string                               { return "queue" }
func (list) open(context.Context, Client, string) error { return nil }
func (list) push(ctx context.Context, client Client, key, value string) error {
	return client.Push(ctx, key, value)
}
func (list) take(ctx context.Context, client Client, key string) ([]string, error) {
	text, err := client.Pop(ctx, key, waitFor)
	return []string{text}, err
}
func (list) rest(ctx context.Context, client Client, key string) ([]string, error) {
	return client.Range(ctx, key)
}

type stream struct{}

func (stream) name() string { return "stream" }
func (stream) open(ctx context.Context, client Client, key string) error {
	return client.CreateGroup(ctx, key)
}
func (stream) push(ctx context.Context, client Client, key, value string) error {
	return client.Add(ctx, key, value)
}
func (stream) take(ctx context.Context, client Client, key string) ([]string, error) {
	return client.ReadGroup(ctx, key, waitFor)
}
func (stream) rest(ctx context.Context, client Client, key string) ([]string, error) {
	texts, err := client.ReadGroup(ctx, key, time.Millisecond)
	if errors.Is(err, ErrNothing) {
		err = nil
	}
	return texts, err
}

// consumer waits for elements of a key while others push them.
type consumer struct {
	queue
	of map[int]*queued
}

// queued is the state of a key.
type queued struct {
	pushed int64
	taken  series
}

func (j *consumer) prepare(ctx context.Context, c *caller) error {
	j.of = map[int]*queued{}
	for i := range c.own {
		if err := j.open(ctx, c.load.client, c.key(i, j.name())); err != nil {
			return err
		}
		j.of[i] = &queued{}
	}
	return nil
}

// elements is the number of elements of a call.
const elements = 2

func (j *consumer) call(ctx context.Context, c *caller, i int) {
	key, q := c.key(i, j.name()), j.of[i]
	var failed atomic.Int64 // pushes
	var pushing sync.WaitGroup
	first, after := q.pushed+1, time.Duration(c.random.IntN(3))*time.Millisecond
	q.pushed += elements
	pushing.Go(func() {
		<-time.After(after) // so that the consumer waits most of the time
		for n := first; n < first+elements; n++ {
			if err := j.push(ctx, c.load.client, key, strconv.FormatInt(n, 10)); err != nil {
				c.failed(err)
				failed.Add(1)
			}
		}
	})
	for q.taken.last < q.pushed {
		texts, err := j.take(ctx, c.load.client, key)
		if errors.Is(err, ErrNothing) {
			c.found(faults{Lost: max(0, q.pushed-q.taken.last-q.taken.unsure-failed.Load())})
			q.taken = series{last: q.pushed}
			break
		}
		if err != nil {
			c.failed(err)
			q.taken.unsure++
			break
		}
		q.taken.unsure += failed.Swap(0)
		for _, text := range texts {
			n, _ := strconv.ParseInt(text, 10, 64)
			c.found(q.taken.delivered(n))
		}
	}
	pushing.Wait()
	q.taken.unsure += failed.Load()
}

func (j *consumer) finish(ctx context.Context, c *caller) {
	for i, q := range j.of {
		if q.pushed == 0 {
			continue
		}
		texts, err := j.rest(ctx, c.load.client, c.key(i, j.name()))
		if err != nil {
			c.failed(err)
			continue
		}
		for _, text := range texts {
			n, _ := strconv.ParseInt(text, 10, 64)
			c.found(q.taken.delivered(n))
		}
		c.found(faults{Lost: max(0, q.pushed-q.taken.last-q.taken.unsure)})
	}
}

// subscriber subscribes to shard channels, and publishes to them.
type subscriber struct {
	channels map[int]*channel // by index of the slot
	indices  []int
	gaps     atomic.Int64
	stop     func()
}

// channel is the state of a channel.
type channel struct {
	name string

	mu        sync.Mutex
	published int64
	received  series
	gaps      int64 // of the subscription, at the last message
	uncertain int64 // messages up to this one were published before the end of the last gap
	missed    int64
	late      int64
}

func (j *subscriber) prepare(ctx context.Context, c *caller) (err error) {
	j.channels = map[int]*channel{}
	byName := map[string]*channel{}
	var names []string
	own := 0
	for range c.own {
		own++
	}
	every, n := max(1, own/c.load.cfg.Channels), 0
	for i := range c.own {
		if n++; n%every != 0 || len(j.indices) == c.load.cfg.Channels {
			continue
		}
		ch := &channel{name: c.key(i, "channel")}
		j.channels[i], byName[ch.name] = ch, ch
		names, j.indices = append(names, ch.name), append(j.indices, i)
	}
	j.stop, err = c.load.client.Subscribe(ctx, names, func(name, payload string) {
		if ch := byName[name]; ch != nil {
			n, _ := strconv.ParseInt(payload, 10, 64)
			c.found(ch.receive(n, j.gaps.Load()))
		}
	}, func() { j.gaps.Add(1) })
	return err
}

// receive takes a message. Before it, the subscription has reported a number of gaps. Messages that were published before the
// end of a gap may be missing. After a failover they may also arrive late or twice: the demoted primary still accepts
// messages, and passes them on to its successor while the successor takes later ones.
func (ch *channel) receive(n, gaps int64) faults {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if gaps > ch.gaps {
		ch.gaps, ch.uncertain = gaps, ch.published
	}
	if n <= ch.received.last && n <= ch.uncertain {
		ch.late++
		return faults{}
	}
	if missing := min(n-1, ch.uncertain) - ch.received.last; missing > 0 {
		ch.missed += missing
		ch.received.unsure += missing
	}
	return ch.received.delivered(n)
}

// call publishes to the channel whose slot is next to i.
func (j *subscriber) call(ctx context.Context, c *caller, i int) {
	best := j.indices[0]
	for _, at := range j.indices {
		if abs(at-i) < abs(best-i) {
			best = at
		}
	}
	j.publish(ctx, c, j.channels[best])
}

func abs(n int) int { return max(n, -n) }

func (j *subscriber) publish(ctx context.Context, c *caller, ch *channel) {
	ch.mu.Lock()
	ch.published++
	n := ch.published
	ch.mu.Unlock()
	if err := c.load.client.Publish(ctx, ch.name, strconv.FormatInt(n, 10)); err != nil {
		c.failed(err)
		ch.mu.Lock()
		ch.received.unsure++
		ch.mu.Unlock()
	}
}

// finish publishes a last message to each channel. One that arrives neither in time, nor after a gap, is lost.
func (j *subscriber) finish(ctx context.Context, c *caller) {
	for _, ch := range j.channels {
		arrived := false
		for range 5 {
			j.publish(ctx, c, ch)
			for end := time.Now().Add(2 * time.Second); !arrived && time.Now().Before(end); time.Sleep(time.Millisecond) {
				ch.mu.Lock()
				arrived = ch.received.last == ch.published
				ch.mu.Unlock()
			}
			if arrived {
				break
			}
		}
	}
	j.stop()
	for _, ch := range j.channels {
		c.found(faults{Lost: max(0, ch.published-ch.received.last-ch.received.unsure)})
		c.kind.mu.Lock()
		c.kind.report.Missed += ch.missed
		c.kind.report.Late += ch.late
		c.kind.mu.Unlock()
	}
	c.kind.mu.Lock()
	c.kind.report.Gaps += j.gaps.Load()
	c.kind.mu.Unlock()
}
