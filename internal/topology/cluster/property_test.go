package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Slots move in blocks. A block is represented by its first slot.
const (
	blocks    = 8
	blockSize = Slots / blocks
)

// opinion is the state of the cluster as a node knows it.
type opinion struct {
	epoch  int
	owner  [blocks]int
	master []int // by node: its primary, or -1
}

func (o opinion) copy() opinion {
	o.master = append([]int(nil), o.master...)
	return o
}

// server is a node of the simulated cluster. Until it is informed, it has an outdated opinion.
type server struct {
	opinion opinion
	dead    bool // refuses connections
	silent  bool // is paused, and does not learn
	failed  bool // state fail
}

// due answers are those of the query in flight.
type reply struct {
	at time.Duration
	e  Event
}

// world is a cluster, and a driver that executes and checks the actions.
type world struct {
	t       *rapid.T
	m       *Machine
	now     time.Duration
	wake    time.Duration
	truth   opinion
	servers []*server

	version uint64
	seq     uint64
	flight  uint64 // seq of the query or lookup in flight
	due     time.Duration
	reply   *reply
	asked   map[string]time.Duration // time of the last query by node
	last    time.Duration            // time of the last query
	turn    int                      // the round of the last query
	queried bool
	right   map[int]guard // patches that are right, by block
	before  View          // after the last event
}

// guard is a patch that no answer may undo.
type guard struct {
	addr  string
	until time.Duration
}

func addrOf(node int) string { return fmt.Sprintf("n%d:1", node) }

func newWorld(t *rapid.T) *world {
	w := &world{t: t, asked: map[string]time.Duration{}, right: map[int]guard{}}
	shards := rapid.IntRange(1, 4).Draw(t, "shards")
	copies := rapid.IntRange(1, 3).Draw(t, "nodes of a shard")
	for i := range shards * copies {
		master := -1
		if i >= shards {
			master = i % shards
		}
		w.truth.master = append(w.truth.master, master)
		w.servers = append(w.servers, &server{})
	}
	for b := range blocks {
		w.truth.owner[b] = b % shards
	}
	w.truth.epoch = shards
	w.informAll()
	w.m = New(Config{Seeds: []string{"seed:1"}, Rand: rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))})
	return w
}

func (w *world) informAll() {
	for _, s := range w.servers {
		if !s.silent {
			s.opinion = w.truth.copy()
		}
	}
}

func (w *world) do(e Event) {
	before := w.m.current
	actions := w.m.Step(w.now, e)
	if len(actions) > 20 {
		w.t.Fatalf("%d actions for %#v", len(actions), e)
	}
	for _, a := range actions {
		w.check(a, e, before)
	}
	if w.wake <= w.now {
		w.t.Fatalf("after %#v at %v the last Wake is of %v", e, w.now, w.wake)
	}
	v := w.m.View()
	if v.Epoch < w.before.Epoch && w.now-w.before.Answered < lowerAfter {
		w.t.Fatalf("epoch %d is accepted after %d", v.Epoch, w.before.Epoch)
	}
	w.before = v
	if len(w.m.asked) > maxAsked || len(w.m.doubts) > len(w.servers) || len(w.m.fresh) > maxFresh {
		w.t.Fatal("too much is remembered")
	}
}

func (w *world) fresh(seq uint64) {
	if seq <= w.seq {
		w.t.Fatalf("number %d after %d", seq, w.seq)
	}
	if w.flight != 0 && w.now < w.due {
		w.t.Fatalf("number %d while %d is in flight", seq, w.flight)
	}
	w.seq, w.flight, w.due, w.reply = seq, seq, w.now+w.m.cfg.QueryTimeout, nil
}

func (w *world) check(a Action, e Event, before *Map) {
	switch a := a.(type) {
	case Query:
		w.fresh(a.Seq)
		w.interval(a)
		w.answer(a)
	case Resolve:
		w.fresh(a.Seq)
		w.resolve(a)
	case NewMap:
		w.newMap(a, e, before)
	case Lost:
		if a.Err == nil || a.Err.Error() == "" {
			w.t.Fatalf("%#v", a)
		}
	case Wake:
		w.wake = a.At
	}
}

// interval checks the pauses between queries: of one node, and of all nodes unless the last round continues.
func (w *world) interval(a Query) {
	if at, ok := w.asked[a.Node.Addr]; ok && w.now-at < w.m.cfg.MinInterval {
		w.t.Fatalf("%s is queried at %v and %v", a.Node.Addr, at, w.now)
	}
	if w.queried && w.turn != w.m.turn && w.now-w.last < w.m.cfg.MinInterval {
		w.t.Fatalf("queries at %v and %v", w.last, w.now)
	}
	w.asked[a.Node.Addr], w.last, w.turn, w.queried = w.now, w.now, w.m.turn, true
}

func (w *world) nodeAt(addr string) int {
	var node int
	if _, err := fmt.Sscanf(addr, "n%d:1", &node); err != nil || node >= len(w.servers) {
		w.t.Fatalf("nobody announced %s", addr)
	}
	return node
}

// answer has a query answered, with the opinion of the node at this time.
func (w *world) answer(q Query) {
	s := w.servers[w.nodeAt(q.Node.Addr)]
	delay := time.Duration(rapid.SampledFrom([]int{0, 1, 100, 900, 1100}).Draw(w.t, "answer ms")) * time.Millisecond
	switch {
	case s.silent:
	case s.dead:
		w.reply = &reply{at: w.now, e: Answer{Seq: q.Seq, Err: errors.New("connection refused")}}
	default:
		a := s.opinion.answer(s.failed)
		a.Seq = q.Seq
		w.reply = &reply{at: w.now + delay, e: a}
	}
}

func (w *world) resolve(r Resolve) {
	e := Resolved{Seq: r.Seq}
	for i := range w.servers {
		e.Nodes = append(e.Nodes, Node{Addr: addrOf(i)})
	}
	w.reply = &reply{at: w.now, e: e}
}

// answer returns what a node with the opinion answers.
func (o opinion) answer(failed bool) Answer {
	node := func(i int) resp.Value {
		return list(bulk(fmt.Sprintf("n%d", i)), integer(1), bulk(fmt.Sprintf("id%d", i)))
	}
	slots := list()
	for b, owner := range o.owner {
		entry := list(integer(b*blockSize), integer((b+1)*blockSize-1), node(owner))
		for i, master := range o.master {
			if master == owner {
				entry.Elems = append(entry.Elems, node(i))
			}
		}
		slots.Elems = append(slots.Elems, entry)
	}
	state := "ok"
	if failed {
		state = "fail"
	}
	return Answer{Info: bulk(fmt.Sprintf("cluster_state:%s\r\ncluster_current_epoch:%d\r\n", state, o.epoch)), Slots: slots}
}

func (w *world) newMap(a NewMap, e Event, before *Map) {
	m := a.Map
	if m.Version != w.version+1 {
		w.t.Fatalf("version %d after %d", m.Version, w.version)
	}
	w.version = m.Version
	seen := map[string]bool{}
	for i := range m.Shards {
		m.Shards[i].each(func(n Node) {
			if seen[n.Addr] {
				w.t.Fatalf("%s is in the map twice: %s", n.Addr, mapText(m))
			}
			seen[n.Addr] = true
		})
	}
	for b := range blocks {
		slot := b * blockSize
		g := w.right[b]
		if _, patch := e.(Moved); !patch && w.now < g.until && m.owner(slot) != g.addr {
			w.t.Fatalf("at %v an answer gives slot %d to %s, after a MOVED to %s until %v", w.now, slot, m.owner(slot), g.addr, g.until)
		}
	}
	if moved, ok := e.(Moved); ok && before.owner(moved.Slot) != m.owner(moved.Slot) {
		w.guard(moved.Slot / blockSize)
	}
}

// guard starts or ends the protection of a block that a patch changed.
func (w *world) guard(block int) {
	delete(w.right, block)
	if addr := w.m.current.owner(block * blockSize); addr == addrOf(w.truth.owner[block]) {
		w.right[block] = guard{addr: addr, until: w.now + patchFor}
	}
}

// pass lets time pass, with the events that happen without input.
func (w *world) pass(d time.Duration) {
	end := w.now + d
	for {
		at := w.wake
		if w.reply != nil {
			at = min(at, w.reply.at)
		}
		if at > end {
			break
		}
		w.now = max(w.now, at)
		if r := w.reply; r != nil && r.at <= w.now {
			w.reply, w.flight = nil, 0
			w.do(r.e)
		} else {
			w.do(Tick{})
		}
	}
	w.now = end
}

// command sends a command of a block, follows its redirects, and reports whether it reached the owner. If the node of
// the map is dead, it tries the others, as a client does that has no other choice.
func (w *world) command(block int) bool {
	m := w.m
	slot := block * blockSize
	if m.current.owner(slot) == "" {
		return false
	}
	to := w.nodeAt(m.current.owner(slot))
	for range 4 {
		s := w.servers[to]
		if s.dead || s.silent {
			w.do(Evidence{Kind: topology.ConnLost, Addr: addrOf(to)})
			to = rapid.IntRange(0, len(w.servers)-1).Draw(w.t, "another node")
			continue
		}
		owner := s.opinion.owner[block]
		if owner == to {
			return owner == w.truth.owner[block]
		}
		if g, ok := w.right[block]; ok && g.addr == addrOf(to) {
			delete(w.right, block) // the target denies its patch
		}
		version := m.current.Version
		if rapid.IntRange(0, 5).Draw(w.t, "late") == 0 {
			version = max(1, version-1)
		}
		w.do(Moved{Slot: slot, From: addrOf(to), To: addrOf(owner), Version: version})
		to = owner
	}
	return false
}

// change changes the truth or the state of a node.
func (w *world) change() {
	t := w.t
	node := rapid.IntRange(0, len(w.servers)-1).Draw(t, "node")
	s := w.servers[node]
	block := rapid.IntRange(0, blocks-1).Draw(t, "block")
	switch rapid.IntRange(0, 6).Draw(t, "change") {
	case 0: // a block moves, or many
		if w.truth.master[node] >= 0 || s.dead || s.silent {
			return
		}
		w.truth.epoch += rapid.IntRange(0, 1).Draw(t, "new epoch")
		for b := block; b < min(blocks, block+rapid.IntRange(1, 3).Draw(t, "number")); b++ {
			w.move(b, node)
		}
		s.opinion = w.truth.copy()
	case 1: // a failover, after a failure or by command
		old := w.truth.master[node]
		if old < 0 || s.dead || s.silent {
			return
		}
		w.truth.epoch++
		w.truth.master[old], w.truth.master[node] = node, -1
		for i, master := range w.truth.master {
			if master == old && i != node {
				w.truth.master[i] = node
			}
		}
		for b, owner := range w.truth.owner {
			if owner == old {
				w.move(b, node)
			}
		}
		s.opinion = w.truth.copy()
	case 2:
		s.dead = !s.dead
	case 3:
		s.silent = !s.silent
	case 4:
		s.failed = !s.failed
	case 5:
		if !s.silent {
			s.opinion = w.truth.copy()
		}
	case 6:
		w.informAll()
	}
}

func (w *world) move(block, to int) {
	w.truth.owner[block] = to
	delete(w.right, block)
}

// happen lets anything happen.
func (w *world) happen() {
	t := w.t
	w.pass(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 20, 300, 1000, 5000}).Draw(t, "ms")) * time.Millisecond)
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0, 1:
		w.change()
	case 2, 3:
		w.command(rapid.IntRange(0, blocks-1).Draw(t, "block"))
	case 4:
		w.do(Evidence{Kind: topology.Evidence(rapid.IntRange(0, 4).Draw(t, "evidence")), Addr: addrOf(rapid.IntRange(0, len(w.servers)-1).Draw(t, "node"))})
	case 5:
		from, to := rapid.IntRange(0, len(w.servers)-1).Draw(t, "from"), rapid.IntRange(0, len(w.servers)-1).Draw(t, "to")
		w.do(Ask{From: addrOf(from), To: addrOf(to)})
	}
}

// recover ends all changes: every node is up and has the same opinion.
func (w *world) recover() {
	for _, s := range w.servers {
		*s = server{}
	}
	w.informAll()
}

func (w *world) wrong() string {
	for b, owner := range w.truth.owner {
		for slot := b * blockSize; slot < (b+1)*blockSize; slot += blockSize - 1 {
			if got := w.m.current.owner(slot); got != addrOf(owner) {
				return fmt.Sprintf("slot %d belongs to %q in the map, and to %s", slot, got, addrOf(owner))
			}
		}
	}
	return ""
}

func TestTheMapConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.do(Start{})
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			w.happen()
		}
		w.recover()
		w.pass(w.m.cfg.Poll + 10*time.Second)
		if wrong := w.wrong(); wrong != "" {
			t.Fatalf("all is well for 40 s, but %s: %+v", wrong, w.m.View())
		}
		if v := w.m.View(); v.Err != nil || v.Epoch != uint64(w.truth.epoch) {
			t.Fatalf("all is well for 40 s, but %+v", v)
		}
	})
}

// Without a single answer, each command of a slot finds its owner and corrects the map.
func TestCommandsCorrectTheMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.do(Start{})
		w.pass(5 * time.Second)
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			w.happen()
		}
		w.pass(patchFor) // of patches whose target died
		w.recover()
		if w.m.current == nil {
			return // no node ever returned a map
		}
		for b := range blocks {
			if w.m.current.owner(b*blockSize) == "" {
				continue
			}
			w.command(b)
			w.command(b) // the first one may have been sent under an outdated map
			w.command(b)
		}
		for b := range blocks {
			if !w.command(b) {
				t.Fatalf("block %d is not found: %s", b, mapText(w.m.current))
			}
		}
	})
}
