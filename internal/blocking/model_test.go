package blocking

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/resp"
)

// world is a core, a server with lists, and everything between them, in any order.
type world struct {
	*rapid.T
	c      *core
	server listServer

	unexecuted []*attempt         // sent, not executed
	executed   []executedAttempt  // executed, reply not received
	armed      map[string]bool    // the server reports the next change
	watched    map[string]bool    // by the core
	news       []string           // changes that the server has reported
	waits      map[*Wait]*waiting // that have not ended
	pushed     int
	delivered  map[string]int
	taken      map[string]int  // delivered, and gone from the server
	lost       map[string]bool // elements whose reply or return was lost
	losses     int             // attempts whose reply was lost
	failures   bool            // some attempt failed: order is not strict then
	again      bool            // the server executes blocked commands again: a wrong type may end them
	loose      bool            // an element has moved in a first attempt, which may find what has just arrived, or for nobody
}

type executedAttempt struct {
	t     *attempt
	reply []byte
}

type waiting struct {
	keys     []string
	identity int
	moves    bool
	gone     bool // abandoned
	left     bool // canceled, unblocked or timed out
}

var worldKeys = []string{"a", "b", "c"}

func newWorld(t *rapid.T) *world {
	w := &world{
		T: t, c: newCore(1000, rapid.IntRange(1, 5).Draw(t, "limit"), 50),
		armed: map[string]bool{}, watched: map[string]bool{}, waits: map[*Wait]*waiting{},
		delivered: map[string]int{}, taken: map[string]int{}, lost: map[string]bool{},
	}
	w.c.now = 1
	w.c.ofIdentity = rapid.IntRange(0, 2).Draw(t, "of an identity")
	w.again = rapid.Bool().Draw(t, "again")
	w.c.reexecutes = func() bool { return w.again }
	w.server = listServer{
		lists: map[string][]string{}, wrong: map[string]bool{}, old: rapid.Bool().Draw(t, "old"),
		touched: func(key string) {
			if w.armed[key] {
				delete(w.armed, key)
				w.news = append(w.news, key)
			}
		},
	}
	return w
}

// act performs the actions of the core.
func (w *world) act() {
	w.c.pump()
	for len(w.c.out) > 0 {
		a := w.c.out[0]
		w.c.out = w.c.out[1:]
		switch a.kind {
		case doSend:
			w.Logf("send %s for wait %d", join(a.try.args), a.try.lead.seq)
			w.unexecuted = append(w.unexecuted, a.try)
		case doWatch:
			if w.watched[a.key] {
				w.Fatalf("%s is watched twice", a.key)
			}
			w.watched[a.key] = true
			w.news = append(w.news, a.key)
		case doUnwatch:
			delete(w.watched, a.key)
		case doLose:
		case doFinish:
			w.finished(a.w, a.result)
		}
	}
}

func (w *world) finished(wait *Wait, r Result) {
	me := w.waits[wait]
	if me == nil {
		w.Fatalf("a wait ended twice")
	}
	delete(w.waits, wait)
	w.Logf("wait %d ends with %q, %v", wait.seq, r.Reply, r.Err)
	if string(r.Reply) == wrongType && !wait.first && !me.moves && (!w.again || len(me.keys) == 1) {
		w.Fatalf("a wait that the server has accepted sees a wrong type")
	}
	key, elements := elementsOf(r.Reply)
	if len(elements) == 0 {
		return
	}
	if me.gone {
		w.Fatalf("an abandoned wait received %q", elements)
	}
	for _, e := range elements {
		if w.delivered[e]++; !me.moves {
			w.taken[e]++
		}
	}
	if me.moves {
		key = me.keys[0]
	}
	if w.failures || w.loose {
		return
	}
	for other, o := range w.waits {
		if other.seq < wait.seq && slices.Contains(o.keys, key) {
			w.Fatalf("wait %d on %s was served before wait %d on %v", wait.seq, key, other.seq, o.keys)
		}
	}
}

func (w *world) start() {
	keys := slices.Clone(worldKeys)
	n := rapid.IntRange(1, 3).Draw(w.T, "keys")
	at := rapid.IntRange(0, 2).Draw(w.T, "first")
	keys = append(keys[at:], keys[:at]...)[:n]
	timeout := rapid.SampledFrom([]string{"0", "0.00000001"}).Draw(w.T, "timeout")
	var line string
	switch kind := rapid.IntRange(0, 4).Draw(w.T, "kind"); kind {
	case 0, 1:
		line = fmt.Sprintf("%s %s 0", []string{"BLPOP", "BRPOP"}[kind], strings.Join(keys, " "))
	case 2:
		line = fmt.Sprintf("BLPOP %s 0", keys[0])
		keys = keys[:1]
	case 3:
		if w.server.old {
			line, keys = "BLPOP a 0", []string{"a"}
			break
		}
		line = fmt.Sprintf("BLMPOP 0 %d %s RIGHT COUNT 2", n, strings.Join(keys, " "))
	default:
		to := rapid.SampledFrom(worldKeys).Draw(w.T, "to")
		line, keys = fmt.Sprintf("BLMOVE %s %s LEFT RIGHT 0", keys[0], to), keys[:1]
	}
	form, ok := Parse(words(line))
	if !ok {
		w.Fatalf("Parse refuses %s", line)
	}
	if timeout != "0" {
		form.timeout = 40
	}
	id := rapid.IntRange(0, 1).Draw(w.T, "identity")
	wait := &Wait{form: form, identity: id}
	w.waits[wait] = &waiting{keys: keys, identity: id, moves: form.kind == listMove}
	if err := w.c.add(wait); err != nil {
		w.Fatal(err)
	}
	w.Logf("wait %d: %s, identity %d", wait.seq, line, id)
}

func (w *world) push() {
	key := rapid.SampledFrom(worldKeys).Draw(w.T, "key")
	if w.server.wrong[key] {
		return
	}
	for range rapid.IntRange(1, 3).Draw(w.T, "elements") {
		w.pushed++
		w.server.push(key, rapid.Bool().Draw(w.T, "left"), fmt.Sprint(w.pushed))
	}
}

func (w *world) execute(i int) {
	t := w.unexecuted[i]
	w.unexecuted = slices.Delete(w.unexecuted, i, i+1)
	reply := w.server.run(t.args)
	if t.purpose == giveBackIt && resp.ErrorIn(reply) != nil {
		for _, e := range t.args[2:] {
			w.lost[string(e)] = true
		}
	}
	w.Logf("the server replies %q to %s", reply, join(t.args))
	w.executed = append(w.executed, executedAttempt{t, reply})
}

func (w *world) receive(i int) {
	e := w.executed[i]
	w.executed = slices.Delete(w.executed, i, i+1)
	w.Logf("receive %q for %s", e.reply, join(e.t.args))
	w.loose = e.t.lead.form.kind == listMove && (e.t.first || e.t.lead.finished)
	w.c.replied(e.t, Outcome{Reply: e.reply})
	w.act()
	w.loose = false
}

// notify delivers a report of the server: first the key is tracked again, then the core tries it.
func (w *world) notify(i int) {
	key := w.news[i]
	w.news = slices.Delete(w.news, i, i+1)
	if w.watched[key] {
		w.armed[key] = true
		w.Logf("%s has changed", key)
		w.c.changed(key)
	}
}

func (w *world) pick() *Wait {
	var all []*Wait
	for wait := range w.waits {
		all = append(all, wait)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b *Wait) int { return int(a.seq) - int(b.seq) })
	return all[rapid.IntRange(0, len(all)-1).Draw(w.T, "who")]
}

// loseReply fails an executed attempt. Its elements are lost, as those of a client that dies.
func (w *world) loseReply(i int) {
	e := w.executed[i]
	w.executed = slices.Delete(w.executed, i, i+1)
	w.failures = true
	if e.t.purpose == fetch {
		w.losses++
		if e.t.lead.form.kind != listMove {
			_, elements := elementsOf(append([]byte("*2\r\n$1\r\n-\r\n"), e.reply...))
			if k, more := elementsOf(e.reply); k != "" && len(e.t.current()) > 1 || e.t.lead.form.kind == listMPop {
				elements = more
			}
			for _, x := range elements {
				w.lost[x] = true
			}
		}
	}
	w.c.replied(e.t, Outcome{Err: errors.New("the connection broke"), Sent: true})
}

func (w *world) step() {
	w.c.now++
	index := func(n int) int { return rapid.IntRange(0, n-1).Draw(w.T, "index") }
	switch what := rapid.IntRange(0, 19).Draw(w.T, "step"); {
	case what <= 3:
		w.start()
	case what <= 6:
		w.push()
	case what <= 9 && len(w.unexecuted) > 0:
		w.execute(index(len(w.unexecuted)))
	case what <= 12 && len(w.executed) > 0:
		w.receive(index(len(w.executed)))
	case what <= 14 && len(w.news) > 0:
		w.notify(index(len(w.news)))
	case what == 15:
		if wait := w.pick(); wait != nil {
			w.waits[wait].left = true
			w.c.depart(wait, Result{Err: errors.New("canceled")}, cancelReason, false)
		}
	case what == 16:
		if wait := w.pick(); wait != nil {
			w.waits[wait].gone = true
			w.c.depart(wait, Result{Err: errors.New("gone")}, cancelReason, true)
		}
	case what == 17 && len(w.unexecuted) > 0:
		i := index(len(w.unexecuted))
		t := w.unexecuted[i]
		w.unexecuted = slices.Delete(w.unexecuted, i, i+1)
		w.failures = true
		w.c.replied(t, Outcome{Err: errors.New("not sent")})
	case what == 18 && len(w.executed) > 0:
		w.loseReply(index(len(w.executed)))
	case what == 19:
		switch index(4) {
		case 0:
			w.c.suspended = true
		case 1:
			w.c.resume(false)
		case 2:
			w.c.now += 30
		case 3:
			key := rapid.SampledFrom(worldKeys).Draw(w.T, "key")
			if len(w.server.lists[key]) == 0 {
				w.server.wrong[key] = !w.server.wrong[key]
				w.server.touched(key)
			}
		}
	}
	w.c.expire()
	w.act()
}

// settle lets everything in flight arrive.
func (w *world) settle() {
	if w.c.suspended {
		w.c.resume(false)
	}
	w.act()
	for range 100_000 {
		switch {
		case len(w.unexecuted) > 0:
			w.execute(0)
		case len(w.executed) > 0:
			w.receive(0)
		case len(w.news) > 0:
			w.notify(0)
		case w.c.next() != 0:
			w.c.now = w.c.next()
		default:
			return
		}
		w.c.expire()
		w.act()
	}
	w.Fatal("the core does not come to rest")
}

func TestNoElementIsLostAndOrderHolds(t *testing.T) {
	const rounds = 20 // of rapid's number of checks
	for range rounds {
		checkWorlds(t)
	}
}

func checkWorlds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			w.step()
			w.checkLimit()
		}
		w.settle()
		w.checkWaits()
		for key, wrong := range w.server.wrong {
			if wrong {
				delete(w.server.wrong, key)
				w.server.touched(key)
			}
		}
		w.settle()
		w.checkWaits()
		for len(w.waits) > 0 {
			for wait := range w.waits {
				w.waits[wait].gone = true
				w.c.depart(wait, Result{}, cancelReason, true)
				break
			}
			w.act()
		}
		w.settle()
		w.checkElements()
		w.checkEmpty()
	})
}

// checkLimit checks the number of attempts in flight of each identity. Returns of elements are not limited.
func (w *world) checkLimit() {
	inFlight := map[any]int{}
	count := func(t *attempt) {
		if t.purpose != giveBackIt {
			inFlight[t.lead.identity]++
		}
	}
	for _, t := range w.unexecuted {
		count(t)
	}
	for _, e := range w.executed {
		count(e.t)
	}
	for id, n := range inFlight {
		if w.c.ofIdentity > 0 && n > w.c.ofIdentity {
			w.Fatalf("%d attempts of identity %v are in flight: want %d at most", n, id, w.c.ofIdentity)
		}
	}
}

// checkWaits checks that no wait waits for a key that has data.
func (w *world) checkWaits() {
	for wait, me := range w.waits {
		for _, key := range me.keys {
			if len(w.server.lists[key]) > 0 && !w.server.wrong[key] {
				w.Fatalf("wait %d waits on %s, which has %v", wait.seq, key, w.server.lists[key])
			}
		}
	}
}

// checkElements checks that each element is in exactly one place. BLMOVE's elements are delivered and on the server.
func (w *world) checkElements() {
	onServer := map[string]int{}
	for _, list := range w.server.lists {
		for _, e := range list {
			onServer[e]++
		}
	}
	for i := 1; i <= w.pushed; i++ {
		e := fmt.Sprint(i)
		places := onServer[e] + w.taken[e]
		if w.lost[e] {
			places++
		}
		if n := onServer[e]; places != 1 {
			w.Fatalf("element %s is %d times on the server, delivered %d times, lost: %v", e, n, w.delivered[e], w.lost[e])
		}
	}
	var counted uint64
	for _, s := range w.c.stats {
		counted += s.Lost
	}
	if counted < uint64(w.losses) {
		w.Fatalf("%d lost replies are counted: want %d or more", counted, w.losses)
	}
}

func (w *world) checkEmpty() {
	c := w.c
	if len(c.names) > 0 || len(c.deadlines) > 0 || c.waiting != 0 || c.inFlight != 0 || len(c.returns) > 0 || len(w.watched) > 0 {
		w.Fatalf("left: %d keys, %d deadlines, %d waits, %d in flight, %d returns, watched %v",
			len(c.names), len(c.deadlines), c.waiting, c.inFlight, len(c.returns), w.watched)
	}
	if len(c.busy) > 0 {
		w.Fatalf("%d identities are busy", len(c.busy))
	}
	for q := c.readyHead; q != nil; q = q.nextReady {
		if q.n > 0 {
			w.Fatal("a queue with waits is ready")
		}
	}
	for name, s := range c.stats {
		if s.Waiting != 0 {
			w.Fatalf("%s: %d are counted as waiting", name, s.Waiting)
		}
	}
}
