package keywatch

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/transcript"
	"github.com/seed-2b0d76a6/respool/resp"
)

// player is a core that transcripts drive. It writes what the core sends, and its notes. Every jittered time is as long
// as it can be.
type player struct {
	c       core
	now     time.Duration
	watches map[string]*Watch // by subscriber and key
}

// named is a subscriber of a transcript.
type named string

func (named) Notify(string, error) {}

func TestTranscripts(t *testing.T) {
	transcript.Test(t, "testdata/*.txt", func() transcript.Machine {
		p := &player{watches: map[string]*Watch{}}
		p.c.init(10*time.Second, time.Minute, func(n time.Duration) time.Duration { return n - 1 })
		return p
	})
}

func (*player) EndBlock() error { return nil }

func (p *player) Run(out *strings.Builder, line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	var err error
	switch verb {
	case "watch":
		for _, key := range words[1:] {
			x := &Watch{sub: named(words[0])}
			if err := p.c.watch(p.now, x, key); err != nil {
				fmt.Fprintf(out, "refused: %v\n", err)
				continue
			}
			p.watches[words[0]+" "+key] = x
		}
	case "stop":
		for _, key := range words[1:] {
			x := p.watches[words[0]+" "+key]
			x.stopped = true
			p.c.stop(x)
		}
	case "connect":
		p.c.connect()
	case "lost":
		p.c.disconnect()
	case "end":
		p.c.end()
	case "moves": // keys move to other nodes
		p.c.moves = true
	case "forgive":
		p.c.forgive()
	case "ok":
		err = p.c.reply(p.now, []byte("+OK\r\n"))
	case "number":
		err = p.c.reply(p.now, []byte(":1\r\n"))
	case "error":
		err = p.c.reply(p.now, []byte("-"+rest+"\r\n"))
	case "push":
		err = p.c.push(invalidation(words...))
	case "raw":
		err = p.c.push([]byte(strings.ReplaceAll(rest, `\n`, "\r\n")))
	case "wait":
		return p.wait(out, rest)
	default:
		return errors.New("unknown line")
	}
	if err != nil {
		fmt.Fprintf(out, "broken: %v\n", err)
	}
	p.write(out, "")
	return nil
}

// keyName is empty for notes without a watch, which the core always adds first.
func (n *note) keyName() string {
	if n.watch == nil {
		return ""
	}
	return n.watch.key.name
}

// invalidation is a push of names; without names it concerns all keys.
func invalidation(names ...string) []byte {
	frame := append([]byte(">2\r\n"), resp.AppendBulkString(nil, "invalidate")...)
	if len(names) == 0 {
		return append(frame, "_\r\n"...)
	}
	frame = resp.AppendArrayHeader(frame, len(names))
	for _, name := range names {
		frame = resp.AppendBulkString(frame, name)
	}
	return frame
}

// wait passes time, and runs the timers that expire.
func (p *player) wait(out *strings.Builder, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return err
	}
	for end := p.now + d; ; {
		at, ok := p.c.wakeAt()
		if !ok || at > end {
			p.now = end
			return nil
		}
		p.now = at
		p.c.tick(p.now)
		p.write(out, at.Round(time.Millisecond).String()+": ")
	}
}

func (p *player) write(out *strings.Builder, prefix string) {
	for {
		raw, r := p.c.next(p.now, nil)
		if r == nil {
			break
		}
		p.c.sent(r)
		for len(raw) > 0 {
			n, _ := resp.FrameLen(raw)
			v, _, _ := resp.Decode(raw[:n])
			raw = raw[n:]
			words := make([]string, len(v.Elems))
			for i := range v.Elems {
				words[i] = string(v.Elems[i].Str)
			}
			if words[0] == "EXISTS" {
				slices.Sort(words[1:]) // the order of a map
			}
			fmt.Fprintf(out, "%ssend %s\n", prefix, strings.Join(words, " "))
		}
	}
	notes := p.c.takeNotes()
	slices.SortStableFunc(notes, func(a, b note) int { return strings.Compare(a.keyName(), b.keyName()) }) // the order of a map
	for _, n := range notes {
		switch x := n.watch; {
		case x == nil && n.refusal == nil:
			fmt.Fprintf(out, "%spossible\n", prefix)
		case x == nil:
			fmt.Fprintf(out, "%simpossible: %v\n", prefix, n.refusal)
		case x.stopped:
		case n.err != nil:
			fmt.Fprintf(out, "%send %v %s: %v\n", prefix, x.sub, x.key.name, n.err)
		default:
			x.noted = false
			fmt.Fprintf(out, "%snotify %v %s\n", prefix, x.sub, x.key.name)
		}
	}
}
