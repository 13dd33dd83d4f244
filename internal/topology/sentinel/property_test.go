package sentinel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// world is a driver that executes and checks the actions, and generates all possible events.
type world struct {
	t    *rapid.T
	m    *Machine
	now  time.Duration
	wake time.Duration
	step int

	open     map[string]uint64 // by sentinel and link, until one side gives it up
	dialing  map[uint64]string
	up       map[uint64]string
	asks     map[uint64]Ask
	verifies map[uint64]verify
	seqs     uint64

	epoch     uint64
	primary   string
	lost      bool
	held      time.Duration   // until then, at the latest; 0: writes are not held
	named     map[string]bool // nodes that an acceptable answer has named
	confirmed map[string]int  // the step in which the last ROLE that said master was asked
	denied    map[string]int  // the last step that spoke against a node
}

type verify struct {
	addr string
	step int
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, lost: true, open: map[string]uint64{}, dialing: map[uint64]string{}, up: map[uint64]string{}, asks: map[uint64]Ask{},
		verifies: map[uint64]verify{}, named: map[string]bool{}, confirmed: map[string]int{}, denied: map[string]int{},
	}
	c := Config{
		Name: "mymaster", MinOther: rapid.IntRange(0, 1).Draw(t, "min other"), Replicas: rapid.Bool().Draw(t, "replicas"),
		Poll: 3 * time.Second, Rand: rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed"))),
		Sentinels: []string{"s0:26379", "s1:26379", "s2:26379"}[:rapid.IntRange(1, 3).Draw(t, "sentinels")],
	}
	if rapid.Bool().Draw(t, "hold") {
		c.HoldFor = 3 * time.Second
	}
	if rapid.Bool().Draw(t, "lag") {
		c.MaxReplicaLag = time.Second
	}
	w.m = New(c)
	return w
}

func (w *world) do(e Event) {
	w.step++
	switch e := e.(type) {
	case SentinelDown:
		w.closed(e.Seq)
	case SentinelUp:
		if key, ok := w.dialing[e.Seq]; ok {
			w.up[e.Seq] = key
			delete(w.dialing, e.Seq)
		}
	}
	actions := w.m.Step(w.now, e)
	if len(actions) > 400 {
		w.t.Fatalf("%d actions for %#v", len(actions), e)
	}
	for _, a := range actions {
		w.check(a)
	}
	if w.wake <= w.now {
		w.t.Fatalf("after %#v at %v the last Wake is of %v", e, w.now, w.wake)
	}
	if v := w.m.View(); v.Known == w.lost || v.Epoch != w.epoch {
		w.t.Fatalf("%#v, and the driver was told of epoch %d, lost %t", v, w.epoch, w.lost)
	}
	if len(w.m.peers) > maxSentinels || len(w.m.replicas.list) > maxReplicas || len(w.m.targets) > maxTargets {
		w.t.Fatalf("too much is remembered: %d sentinels, %d replicas", len(w.m.peers), len(w.m.replicas.list))
	}
}

func (w *world) closed(seq uint64) {
	key := w.dialing[seq] + w.up[seq]
	delete(w.dialing, seq)
	delete(w.up, seq)
	if w.open[key] == seq {
		delete(w.open, key)
	}
	for s, a := range w.asks {
		if a.Sentinel+" command" == key {
			delete(w.asks, s)
		}
	}
}

func (w *world) fresh(seq uint64) {
	if seq <= w.seqs {
		w.t.Fatalf("number %d after %d", seq, w.seqs)
	}
	w.seqs = seq
}

func (w *world) check(a Action) {
	switch a := a.(type) {
	case Connect:
		w.fresh(a.Seq)
		key := fmt.Sprintf("%s %s", a.Sentinel, a.Link)
		if w.open[key] != 0 {
			w.t.Fatalf("a second %s connection to %s", a.Link, a.Sentinel)
		}
		w.open[key], w.dialing[a.Seq] = a.Seq, key
	case Disconnect:
		if w.open[fmt.Sprintf("%s %s", a.Sentinel, a.Link)] != a.Seq {
			w.t.Fatalf("%#v of what is not open", a)
		}
		w.closed(a.Seq)
	case Ask:
		w.fresh(a.Seq)
		if seq := w.open[a.Sentinel+" command"]; w.up[seq] == "" {
			w.t.Fatalf("%#v without a connection", a)
		}
		for _, other := range w.asks {
			if other.Query == a.Query && (a.Query != QueryMaster || a.Sentinel == other.Sentinel) {
				w.t.Fatalf("%#v beside %#v", a, other)
			}
		}
		w.asks[a.Seq] = a
	case Subscribe:
		if w.up[a.Seq] == "" {
			w.t.Fatalf("%#v without a connection", a)
		}
	case Check:
		if w.up[a.Seq] != a.Sentinel+" subscription" {
			w.t.Fatalf("%#v without a connection", a)
		}
	case Verify:
		w.fresh(a.Seq)
		w.verifies[a.Seq] = verify{a.Addr, w.step}
	case NewEpoch:
		w.newEpoch(a)
	case ReplicasChanged:
		if a.Epoch != w.epoch {
			w.t.Fatalf("%#v in epoch %d", a, w.epoch)
		}
	case Lost:
		if a.Err == nil || a.Err.Error() == "" || a.Epoch != w.epoch {
			w.t.Fatalf("%#v", a)
		}
		w.lost, w.held = true, 0
	case Hold:
		if w.lost || w.held != 0 || a.Epoch != w.epoch {
			w.t.Fatalf("%#v while lost or held", a)
		}
		w.held = w.now + 3*time.Second
	case Unhold:
		if w.held == 0 || w.now < w.held || a.Epoch != w.epoch {
			w.t.Fatalf("%#v without a hold, or before its time", a)
		}
		w.held = 0
	case Wake:
		w.wake = a.At
	}
}

func (w *world) newEpoch(a NewEpoch) {
	if a.Epoch != w.epoch+1 {
		w.t.Fatalf("epoch %d after %d", a.Epoch, w.epoch)
	}
	if !w.named[a.Primary] {
		w.t.Fatalf("no sentinel named %s", a.Primary)
	}
	if asked, ok := w.confirmed[a.Primary]; !ok || asked < w.denied[a.Primary] {
		w.t.Fatalf("%s did not say that it is a master after step %d, in which something spoke against it: asked in step %d", a.Primary, w.denied[a.Primary], asked)
	}
	for _, r := range a.Replicas {
		if r == a.Primary {
			w.t.Fatalf("%s is primary and replica", r)
		}
	}
	w.epoch, w.primary, w.lost, w.held = a.Epoch, a.Primary, false, 0
}

func nodeAddr(i int) string { return fmt.Sprintf("n%d:6379", i) }

// happen lets anything happen.
func (w *world) happen() {
	t := w.t
	w.now += time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 5, 50, 500, 3000}).Draw(t, "ms")) * time.Millisecond
	if w.wake <= w.now && rapid.Bool().Draw(t, "in time") {
		w.now = max(w.wake, 0)
		w.do(Tick{})
		return
	}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		w.do(Tick{})
	case 1, 2:
		if seq, ok := pick(t, w.dialing); ok {
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				w.do(SentinelDown{seq, errors.New("refused")})
			} else {
				w.do(SentinelUp{seq})
			}
		}
	case 3:
		if seq, ok := pick(t, w.up); ok {
			w.do(SentinelDown{seq, rapid.SampledFrom([]error{nil, ErrSilent}).Draw(t, "why")})
		}
	case 4, 5, 6:
		if seq, ok := pick(t, w.asks); ok {
			w.answer(seq, w.reply(w.asks[seq]))
		}
	case 7:
		if seq, ok := pick(t, w.verifies); ok {
			w.role(seq, rapid.SampledFrom([]string{"master", "master", "slave", "error", "nonsense"}).Draw(t, "role"))
		}
	case 8:
		w.do(Push{
			Sentinel: rapid.SampledFrom([]string{"s0:26379", "s1:26379", "l3:26379"}).Draw(t, "sentinel"),
			Channel:  rapid.SampledFrom(channels).Draw(t, "channel"), Payload: w.payload(),
		})
	case 9:
		e := Evidence{
			Kind: topology.Evidence(rapid.IntRange(0, 3).Draw(t, "evidence")), Addr: nodeAddr(rapid.IntRange(0, 3).Draw(t, "node")),
			Epoch: w.epoch - uint64(rapid.IntRange(0, 1).Draw(t, "old")),
		}
		if e.Epoch == w.epoch && !w.lost && e.Addr == w.primary {
			w.denied[e.Addr] = w.step + 1
		}
		w.do(e)
	}
}

func pick[V any](t *rapid.T, from map[uint64]V) (uint64, bool) {
	if len(from) == 0 {
		return 0, false
	}
	seqs := make([]uint64, 0, len(from))
	for seq := range from {
		seqs = append(seqs, seq)
	}
	// Of a map, so that the order has to be made the same in each run.
	for i := range seqs {
		for j := i; j > 0 && seqs[j] < seqs[j-1]; j-- {
			seqs[j], seqs[j-1] = seqs[j-1], seqs[j]
		}
	}
	return rapid.SampledFrom(seqs).Draw(t, "which"), true
}

func (w *world) payload() string {
	t := w.t
	n := func(name string) int { return rapid.IntRange(0, 3).Draw(t, name) }
	switch rapid.IntRange(0, 3).Draw(t, "payload") {
	case 0:
		return fmt.Sprintf("mymaster n%d 6379 n%d 6379", n("from"), n("to"))
	case 1:
		return fmt.Sprintf("slave x n%d 6379 @ mymaster n%d 6379", n("node"), n("of"))
	case 2:
		i := rapid.IntRange(0, 40).Draw(t, "learnt")
		return fmt.Sprintf("sentinel id%d l%d 26379 @ mymaster n0 6379", i, i)
	}
	return fmt.Sprintf("master mymaster n%d 6379", n("node"))
}

func (w *world) answer(seq uint64, a Answer) {
	a.Seq = seq
	if rapid.IntRange(0, 9).Draw(w.t, "unasked") == 0 {
		a.Seq += 1000
	} else {
		if a.Err == nil {
			delete(w.asks, seq)
		}
		if info, problem := masterOf(a.Reply); w.m.seq >= seq && problem == "" && info.objection(w.m.cfg.MinOther) == "" {
			w.named[info.addr] = true
		}
	}
	w.do(a)
}

func (w *world) reply(a Ask) Answer {
	t := w.t
	switch rapid.IntRange(0, 11).Draw(t, "reply") {
	case 0:
		return Answer{Err: errors.New("broken")}
	case 1:
		text := rapid.SampledFrom([]string{"NOAUTH Authentication required.", "ERR No such master with that name", "ERR unknown command", "ERR other"}).Draw(t, "error")
		return Answer{Reply: resp.Value{Kind: resp.SimpleError, Str: []byte(text)}}
	case 2:
		return Answer{Reply: resp.Value{Kind: resp.Array, Null: true}}
	}
	n := strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "node"))
	switch a.Query {
	case QueryMaster:
		flags := rapid.SampledFrom([]string{"master", "master", "master", "s_down,master", "slave"}).Draw(t, "flags")
		epoch := strconv.Itoa(rapid.IntRange(0, 5).Draw(t, "config epoch"))
		others := strconv.Itoa(rapid.IntRange(0, 2).Draw(t, "others"))
		return Answer{Reply: fields("ip", "n"+n, "port", "6379", "flags", flags, "config-epoch", epoch, "num-other-sentinels", others)}
	case QueryID:
		return Answer{Reply: bulk("id" + n)}
	}
	var elems []resp.Value
	for range rapid.IntRange(0, 6).Draw(t, "elements") {
		i := strconv.Itoa(rapid.IntRange(0, 40).Draw(t, "element"))
		if a.Query == QuerySentinels {
			elems = append(elems, fields("ip", "l"+i, "port", "26379", "runid", "id"+i))
		} else {
			elems = append(elems, fields("ip", "n"+i, "port", "6379", "flags", "slave"))
		}
	}
	return Answer{Reply: list(elems...)}
}

func (w *world) role(seq uint64, kind string) {
	v := w.verifies[seq]
	delete(w.verifies, seq)
	a := Answer{Seq: seq, Reply: list(bulk(kind))}
	switch kind {
	case "master":
		a.Reply.Elems = append(a.Reply.Elems, resp.Value{Kind: resp.Integer, Int: w.now.Milliseconds()})
		w.confirmed[v.addr] = v.step
	case "slave":
		a.Reply = list(bulk("slave"), bulk("n0"), resp.Value{Kind: resp.Integer, Int: 6379}, bulk("connected"), resp.Value{Kind: resp.Integer})
	case "error":
		a = Answer{Seq: seq, Err: errors.New("refused")}
	}
	w.do(a)
}

// recover lets all be well: every sentinel names n1 under the newest config epoch, which says that it is a master.
func (w *world) recover() {
	epoch := strconv.FormatInt(w.m.configEpoch+1, 10)
	end := w.now + 30*time.Second
	for w.now < end {
		switch {
		case len(w.dialing) > 0:
			seq, _ := pick(w.t, w.dialing)
			w.do(SentinelUp{seq})
		case len(w.asks) > 0:
			seq, _ := pick(w.t, w.asks)
			a := w.asks[seq]
			delete(w.asks, seq)
			switch a.Query {
			case QueryMaster:
				w.named["n1:6379"] = true
				w.do(Answer{Seq: seq, Reply: fields("ip", "n1", "port", "6379", "flags", "master", "config-epoch", epoch, "num-other-sentinels", "2")})
			case QueryID:
				w.do(Answer{Seq: seq, Reply: bulk("")})
			default:
				w.do(Answer{Seq: seq, Reply: list()})
			}
		case len(w.verifies) > 0:
			seq, _ := pick(w.t, w.verifies)
			kind := "slave"
			if w.verifies[seq].addr == "n1:6379" {
				kind = "master"
			}
			w.role(seq, kind)
		default:
			w.now = max(w.wake, w.now)
			w.do(Tick{})
		}
	}
	if v := w.m.View(); !v.Known || v.Primary != "n1:6379" || v.Err != nil {
		w.t.Fatalf("all is well for 30 s, but the machine is stuck: %+v", v)
	}
}

func TestWhateverHappensItHoldsAndRecovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.do(Start{})
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			w.happen()
		}
		w.recover()
	})
}
