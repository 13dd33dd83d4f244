package main

import (
	"fmt"
	"time"
)

// operation is what a caller repeats. It counts as weight operations.
type operation struct {
	do     func() error
	weight int
	timed  bool // its latencies are those of the case
	// from is where the latency of the last do begins. If it is nil or zero, that is the start of do.
	from *time.Time
}

// operations returns the operation of each caller.
func (l *loadRun) operations(c benchCase) []operation {
	cl := l.client
	keys := makeKeys(c.Size, c.Keys)
	ops := make([]operation, c.Callers)
	for i := range ops {
		r := uint32(i)*2654435761 + 1
		next := func() uint32 {
			r ^= r << 13
			r ^= r >> 17
			r ^= r << 5
			return r
		}
		n := i
		getOrSet := func() command {
			k := keys[next()%uint32(len(keys))]
			n++
			return command{set: n%5 == 0, key: k.name, value: k.value}
		}
		op := operation{weight: 1, timed: true}
		switch c.Load {
		case pop:
			op.do = func() error { return pushAndPop(cl, i) }
		case many, alone:
			key := waitKey(c, i)
			op = l.waiting(func() (string, error) { return cl.pop(i, key, 0) })
		case group:
			key := waitKey(c, i)
			op = l.waiting(func() (string, error) { return cl.read(i, key) })
		case mixed:
			op = mixedCommands(cl, i, next)
		case hold:
			op.do = func() error {
				k := getOrSet()
				return cl.hold(i, k.key, k.value)
			}
		case pipeline:
			op.weight = batch
			cmds := make([]command, batch)
			op.do = func() error {
				for j := range cmds {
					cmds[j] = getOrSet()
				}
				return cl.pipeline(i, cmds)
			}
		default:
			op.do = func() error {
				k := getOrSet()
				if k.set {
					return cl.set(i, k.key, k.value)
				}
				return cl.get(i, k.key, k.value)
			}
		}
		ops[i] = op
	}
	return ops
}

// pushAndPop adds an element and takes one, which may be that of another caller.
func pushAndPop(cl client, caller int) error {
	if err := cl.push(caller, popKey, popValue); err != nil {
		return err
	}
	got, err := cl.pop(caller, popKey, popTimeout)
	if err == nil && got != popValue {
		err = fmt.Errorf("BLPOP %s: the element is %.80q: want %q", popKey, got, popValue)
	}
	return err
}

// waiting returns the operation of a caller that waits for an element of the feeder. Its latency
// begins with the push.
func (l *loadRun) waiting(take func() (string, error)) operation {
	pushed := new(time.Time)
	return operation{weight: 1, timed: true, from: pushed, do: func() error {
		element, err := take()
		if err != nil {
			return err
		}
		*pushed, err = l.feeder.got(element)
		return err
	}}
}

const (
	blockOneIn = 20
	blockFor   = 50 * time.Millisecond
)

// mixedCommands returns ECHO and INCR in turn and, at random, BLPOP on an empty key. The latency of
// BLPOP begins with its timeout.
func mixedCommands(cl client, caller int, next func() uint32) operation {
	n := caller
	text := consumer(caller)
	from := new(time.Time)
	return operation{weight: 1, timed: true, from: from, do: func() error {
		*from = time.Time{}
		if next()%blockOneIn == 0 {
			*from = time.Now().Add(blockFor)
			got, err := cl.pop(caller, emptyKey, blockFor)
			if err == nil && got != "" {
				err = fmt.Errorf("BLPOP %s: the element is %.80q: want a timeout", emptyKey, got)
			}
			return err
		}
		if n++; n%2 == 0 {
			return cl.incr(caller, counterKey)
		}
		return cl.echo(caller, text)
	}}
}
