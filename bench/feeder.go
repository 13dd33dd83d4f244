package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"
)

const (
	pushEvery = time.Millisecond       // interval of pushes of the cases many and alone
	blockIn   = 300 * time.Microsecond // time for a caller that got an element to block again
	unread    = 64                     // most entries of a stream that no consumer has got; fewer than consumers
	unreplied = 100                    // most pushes of the case many in flight
)

// feeder provides the elements that callers wait for, through its own plain connection. An element
// is the time of its push.
type feeder struct {
	conn    redis.Conn
	load    load
	keys    []string
	callers int
	zero    time.Time // of the times in the elements
	pending int       // pushes without a reply yet

	outstanding chan struct{} // elements that no caller has got, up to its capacity
	over        chan struct{}
	ended       chan error
}

// openFeeder connects and deletes what an earlier measurement left.
func openFeeder(ctx context.Context, addr string, c benchCase) (*feeder, error) {
	f := &feeder{load: c.Load, keys: []string{waitKey(c, 0)}, callers: c.Callers, zero: time.Now(),
		over: make(chan struct{}), ended: make(chan error, 1)}
	switch c.Load {
	case many:
		for i := 1; i < c.Callers; i++ {
			f.keys = append(f.keys, waitKey(c, i))
		}
	case group:
		f.outstanding = make(chan struct{}, unread)
	default:
		f.outstanding = make(chan struct{}, 1)
	}
	var err error
	if f.conn, err = redis.DialContext(ctx, "tcp", addr); err != nil {
		return nil, err
	}
	_, err = f.conn.Do("DEL", redis.Args{}.AddFlat(f.keys)...)
	if err == nil && c.Load == group {
		_, err = f.conn.Do("XGROUP", "CREATE", f.keys[0], streamGroup, "$", "MKSTREAM")
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *feeder) close() { _ = f.conn.Close() }

// start begins to feed, in a goroutine that ends in stop.
func (f *feeder) start() {
	go func() {
		run := f.refill
		if f.load == many {
			run = f.pace
		}
		err := run()
		if err == nil {
			<-f.over
			err = f.release()
		}
		f.ended <- err
	}()
}

// stop ends the feeding and pushes another element for each caller, so that all of them return.
func (f *feeder) stop() error {
	close(f.over)
	if err := <-f.ended; err != nil {
		return fmt.Errorf("feed the callers: %w", err)
	}
	return nil
}

// pace pushes to all keys in random order, at a fixed rate.
func (f *feeder) pace() error {
	order := rand.Perm(len(f.keys))
	next := time.Now()
	for i := 0; ; i++ {
		next = next.Add(pushEvery)
		select {
		case <-time.After(time.Until(next)):
		case <-f.over:
			return nil
		}
		if err := f.push(f.keys[order[i%len(order)]], 1); err != nil {
			return err
		}
		if f.pending >= unreplied {
			if err := f.receive(1); err != nil {
				return err
			}
		}
	}
}

// refill pushes to one key, as many elements as may be outstanding.
func (f *feeder) refill() error {
	next := time.Now()
	for {
		select {
		case f.outstanding <- struct{}{}:
		case <-f.over:
			return nil
		}
		if err := f.receive(f.pending); err != nil {
			return err
		}
		if f.load == alone {
			time.Sleep(max(blockIn, time.Until(next)))
			next = time.Now().Add(pushEvery)
		}
		n := 1
		for len(f.outstanding) < cap(f.outstanding) {
			f.outstanding <- struct{}{} // only this goroutine adds
			n++
		}
		if err := f.push(f.keys[0], n); err != nil {
			return err
		}
	}
}

// release pushes an element for each caller.
func (f *feeder) release() error {
	each := f.callers / len(f.keys)
	for _, key := range f.keys {
		if err := f.push(key, each); err != nil {
			return err
		}
	}
	return f.receive(f.pending)
}

// push writes n pushes.
func (f *feeder) push(key string, n int) error {
	now := strconv.FormatInt(int64(time.Since(f.zero)), 10)
	for range n {
		var err error
		if f.load == group {
			err = f.conn.Send("XADD", key, "*", streamField, now)
		} else {
			err = f.conn.Send("RPUSH", key, now)
		}
		if err != nil {
			return err
		}
	}
	f.pending += n
	return f.conn.Flush()
}

// receive reads n replies to pushes.
func (f *feeder) receive(n int) error {
	for range n {
		if _, err := f.conn.Receive(); err != nil {
			return err
		}
		f.pending--
	}
	return nil
}

// got returns the time of the push of an element that a caller got.
func (f *feeder) got(element string) (time.Time, error) {
	n, err := strconv.ParseInt(element, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("the element is %.80q: want the time of its push", element)
	}
	select {
	case <-f.outstanding: // nil in the case many
	default:
	}
	return f.zero.Add(time.Duration(n)), nil
}

// waitKey is the key on which a caller waits.
func waitKey(c benchCase, caller int) string {
	switch c.Load {
	case many:
		return "bench:wait:" + strconv.Itoa(caller)
	case group:
		return "bench:stream"
	default:
		return "bench:wait"
	}
}
