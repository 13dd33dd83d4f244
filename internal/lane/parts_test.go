package lane

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// asked returns the frame that answers a proof, as ECHO does.
func asked(p *proof) []frame {
	return []frame{{b: []byte("$16\r\n" + string(p.token[:]) + "\r\n")}}
}

func replies(texts ...string) (frames []frame) {
	for _, text := range texts {
		frames = append(frames, frame{b: []byte(text)})
	}
	return frames
}

// newProof returns a proof whose token has been sent behind ahead pending replies.
func newProof(form Proof, ahead int) *proof {
	p := &proof{}
	p.init(true)
	p.by(form)
	p.ask(nil, ahead, 3)
	return p
}

func TestATokenMustArriveInItsPlace(t *testing.T) {
	other, push := replies("+OK\r\n"), []frame{{b: []byte(">1\r\n+x\r\n"), push: true}}
	for name, x := range map[string]struct {
		frames func(p *proof) []frame
		want   error
	}{
		"in its place":         {func(p *proof) []frame { return append(replies("+OK\r\n"), asked(p)...) }, nil},
		"behind a push":        {func(p *proof) []frame { return append(append(push, other...), asked(p)...) }, nil},
		"a reply early":        {func(p *proof) []frame { return asked(p) }, ErrOutOfStep},
		"a reply late":         {func(p *proof) []frame { return append(replies("+OK\r\n", "+OK\r\n"), asked(p)...) }, ErrOutOfStep},
		"quoted in its place":  {func(p *proof) []frame { return replies("+OK\r\n", "-ERR syntax "+string(p.token[:])+"\r\n") }, nil},
		"quoted a reply early": {func(p *proof) []frame { return replies("-ERR syntax " + string(p.token[:]) + "\r\n") }, ErrOutOfStep},
	} {
		p := newProof(EchoProof, 1)
		if err := p.verify(x.frames(p)); !errors.Is(err, x.want) || err == nil && p.expects() {
			t.Errorf("%s: %v, want %v; it expects more: %v", name, err, x.want, p.expects())
		}
	}
}

// An error in the token's place proves nothing. The same token is sent again, and after some errors in another form.
func TestAnErrorInTheTokensPlaceProvesNothing(t *testing.T) {
	for name, x := range map[string]struct {
		reply string
		after []Proof // the form after each reply
		hello bool
	}{
		"temporary":     {"-LOADING Redis is loading\r\n", []Proof{EchoProof, EchoProof, EchoProof, EchoProof}, true},
		"refused":       {"-ERR unknown command\r\n", []Proof{EchoProof, EchoProof, HelloProof, HelloProof, HelloProof, NoProof}, true},
		"no permission": {"-NOPERM no\r\n", []Proof{HelloProof}, true},
		"no HELLO":      {"-NOPERM no\r\n", []Proof{NoProof}, false},
	} {
		p := newProof(EchoProof, 0)
		p.hello = x.hello
		for i, form := range x.after {
			token := p.token
			if err := p.verify(replies(x.reply)); err != nil || p.form != form || p.pending || p.doubt != (form != NoProof) {
				t.Fatalf("%s, reply %d: %v, form %d, pending %v, doubt %v", name, i+1, err, p.form, p.pending, p.doubt)
			}
			if form == NoProof {
				break
			}
			if raw := p.ask(nil, 0, 3); !bytes.Contains(raw, token[:]) {
				t.Fatalf("%s: another token before the last one was answered", name)
			}
		}
	}
	p := newProof(EchoProof, 0)
	first := p.token
	if err := p.verify(asked(p)); err != nil {
		t.Fatal(err)
	}
	if p.ask(nil, 0, 3); p.token == first {
		t.Error("the same token twice")
	}
}

func TestATokenIsDueByRepliesAndByTime(t *testing.T) {
	var p proof
	p.init(true)
	if p.due(proofEvery) || !p.due(1) {
		t.Error("want a token after proofEvery replies")
	}
	p.skip()
	for range proofPeriod / (100 * time.Millisecond) {
		p.tick(100 * time.Millisecond)
	}
	if p.left == 0 {
		t.Error("the lane sends a token without commands")
	}
	p.due(1)
	for range proofPeriod / (100 * time.Millisecond) {
		p.tick(100 * time.Millisecond)
	}
	if !p.due(1) {
		t.Error("want a token after proofPeriod with a command")
	}
}

// Ticks without progress lead to the findings in turn. A blocking command and an excuse put them off.
func TestSilenceIsFoundByTicks(t *testing.T) {
	const period = 100 * time.Millisecond
	clock := stallClock{limit: time.Second, suspect: 400 * time.Millisecond, period: period}
	run := func(ticks int, block command.Block) (found silence, reports int) {
		for range ticks {
			one, report := clock.tick(block)
			if found = one; report {
				reports++
			}
		}
		return found, reports
	}
	for _, step := range []struct {
		name    string
		before  func()
		ticks   int
		block   command.Block
		want    silence
		reports int
	}{
		{name: "at once", ticks: 2, want: usual},
		{name: "half the time", ticks: 1, want: slow},
		{name: "the time", ticks: 2, want: suspected, reports: 1},
		{name: "the time again", ticks: 4, want: suspected, reports: 1},
		{name: "an excuse", before: clock.excuse, ticks: 9, want: suspected, reports: 2},
		{name: "the limit after the excuse", ticks: 2, want: stalled},
		{name: "progress", before: clock.moved, ticks: 2, want: usual},
		{name: "a command that blocks", before: clock.moved, ticks: 10, block: command.Block(time.Second), want: usual},
		{name: "its time and the limit", ticks: 11, block: command.Block(time.Second), want: stalled, reports: 2},
		{name: "a command that blocks for ever", before: clock.moved, ticks: 1000, block: command.BlockForever, want: usual},
	} {
		if step.before != nil {
			step.before()
		}
		if found, reports := run(step.ticks, step.block); found != step.want || reports != step.reports {
			t.Errorf("%s: finding %d with %d reports, want %d and %d", step.name, found, reports, step.want, step.reports)
		}
	}
}

// One flush runs at a time. It takes what callers have appended, and callers append meanwhile.
func TestTheOutboxHasTwoBuffers(t *testing.T) {
	var o outbox
	add := func(text string) {
		o.buf = append(o.buf, text...)
		o.queued += uint64(len(text))
	}
	add("one")
	if !o.begin() || o.begin() {
		t.Fatal("want one flush at a time")
	}
	out := o.take()
	base := o.offer(len(out))
	add("two!")
	if string(out) != "one" || o.offered != 3 {
		t.Errorf("the flush takes %q, and offers %d bytes", out, o.offered)
	}
	o.accepted(base, 1)
	if o.offered != 1 {
		t.Errorf("%d bytes accepted", o.offered)
	}
	o.accepted(base, 3)
	o.reuse(out)
	if out = o.take(); string(out) != "two!" || !o.flushing {
		t.Errorf("the flush goes on with %q", out)
	}
	o.reuse(out)
	add("three")
	o.drop()
	if o.queued != 7 || len(o.buf) != 0 {
		t.Errorf("%d bytes queued after a drop", o.queued)
	}
	if o.take() != nil || o.flushing || !o.begin() {
		t.Error("the flush does not end with the bytes")
	}
	o.take()
	add(strings.Repeat("x", 2*keepBuffer))
	if o.shrink(); cap(o.buf) > keepBuffer {
		t.Errorf("an idle lane keeps %d bytes", cap(o.buf))
	}
}

// Waiting requests enter in order. Room that they were granted and have not used counts.
func TestTheWindowAdmitsInOrder(t *testing.T) {
	w := window{limit: load{replies: 4, bytes: 100}}
	w.due = load{replies: 3, bytes: 10}
	if !w.fits(3) || w.fits(4) {
		t.Error("want room for one more reply")
	}
	w.due.bytes = 100
	if w.fits(3) {
		t.Error("want no room for further bytes")
	}
	var waits []*windowWait
	for _, want := range []load{{1, 80}, {2, 50}, {1, 1}} {
		waits = append(waits, w.waiting.add(want, false))
	}
	granted := func() (n int) {
		for _, x := range waits {
			n += len(x.ch)
		}
		return n
	}
	if w.admit(3) || granted() != 0 {
		t.Error("a full window admits a request")
	}
	w.due = load{}
	if !w.admit(0) || granted() != 2 || w.granted != (load{3, 130}) { // the second exceeds the bytes, so the third waits
		t.Errorf("%d requests entered, with %v", granted(), w.granted)
	}
	if len(waits[0].ch) != 1 || len(waits[1].ch) != 1 || w.waiting.First() != waits[2] {
		t.Error("the order is another")
	}
}
