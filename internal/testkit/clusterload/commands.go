package clusterload

import (
	"context"
	"errors"
	"strconv"
)

// registers are the keys that setters write and getters read. Each has one setter.
type registers struct{ of []register }

func (r *registers) key(c *caller, i int) string {
	return (&caller{load: c.load}).key(i, "register")
}

// setter sets keys to rising numbers.
type setter struct{ *registers }

func (*setter) prepare(context.Context, *caller) error { return nil }

func (s *setter) call(ctx context.Context, c *caller, i int) {
	r := &s.of[i]
	n := r.begin()
	if err := c.load.client.Set(ctx, s.key(c, i), strconv.FormatInt(n, 10)); err != nil {
		c.failed(err)
		return
	}
	r.done(n)
}

func (s *setter) finish(ctx context.Context, c *caller) {
	for i := range c.own {
		read(ctx, c, s.registers, i)
	}
}

// getter reads the keys of the setters: it never sees an older value than one that was acknowledged.
type getter struct{ *registers }

func (*getter) prepare(context.Context, *caller) error { return nil }
func (*getter) finish(context.Context, *caller)        {}

func (g *getter) call(ctx context.Context, c *caller, i int) { read(ctx, c, g.registers, i) }

func read(ctx context.Context, c *caller, all *registers, i int) {
	r := &all.of[i]
	_, acked := r.state()
	text, err := c.load.client.Get(ctx, all.key(c, i))
	if err != nil {
		c.failed(err)
		return
	}
	c.found(r.read(text, acked))
}

// counter increments keys.
type counter struct {
	name string
	incr func(ctx context.Context, c *caller, key string) ([]int64, error)
	of   map[int]*counts
}

// counts are the series of the two keys of a slot.
type counts [2]series

// suffixes are the ends of the two keys.
var suffixes = [2]string{"a", "b"}

func (j *counter) prepare(_ context.Context, _ *caller) error {
	j.of = map[int]*counts{}
	return nil
}

func (j *counter) call(ctx context.Context, c *caller, i int) {
	s := j.of[i]
	if s == nil {
		s = &counts{}
		j.of[i] = s
	}
	replies, err := j.incr(ctx, c, c.key(i, j.name))
	if errors.Is(err, ErrConflict) {
		c.kind.mu.Lock()
		c.kind.report.Conflicts++
		c.kind.mu.Unlock()
		return
	}
	if err != nil {
		c.failed(err)
		s[0].unsure++
		s[1].unsure++
		return
	}
	for n, reply := range replies {
		c.found(s[n].counted(reply))
	}
}

func (j *counter) finish(ctx context.Context, c *caller) {
	for i, s := range j.of {
		for n := range s {
			if s[n] == (series{}) {
				continue
			}
			text, err := c.load.client.Get(ctx, c.key(i, j.name)+suffixes[n])
			if err != nil {
				c.failed(err)
				continue
			}
			got, _ := strconv.ParseInt(text, 10, 64)
			c.found(s[n].ends(got))
		}
	}
}

func incr(ctx context.Context, c *caller, key string) ([]int64, error) {
	n, err := c.load.client.Incr(ctx, key+suffixes[0])
	return []int64{n}, err
}

func watch(ctx context.Context, c *caller, key string) ([]int64, error) {
	n, err := c.load.client.WatchIncr(ctx, key+suffixes[0])
	return []int64{n}, err
}

func multi(ctx context.Context, c *caller, key string) ([]int64, error) {
	return c.load.client.Multi(ctx, key+suffixes[0], key+suffixes[1])
}

// eval runs a script with two keys. It returns the number of the second one.
func eval(ctx context.Context, c *caller, key string) ([]int64, error) {
	n, err := c.load.client.Eval(ctx, key+suffixes[0], key+suffixes[1])
	return []int64{n, n}, err // both keys count the calls
}

// pipeliner sends pipelines over several slots: to each slot two elements of a list, and INCR.
type pipeliner struct {
	counters map[int]*series
	lists    map[int]*pushes
}

// pushes are the elements that were pushed to a list: 1 to n.
type pushes struct {
	n      int64
	failed map[int64]bool // their calls failed: the list may lack them
}

// slotsOfPipeline is the number of slots that a pipeline uses.
const slotsOfPipeline = 6

func (j *pipeliner) prepare(context.Context, *caller) error {
	j.counters, j.lists = map[int]*series{}, map[int]*pushes{}
	return nil
}

func (j *pipeliner) call(ctx context.Context, c *caller, i int) {
	slots := []int{i}
	for len(slots) < slotsOfPipeline {
		slots = append(slots, c.pick())
	}
	var commands []Command
	var pushed []int64 // the element of a command; 0: it is INCR
	for pass := range 3 {
		for _, i := range slots {
			if j.lists[i] == nil {
				j.counters[i], j.lists[i] = &series{}, &pushes{failed: map[int64]bool{}}
			}
			if pass == 1 {
				commands, pushed = append(commands, Command{Key: c.key(i, "pipe")}), append(pushed, 0)
				continue
			}
			l := j.lists[i]
			l.n++
			commands = append(commands, Command{c.key(i, "list"), strconv.FormatInt(l.n, 10)})
			pushed = append(pushed, l.n)
		}
	}
	for n, r := range c.load.client.Pipeline(ctx, commands) {
		i := slots[n%len(slots)]
		switch {
		case r.Err != nil:
			if c.failed(r.Err); pushed[n] > 0 {
				j.lists[i].failed[pushed[n]] = true
			} else {
				j.counters[i].unsure++
			}
		case pushed[n] == 0:
			c.found(j.counters[i].counted(r.N))
		}
	}
}

// finish checks the lists: each element is there once, and they are in order.
func (j *pipeliner) finish(ctx context.Context, c *caller) {
	for i, l := range j.lists {
		texts, err := c.load.client.Range(ctx, c.key(i, "list"))
		if err != nil {
			c.failed(err)
			continue
		}
		c.found(l.check(texts))
	}
}

func (l *pushes) check(texts []string) (f faults) {
	seen, last := map[int64]bool{}, int64(0)
	for _, text := range texts {
		n, _ := strconv.ParseInt(text, 10, 64)
		switch {
		case seen[n]:
			f.Doubled++
		case n < last:
			f.Disordered++
		default:
			last = n
		}
		seen[n] = true
	}
	for n := int64(1); n <= l.n; n++ {
		if !seen[n] && !l.failed[n] {
			f.Lost++
		}
	}
	return f
}
