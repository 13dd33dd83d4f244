package sentinel

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

// highest makes every jittered pause as long as it can be, so that transcripts are easy to follow.
type highest struct{}

func (highest) Uint64() uint64 { return ^uint64(0) }

// player is a machine that transcripts drive. It adds a tick at each time of a Wake, and writes
// their time in front of their output. An event after "always" follows each action that asks for
// it, and the player writes it after "<".
type player struct {
	m      *Machine
	now    time.Duration
	wake   time.Duration
	links  map[string]uint64 // by sentinel and link
	asks   map[string]uint64 // by sentinel and query
	roles  map[string]uint64 // by node
	always map[string]string // what follows from an action 1 ms later, by its first words
	coming []coming
	out    *strings.Builder
}

// coming is an event that follows by itself.
type coming struct {
	at   time.Duration
	line string
}

func TestTranscripts(t *testing.T) {
	transcript.Test(t, "testdata/*.txt", func() transcript.Machine {
		return &player{wake: -1, links: map[string]uint64{}, asks: map[string]uint64{}, roles: map[string]uint64{}, always: map[string]string{}}
	})
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
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	if err := p.until(at); err != nil {
		return err
	}
	if words[1] == "always" {
		p.always[p.key(words[2:])] = strings.Join(words[2:], " ")
		return nil
	}
	e, err := p.event(words[1:])
	if err != nil {
		return err
	}
	p.step(at, e, "")
	return nil
}

// key gives the words of an event that say what it follows from.
func (p *player) key(words []string) string {
	if words[0] == "up" || words[0] == "down" {
		return "link " + words[1] + " " + words[2]
	}
	return words[0] + " " + words[1]
}

// until runs everything that comes before at by itself.
func (p *player) until(at time.Duration) error {
	for {
		switch {
		case len(p.coming) > 0 && p.coming[0].at <= at && (p.wake < 0 || p.coming[0].at <= p.wake):
			next := p.coming[0]
			p.coming = p.coming[1:]
			e, err := p.event(strings.Fields(next.line))
			if err != nil {
				continue // the machine does not want it any more
			}
			fmt.Fprintf(p.out, "%v < %s\n", next.at, next.line)
			p.step(next.at, e, "")
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

func (p *player) follow(key string) {
	if line, ok := p.always[key]; ok {
		p.coming = append(p.coming, coming{p.now + time.Millisecond, line})
	}
}

func (p *player) config(words []string) error {
	c := Config{Name: "mymaster", Poll: 8 * time.Second, Rand: rand.New(highest{})}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "name":
			c.Name = value
		case "sentinels":
			c.Sentinels = strings.Split(value, ",")
		case "min-other":
			c.MinOther, err = strconv.Atoi(value)
		case "replicas":
			c.Replicas = true
		case "max-lag":
			c.MaxReplicaLag, err = time.ParseDuration(value)
		case "hold":
			c.HoldFor, err = time.ParseDuration(value)
		case "map":
			from, to, _ := strings.Cut(value, "->")
			c.MapAddr = func(addr string) string { return strings.Replace(addr, from, to, 1) }
		default:
			return errors.New("unknown setting " + key)
		}
		if err != nil {
			return err
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

// action writes an action down and remembers its number for the events that follow from it.
func (p *player) action(a Action) string {
	switch a := a.(type) {
	case Connect:
		p.links[a.Sentinel+" "+a.Link.String()] = a.Seq
		p.follow("link " + a.Sentinel + " " + a.Link.String())
		return fmt.Sprintf("connect %s %s", a.Sentinel, a.Link)
	case Disconnect:
		delete(p.links, a.Sentinel+" "+a.Link.String())
		return fmt.Sprintf("disconnect %s %s", a.Sentinel, a.Link)
	case Check:
		return "check " + a.Sentinel
	case Ask:
		p.asks[a.Sentinel+" "+a.Query.String()] = a.Seq
		p.follow(strings.ToLower(a.Query.String()) + " " + a.Sentinel)
		return "ask " + a.Sentinel + " " + strings.TrimSuffix(fmt.Sprintln(a.Args...), "\n")
	case Subscribe:
		return "subscribe " + a.Sentinel
	case Verify:
		p.roles[a.Addr] = a.Seq
		p.follow("role " + a.Addr)
		return "verify " + a.Addr
	case NewEpoch:
		return fmt.Sprintf("EPOCH %d %s replicas %v (%s)", a.Epoch, a.Primary, a.Replicas, a.Cause)
	case Hold:
		return fmt.Sprintf("HOLD %d (%s)", a.Epoch, a.Reason)
	case Unhold:
		return fmt.Sprintf("UNHOLD %d", a.Epoch)
	case ReplicasChanged:
		return fmt.Sprintf("REPLICAS %d %v", a.Epoch, a.Replicas)
	case Lost:
		return fmt.Sprintf("LOST %d %v", a.Epoch, a.Err)
	case Wake:
		p.wake = a.At
		return "wake " + a.At.String()
	}
	return fmt.Sprintf("unknown %T", a)
}

func (p *player) event(words []string) (Event, error) {
	rest := func(n int) string { return strings.Join(words[min(n, len(words)):], " ") }
	if len(words) < 2 {
		words = append(words, "")
	}
	switch words[0] {
	case "start":
		return Start{}, nil
	case "tick":
		return Tick{}, nil
	case "up", "down":
		return p.linkEvent(words[0], words[1], rest(2))
	case "push":
		return Push{Sentinel: words[1], Channel: words[2], Payload: rest(3)}, nil
	case "readonly", "masterdown", "loading", "lost":
		kind := map[string]topology.Evidence{"readonly": topology.ReadOnly, "masterdown": topology.MasterDown, "loading": topology.Loading, "lost": topology.ConnLost}
		epoch, err := strconv.ParseUint(words[2], 10, 64)
		return Evidence{Kind: kind[words[0]], Addr: words[1], Epoch: epoch}, err
	case "role":
		seq, ok := p.roles[words[1]]
		if !ok {
			return nil, errors.New("nobody asked")
		}
		e := roleAnswer(words[2:])
		e.Seq = seq
		return e, nil
	}
	seq, ok := p.asks[words[1]+" "+strings.ToUpper(words[0])]
	if !ok {
		return nil, errors.New("nobody asked")
	}
	e, err := queryAnswer(words[0], words[2:])
	e.Seq = seq
	return e, err
}

func (p *player) linkEvent(what, addr, rest string) (Event, error) {
	link, text, _ := strings.Cut(rest, " ")
	seq, ok := p.links[addr+" "+link]
	if !ok {
		return nil, errors.New("not connected")
	}
	if what == "up" {
		return SentinelUp{Seq: seq}, nil
	}
	delete(p.links, addr+" "+link)
	return SentinelDown{Seq: seq, Err: errorFrom(text)}, nil
}

// errorFrom takes a text that starts with a minus sign for a server's error.
func errorFrom(text string) error {
	if server, ok := strings.CutPrefix(text, "-"); ok {
		return fmt.Errorf("handshake: %w", resp.NewServerError(server))
	}
	if text == "silent" {
		return ErrSilent
	}
	if text == "protocol" {
		return &resp.ProtocolError{Reason: "found 'SSH-2.0'"}
	}
	return errors.New(text)
}

func bulk(s string) resp.Value { return resp.Value{Kind: resp.BulkString, Str: []byte(s)} }

func list(elems ...resp.Value) resp.Value { return resp.Value{Kind: resp.Array, Elems: elems} }

func fields(pairs ...string) resp.Value {
	var elems []resp.Value
	for _, p := range pairs {
		elems = append(elems, bulk(p))
	}
	return list(elems...)
}

// special gives answers that are no words: an error of the server, a failure, or raw RESP in quotes.
func special(words []string) (Answer, bool) {
	text := strings.Join(words, " ")
	switch {
	case strings.HasPrefix(text, "-"):
		return Answer{Reply: resp.Value{Kind: resp.SimpleError, Str: []byte(text[1:])}}, true
	case len(words) > 0 && words[0] == "fail":
		return Answer{Err: errors.New(strings.Join(words[1:], " "))}, true
	case strings.HasPrefix(text, `"`):
		raw, err := strconv.Unquote(text)
		if err != nil {
			panic(err)
		}
		v, _, err := resp.Decode([]byte(raw))
		return Answer{Reply: v, Err: err}, true
	}
	return Answer{}, false
}

func roleAnswer(words []string) Answer {
	if a, ok := special(words); ok {
		return a
	}
	var elems []resp.Value
	for i, w := range words {
		n, err := strconv.ParseInt(w, 10, 64)
		if err == nil && i > 0 {
			elems = append(elems, resp.Value{Kind: resp.Integer, Int: n})
		} else {
			elems = append(elems, bulk(w))
		}
	}
	return Answer{Reply: list(elems...)}
}

// queryAnswer builds answers from words:
//
//	master s1:26379 10.0.0.1:6379 master others=2 epoch=0
//	replicas s1:26379 10.0.0.2:6379 10.0.0.3:6379/slave,s_down/err
//	sentinels s1:26379 10.0.1.2:26379/id2
//	myid s1:26379 id1
func queryAnswer(query string, words []string) (Answer, error) {
	if a, ok := special(words); ok {
		return a, nil
	}
	switch query {
	case "master":
		i := strings.LastIndexByte(words[0], ':')
		pairs := []string{"name", "mymaster", "ip", words[0][:i], "port", words[0][i+1:], "flags", words[1]}
		for _, w := range words[2:] {
			key, value, _ := strings.Cut(w, "=")
			key = strings.NewReplacer("others", "num-other-sentinels", "epoch", "config-epoch").Replace(key)
			pairs = append(pairs, key, value)
		}
		return Answer{Reply: fields(pairs...)}, nil
	case "myid":
		return Answer{Reply: bulk(words[0])}, nil
	case "replicas", "sentinels":
		elems := []resp.Value{}
		for _, w := range words {
			parts := append(strings.Split(w, "/"), "", "")
			i := strings.LastIndexByte(parts[0], ':')
			pairs := []string{"ip", parts[0][:i], "port", parts[0][i+1:]}
			if query == "replicas" {
				flags, link := parts[1], parts[2]
				if flags == "" {
					flags = "slave"
				}
				if link == "" {
					link = "ok"
				}
				pairs = append(pairs, "flags", flags, "master-link-status", link, "role-reported", "slave")
			} else {
				pairs = append(pairs, "runid", parts[1], "flags", "sentinel")
			}
			elems = append(elems, fields(pairs...))
		}
		return Answer{Reply: list(elems...)}, nil
	}
	return Answer{}, errors.New("unknown event")
}

func writeView(out *strings.Builder, v View) {
	state := "known"
	if !v.Known {
		state = "lost"
	}
	fmt.Fprintf(out, "epoch %d, primary %q %s, config epoch %d, replicas %v\n", v.Epoch, v.Primary, state, v.ConfigEpoch, v.Replicas)
	fmt.Fprintf(out, "changed at %v: %s\n", v.Changed, v.Cause)
	for _, r := range v.LeftOut {
		fmt.Fprintf(out, "left out %s: %s\n", r.Addr, r.Reason)
	}
	for _, s := range v.Sentinels {
		fmt.Fprintf(out, "sentinel %s %q", s.Addr, s.ID)
		for _, mark := range []struct {
			set  bool
			name string
		}{{!s.Configured, "learnt"}, {s.Command, "command"}, {s.Subscription, "subscription"}} {
			if mark.set {
				out.WriteString(" " + mark.name)
			}
		}
		fmt.Fprintf(out, " %s: %s (at %v)\n", s.Finding, s.Said, s.At)
	}
	if v.Malformed > 0 {
		fmt.Fprintf(out, "malformed %d\n", v.Malformed)
	}
	if v.Err != nil {
		fmt.Fprintf(out, "error: %v\n", v.Err)
	}
}
