package keywatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/resp"
)

// world is a core, its driver, and a server with versions of keys. Frames and commands are in transit until a step
// delivers them.
type world struct {
	t   *rapid.T
	c   core
	now time.Duration

	versions map[string]int
	tracked  map[string]bool // nil: tracking is off
	up       bool            // there is a connection
	commands [][]string      // in transit to the server
	frames   [][]byte        // in transit to the core

	watches []*looker
	arrived *looker // has looked at its key, and watches it later; nil: none
}

// looker is a subscriber that looks at its key whenever it is notified.
type looker struct {
	x     *Watch
	key   string
	saw   int // the version at its last look
	ended bool
}

func (*looker) Notify(string, error) {}

var names = []string{"a", "b", "c", "d"}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, versions: map[string]int{}}
	random := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
	w.c.init(10*time.Second, time.Minute, func(n time.Duration) time.Duration { return time.Duration(random.Int64N(int64(n))) })
	return w
}

// settle executes what the core wants.
func (w *world) settle() {
	for {
		raw, r := w.c.next(w.now, nil)
		if r == nil {
			break
		}
		if w.c.flight.len() >= mostInFlight+1 {
			w.t.Fatalf("%d requests are in flight", w.c.flight.len())
		}
		w.c.sent(r)
		for len(raw) > 0 {
			n, err := resp.FrameLen(raw)
			if err != nil {
				w.t.Fatal(err)
			}
			v, _, _ := resp.Decode(raw[:n])
			raw = raw[n:]
			var words []string
			for i := range v.Elems {
				words = append(words, string(v.Elems[i].Str))
			}
			w.commands = append(w.commands, words)
		}
	}
	for _, n := range w.c.takeNotes() {
		if n.watch == nil || n.watch.stopped {
			continue
		}
		l := n.watch.sub.(*looker)
		if n.err != nil {
			if l.ended {
				w.t.Fatal("a watch ended twice")
			}
			l.ended = true
			continue
		}
		n.watch.noted = false
		if l.ended && n.watch.Listed() {
			w.t.Fatal("a watch was notified after its end")
		}
		l.saw = w.versions[l.key]
	}
	if w.c.refusal != nil {
		w.lose() // the driver drops the connection
	}
}

func (w *world) lose() {
	if w.up {
		w.up, w.tracked, w.commands, w.frames = false, nil, nil, nil
		w.c.disconnect()
	}
}

func (w *world) change(key string) {
	w.versions[key]++
	if w.tracked[key] {
		delete(w.tracked, key)
		w.push(invalidation(key))
	}
}

// push sends a push, sometimes ahead of replies that were sent before it.
func (w *world) push(frame []byte) {
	at := len(w.frames)
	if at > 0 && rapid.Bool().Draw(w.t, "overtake") {
		at = rapid.IntRange(0, at).Draw(w.t, "before")
	}
	w.frames = append(w.frames[:at:at], append([][]byte{frame}, w.frames[at:]...)...)
}

// execute runs the server's next command. refusal is the error to reply with; empty: none.
func (w *world) execute(refusal string) {
	if len(w.commands) == 0 {
		return
	}
	command := w.commands[0]
	w.commands = w.commands[1:]
	if refusal != "" {
		w.frames = append(w.frames, []byte("-"+refusal+"\r\n"))
		return
	}
	switch command[0] {
	case "CLIENT":
		w.tracked = nil
		if command[2] == "ON" {
			w.tracked = map[string]bool{}
		}
		w.frames = append(w.frames, []byte("+OK\r\n"))
	case "EXISTS":
		for _, key := range command[1:] {
			if w.tracked != nil {
				w.tracked[key] = true
			}
		}
		w.frames = append(w.frames, []byte(":0\r\n"))
	}
}

func (w *world) deliver() {
	if len(w.frames) == 0 {
		return
	}
	frame := w.frames[0]
	w.frames = w.frames[1:]
	var err error
	if resp.Kind(frame[0]) == resp.Push {
		err = w.c.push(frame)
	} else {
		err = w.c.reply(w.now, frame)
	}
	if err != nil {
		w.lose()
	}
}

func (w *world) look(key string) *looker { return &looker{key: key, saw: w.versions[key]} }

func (w *world) watch(l *looker) {
	l.x = &Watch{sub: l}
	err := w.c.watch(w.now, l.x, l.key)
	var refused *RefusedError
	switch {
	case err == nil:
		w.watches = append(w.watches, l)
	case !errors.As(err, &refused):
		w.t.Fatalf("watch: %v", err)
	}
}

// run makes one random step.
func (w *world) step() {
	key := rapid.SampledFrom(names).Draw(w.t, "key")
	switch rapid.SampledFrom([]string{
		"change", "change", "change", "execute", "execute", "execute", "execute", "deliver", "deliver", "deliver", "deliver",
		"watch", "watch", "stop", "connect", "connect", "lose", "flush", "refuse", "time", "end", "forgive",
	}).Draw(w.t, "step") {
	case "change":
		w.change(key)
	case "execute":
		w.execute("")
	case "refuse":
		w.execute(rapid.SampledFrom([]string{
			"LOADING x", "BUSY x", "TRYAGAIN x", "NOPERM No permissions to access a key", "CROSSSLOT x", "MOVED 1 h:1", "NOAUTH x", "ERR unknown command",
		}).Draw(w.t, "refusal"))
	case "deliver":
		w.deliver()
	case "watch":
		if w.arrived != nil {
			w.watch(w.arrived)
		}
		w.arrived = w.look(key)
	case "stop":
		if len(w.watches) > 0 {
			i := rapid.IntRange(0, len(w.watches)-1).Draw(w.t, "which")
			w.watches[i].x.stopped = true
			w.c.stop(w.watches[i].x)
			w.watches = append(w.watches[:i], w.watches[i+1:]...)
		}
	case "connect":
		w.connect()
	case "lose":
		w.lose()
	case "flush":
		for _, key := range names {
			w.versions[key]++
		}
		if w.tracked != nil {
			w.tracked = map[string]bool{}
			w.push(invalidation())
		}
	case "time":
		w.now += time.Duration(rapid.IntRange(1, 3000).Draw(w.t, "ms")) * time.Millisecond
		w.c.tick(w.now)
	case "end":
		w.c.end()
	case "forgive":
		w.c.forgive()
	}
	w.settle()
	w.check()
}

func (w *world) connect() {
	if !w.up && len(w.c.keys) > 0 {
		w.up = true
		w.c.connect()
	}
}

// check compares the sums of the core with what it holds.
func (w *world) check() {
	watches, inWheel := 0, 0
	for name, k := range w.c.keys {
		if k.name != name || k.gone() || !k.Listed() {
			w.t.Fatalf("key %q: name %q, gone %v, in the wheel %v", name, k.name, k.gone(), k.Listed())
		}
		watches += k.watches.Len()
	}
	for i := range w.c.wheel.slots {
		inWheel += w.c.wheel.slots[i].Len()
	}
	waiting, stale := map[*key]bool{}, 0
	for _, k := range w.c.queue.all() {
		if k.gone() {
			stale++
			continue
		}
		if waiting[k] || k.state != queued {
			w.t.Fatalf("key %q: twice in the queue %v, state %d", k.name, waiting[k], k.state)
		}
		waiting[k] = true
	}
	for _, k := range w.c.keys {
		if (k.state == queued) != waiting[k] {
			w.t.Fatalf("key %q: state %d, in the queue %v", k.name, k.state, waiting[k])
		}
	}
	if watches != w.c.watches || inWheel != len(w.c.keys) || w.c.wheel.n != inWheel || stale != w.c.stale {
		w.t.Fatalf("%d watches of %d, %d keys of %d in the wheel, %d gone keys of %d", watches, w.c.watches, inWheel, len(w.c.keys), stale, w.c.stale)
	}
}

// drain delivers everything in transit, on a connection that works.
func (w *world) drain() {
	for range 1000 {
		if w.c.clean {
			w.lose()
		}
		w.connect()
		w.now += pauseCap // without a tick of the last resort
		w.settle()
		if len(w.commands) == 0 && len(w.frames) == 0 && w.c.flight.len() == 0 && w.c.queue.len() == w.c.stale {
			return
		}
		w.execute("")
		w.deliver()
		w.settle()
	}
	w.t.Fatal("the core does not come to rest")
}

func TestEveryChangeLeadsToALaterNotification(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 3).Draw(t, "rounds") {
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				w.step()
			}
			w.drain()
			for _, l := range w.watches {
				switch {
				case l.ended == l.x.Listed():
					t.Fatalf("a watch of %s: ended %v, listed %v", l.key, l.ended, l.x.Listed())
				case !l.ended && l.saw != w.versions[l.key]:
					t.Fatalf("a subscriber saw version %d of %s, which has version %d: it was not notified", l.saw, l.key, w.versions[l.key])
				case !l.ended && !w.tracked[l.key]:
					t.Fatalf("the server does not track %s", l.key)
				}
			}
		}
	})
}

func TestTheWheelNotifiesAboutEachKeyInEachInterval(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		const mean = 10 * time.Second
		last := map[string]time.Duration{}
		for end := 10 * mean; w.now < end; {
			if name := fmt.Sprint(rapid.IntRange(0, 50).Draw(t, "key")); rapid.IntRange(0, 3).Draw(t, "watch") == 0 && last[name] == 0 {
				w.watch(w.look(name))
				last[name] = max(w.now, 1)
			}
			at, ok := w.c.wakeAt()
			step := time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond
			if ok && at < w.now {
				t.Fatalf("at %v the wheel expires at %v", w.now, at)
			}
			for end := w.now + step; ; w.c.tick(w.now) {
				if at, ok = w.c.wakeAt(); !ok || at > end {
					w.now = end
					break
				}
				w.now = at
				w.c.tick(w.now)
				for _, n := range w.c.takeNotes() {
					n.watch.noted = false
					name := n.watch.key.name
					if gap := w.now - last[name]; gap < mean*3/4-w.c.wheel.width || gap > mean*5/4+w.c.wheel.width {
						t.Fatalf("%v between two notifications about a key", gap)
					}
					last[name] = w.now
				}
			}
			for name, at := range last {
				if w.now-at > mean*5/4+w.c.wheel.width {
					t.Fatalf("no notification about %s for %v", name, w.now-at)
				}
			}
		}
	})
}
