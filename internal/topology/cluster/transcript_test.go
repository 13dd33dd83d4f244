package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/transcript"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// highest makes every random delay as long as it can be, so that transcripts are easy to follow.
type highest struct{}

func (highest) Uint64() uint64 { return ^uint64(0) }

// player is a machine that transcripts drive. It adds a tick at each time of a Wake, and an answer 1 ms after the query
// of a node that says one, and writes their time in front of their output.
type player struct {
	m      *Machine
	now    time.Duration
	wake   time.Duration
	flight uint64
	says   map[string][]string // by node, the words of its answer
	coming *coming
	out    *strings.Builder
}

// coming is an answer that follows without input.
type coming struct {
	at time.Duration
	e  Event
}

func TestTranscripts(t *testing.T) {
	transcript.Test(t, "testdata/*.txt", func() transcript.Machine { return &player{wake: -1, says: map[string][]string{}} })
}

func (*player) EndBlock() error { return nil }

func (p *player) Run(out *strings.Builder, line string) error {
	p.out = out
	words := strings.Fields(line)
	switch words[0] {
	case "config":
		return p.config(words[1:])
	case "view":
		writeView(p.out, p.m.View())
		return nil
	}
	if words[0] == "says" { // says NODE ANSWER, without an answer none
		p.says[words[1]] = words[2:]
		return nil
	}
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	if err := p.until(at); err != nil {
		return err
	}
	e, err := p.event(words[1:])
	if err != nil {
		return err
	}
	p.step(at, e, "")
	return nil
}

// until runs the events that happen before at, without input.
func (p *player) until(at time.Duration) error {
	for {
		switch {
		case p.coming != nil && p.coming.at <= at:
			next := p.coming
			p.coming = nil
			p.step(next.at, next.e, next.at.String()+": ")
		case p.wake >= 0 && p.wake < at:
			when := p.wake
			p.step(when, Tick{}, when.String()+": ")
			if p.wake <= when {
				return fmt.Errorf("no Wake after the one of %v", when)
			}
		default:
			return nil
		}
	}
}

func (p *player) config(words []string) error {
	c := Config{Rand: rand.New(highest{})}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "seeds":
			c.Seeds = strings.Split(value, ",")
		case "tls":
			c.TLS = true
		case "interval":
			var err error
			if c.MinInterval, err = time.ParseDuration(value); err != nil {
				return err
			}
		case "map":
			from, to, _ := strings.Cut(value, "->")
			c.MapAddr = func(addr string) string { return strings.Replace(addr, from, to, 1) }
		default:
			return errors.New("unknown setting " + key)
		}
	}
	p.m = New(c)
	return nil
}

func (p *player) step(at time.Duration, e Event, prefix string) {
	p.now = at
	for _, a := range p.m.Step(at, e) {
		if text := p.action(a); text != "" {
			fmt.Fprintf(p.out, "%s%s\n", prefix, text)
		}
	}
}

// action writes an action down and remembers its number for the event that answers it.
func (p *player) action(a Action) string {
	switch a := a.(type) {
	case Query:
		p.flight = a.Seq
		p.answer(a)
		return "query " + nodeText(a.Node)
	case Resolve:
		p.flight = a.Seq
		return "resolve"
	case NewMap:
		return fmt.Sprintf("MAP %d: %s (%s)", a.Map.Version, mapText(a.Map), a.Cause)
	case Lost:
		return fmt.Sprintf("LOST %v", a.Err)
	case Found:
		return "FOUND"
	case Wake:
		p.wake = a.At
		return "wake " + a.At.String()
	}
	return fmt.Sprintf("unknown %T", a)
}

// answer lets the answer follow that the node says.
func (p *player) answer(q Query) {
	words := p.says[q.Node.Addr]
	if len(words) == 0 {
		return
	}
	e, err := answerOf(words)
	if err != nil {
		panic(err)
	}
	e.Seq = q.Seq
	p.coming = &coming{at: p.now + time.Millisecond, e: e}
}

// nodeText writes a node down: its address, then its hostname after a slash, unless that is the host of the address.
func nodeText(n Node) string {
	if n.Hostname == "" || strings.HasPrefix(n.Addr, n.Hostname+":") {
		return n.Addr
	}
	return n.Addr + "/" + n.Hostname
}

// mapText writes a map down: "A:1+B:1 0-99 200, C:1 none".
func mapText(m *Map) string {
	parts := make([]string, len(m.Shards))
	for i := range m.Shards {
		s := &m.Shards[i]
		text := nodeText(s.Primary)
		for _, n := range s.Replicas {
			text += "+" + nodeText(n)
		}
		// The slots of one shard are the uncovered ones of a map in which all others are covered.
		var others Map
		for slot, owner := range m.Owner {
			if int(owner) != i+1 {
				others.Owner[slot] = 1
			}
		}
		slots := strings.ReplaceAll(others.Uncovered(), ",", "")
		if slots == "" {
			slots = "none"
		}
		parts[i] = text + " " + slots
	}
	return strings.Join(parts, ", ")
}

func (p *player) event(words []string) (Event, error) {
	rest := strings.Join(words[1:], " ")
	switch words[0] {
	case "start":
		return Start{}, nil
	case "tick":
		return Tick{}, nil
	case "late": // after its time
		a, err := answerOf(words[2:])
		a.Seq = p.flight - 1
		return a, err
	case "resolved", "unresolved", "answer":
		if f := p.m.round.flight; f.seq == 0 || f.lookup != strings.HasSuffix(words[0], "resolved") {
			return nil, errors.New("nobody asked")
		}
	}
	switch words[0] {
	case "resolved":
		e := Resolved{Seq: p.flight}
		for _, w := range words[1:] {
			addr, name, _ := strings.Cut(w, "/")
			e.Nodes = append(e.Nodes, Node{Addr: addr, Hostname: name})
		}
		return e, nil
	case "unresolved":
		return Resolved{Seq: p.flight, Err: errors.New(rest)}, nil
	case "answer":
		a, err := answerOf(words[1:])
		a.Seq = p.flight
		return a, err
	case "moved": // moved SLOT FROM TO VERSION
		slot, err := strconv.Atoi(words[1])
		if err != nil {
			return nil, err
		}
		version, err := strconv.ParseUint(words[4], 10, 64)
		return Moved{Slot: slot, From: words[2], To: words[3], Version: version}, err
	case "ask":
		return Ask{From: words[1], To: words[2]}, nil
	case "readonly", "masterdown", "loading", "lost", "clusterdown", "changed":
		kind := map[string]topology.Evidence{"readonly": topology.ReadOnly, "masterdown": topology.MasterDown, "loading": topology.Loading, "lost": topology.ConnLost, "clusterdown": topology.ClusterDown, "changed": topology.Changed}
		return Evidence{Kind: kind[words[0]], Addr: words[1]}, nil
	}
	return nil, errors.New("unknown event")
}

func bulk(s string) resp.Value { return resp.Value{Kind: resp.BulkString, Str: []byte(s)} }

func integer(n int) resp.Value { return resp.Value{Kind: resp.Integer, Int: int64(n)} }

func list(elems ...resp.Value) resp.Value { return resp.Value{Kind: resp.Array, Elems: elems} }

func replyError(text string) resp.Value {
	return resp.Value{Kind: resp.SimpleError, Str: []byte(text)}
}

// answerOf builds the outcome of a query from words:
//
//	answer epoch 5 0-99 A:1+B:1 100-16383 C:1   state ok; B is a replica of A
//	answer fail 5 0-16383 A:1                   state fail
//	answer info -NOPERM_x 0-16383 A:1           an error for CLUSTER INFO; its underscores are spaces
//	answer slots -NOPERM x                      an error for CLUSTER SLOTS
//	answer raw "INFO" "SLOTS"                   RESP
//	answer lost connection refused              another error
//
// A node is host:port/id/name=value/...; the host null is a null. The id is the address in capital letters, unless it
// is given.
func answerOf(words []string) (Answer, error) {
	rest := strings.Join(words[1:], " ")
	info := func(state, epoch string) resp.Value {
		return bulk("cluster_enabled:1\r\ncluster_state:" + state + "\r\ncluster_current_epoch:" + epoch + "\r\ncluster_my_epoch:1\r\n")
	}
	var a Answer
	switch words[0] {
	case "lost":
		return Answer{Err: errors.New(rest)}, nil
	case "slots":
		return Answer{Info: replyError(rest), Slots: replyError(rest)}, nil
	case "raw":
		i := strings.Index(rest, `" "`)
		if i < 0 {
			return Answer{}, errors.New("two quoted texts are needed")
		}
		for j, quoted := range []string{rest[:i+1], rest[i+2:]} {
			raw, err := strconv.Unquote(quoted)
			if err != nil {
				return Answer{}, err
			}
			v, _, err := resp.Decode([]byte(raw))
			if err != nil {
				return Answer{}, err
			}
			*[]*resp.Value{&a.Info, &a.Slots}[j] = v
		}
		return a, nil
	case "info":
		a.Info = replyError(strings.ReplaceAll(words[1][1:], "_", " "))
	case "epoch":
		a.Info = info("ok", words[1])
	default:
		a.Info = info(words[0], words[1])
	}
	a.Slots = list()
	if len(words) == 2 {
		return a, nil
	}
	for i := 2; i+1 < len(words); i += 2 {
		first, last, ok := strings.Cut(words[i], "-")
		if !ok {
			last = first
		}
		from, err := strconv.Atoi(first)
		if err != nil {
			return a, err
		}
		to, err := strconv.Atoi(last)
		if err != nil {
			return a, err
		}
		entry := list(integer(from), integer(to))
		for n := range strings.SplitSeq(words[i+1], "+") {
			entry.Elems = append(entry.Elems, nodeOf(n))
		}
		a.Slots.Elems = append(a.Slots.Elems, entry)
	}
	return a, nil
}

func nodeOf(text string) resp.Value {
	parts := strings.Split(text, "/")
	i := strings.LastIndexByte(parts[0], ':')
	port, err := strconv.Atoi(parts[0][i+1:])
	if err != nil {
		return bulk(text) // malformed
	}
	host := bulk(parts[0][:i])
	if parts[0][:i] == "null" {
		host = resp.Value{Kind: resp.BulkString, Null: true}
	}
	id := "ID-" + strings.ToUpper(parts[0])
	if len(parts) > 1 && parts[1] != "" {
		id = parts[1]
	}
	metadata := list()
	for _, p := range parts[min(2, len(parts)):] {
		name, value, _ := strings.Cut(p, "=")
		metadata.Elems = append(metadata.Elems, bulk(name), bulk(value))
	}
	return list(host, integer(port), bulk(id), metadata)
}

func writeView(out *strings.Builder, v View) {
	if v.Map != nil {
		fmt.Fprintf(out, "map %d, epoch %d, %d slots covered, changed at %v: %s\n", v.Map.Version, v.Epoch, v.Map.Covered(), v.Changed, v.Cause)
		fmt.Fprintf(out, "answered at %v by %s, patches %d, interval %v\n", v.Answered, v.AnsweredBy, v.Patches, v.Interval)
	}
	if v.NoEpoch {
		out.WriteString("no epoch\n")
	}
	if v.Outdated > 0 {
		fmt.Fprintf(out, "outdated %d\n", v.Outdated)
	}
	if v.Malformed > 0 {
		fmt.Fprintf(out, "malformed %d: %s\n", v.Malformed, v.Problem)
	}
	if v.Err != nil {
		fmt.Fprintf(out, "error: %v\n", v.Err)
	}
}
