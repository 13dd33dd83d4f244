package lane_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// gated answers a command when the test lets it, and reports each as it comes.
type gated struct {
	came chan string
	gate chan struct{}
}

func newGated() *gated {
	return &gated{came: make(chan string, 100), gate: make(chan struct{}, 100)}
}

func (g *gated) serve(p *peer) {
	for {
		args := p.command()
		if args == nil {
			return
		}
		g.came <- args[0]
		<-g.gate
		if !p.send("+" + args[0] + "\r\n") {
			return
		}
	}
}

func (g *gated) wantCommand(t *testing.T, name string) {
	t.Helper()
	if got := await(t, name, g.came); got != name {
		t.Fatalf("the server got %s, want %s", got, name)
	}
}

func (g *gated) wantNothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-g.came:
		t.Fatalf("the server got %s too early", got)
	default:
	}
}

func (k *link) startAlone(ctx context.Context, opt lane.Options, args ...any) <-chan result {
	ch := make(chan result, 1)
	go func() {
		frame, err := k.DoAlone(ctx, args, opt)
		ch <- result{frame, err}
	}()
	return ch
}

func (k *link) waitAvoided() {
	k.t.Helper()
	within(k.t, "the lane to be avoided", func() bool { return k.Load() > 1<<20 })
}

func TestAloneWaitsForWhatIsDueAndHoldsNewcomers(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	first := k.start(background, lane.Options{}, "A")
	server.wantCommand(t, "A")
	auth := k.startAlone(background, lane.Options{}, "AUTH")
	k.waitAvoided()
	second := k.start(background, lane.Options{}, "B")
	if err := k.Post([]byte("*1\r\n$1\r\nP\r\n"), 1, nil, 0, lane.Options{}); !errors.Is(err, lane.ErrFull) {
		t.Errorf("a post met a lane that is held: %v", err)
	}
	if d := k.Depth(); d != 1 {
		t.Errorf("%d replies are due, want 1", d)
	}
	server.wantNothing(t)
	server.gate <- struct{}{}
	server.wantCommand(t, "AUTH")
	await(t, "A's reply", first)
	server.wantNothing(t)
	server.gate <- struct{}{}
	if r := await(t, "AUTH's reply", auth); r.err != nil || string(r.frame) != "+AUTH\r\n" {
		t.Errorf("got %q, %v", r.frame, r.err)
	}
	server.wantCommand(t, "B")
	server.gate <- struct{}{}
	await(t, "B's reply", second)
	within(t, "the lane to be open", func() bool { return k.Load() == 0 })
}

func TestAnAloneThatGivesUpItsTurnLetsNewcomersIn(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	first := k.start(background, lane.Options{}, "A")
	server.wantCommand(t, "A")
	ctx, cancel := context.WithCancel(background)
	auth := k.startAlone(ctx, lane.Options{}, "AUTH")
	k.waitAvoided()
	second := k.start(background, lane.Options{}, "B")
	cancel()
	r := await(t, "AUTH to give up", auth)
	if !errors.Is(r.err, context.Canceled) {
		t.Errorf("got %v", r.err)
	}
	wantSent(t, r.err, false)
	server.gate <- struct{}{}
	server.wantCommand(t, "B")
	server.gate <- struct{}{}
	await(t, "A's reply", first)
	await(t, "B's reply", second)
}

func TestAnAloneWhoseCallerLeftKeepsTheLaneUntilItsReply(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	ctx, cancel := context.WithCancel(background)
	auth := k.startAlone(ctx, lane.Options{}, "AUTH")
	server.wantCommand(t, "AUTH")
	cancel()
	r := await(t, "AUTH to give up", auth)
	wantSent(t, r.err, true)
	k.waitAvoided()
	late := k.start(background, lane.Options{}, "B")
	server.wantNothing(t)
	server.gate <- struct{}{}
	server.wantCommand(t, "B")
	server.gate <- struct{}{}
	if r := await(t, "B's reply", late); string(r.frame) != "+B\r\n" {
		t.Errorf("got %q, %v", r.frame, r.err)
	}
}

func TestAnEndOfTheLaneEndsTheWaitToBeAlone(t *testing.T) {
	ends := map[string]struct {
		end  func(k *link)
		want error
	}{
		"drain":   {func(k *link) { k.Drain(func() {}) }, lane.ErrDraining},
		"retire":  {func(k *link) { k.Retire(func() {}) }, lane.ErrDraining},
		"condemn": {func(k *link) { k.Fail(wire.ErrClosed) }, wire.ErrClosed},
	}
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			server := newGated()
			k := connect(t, overTCP, config(), server.serve)
			defer k.close()
			first := k.start(background, lane.Options{}, "A")
			server.wantCommand(t, "A")
			auth := k.startAlone(background, lane.Options{}, "AUTH")
			k.waitAvoided()
			c.end(k)
			if r := await(t, "the refusal", auth); !errors.Is(r.err, c.want) {
				t.Errorf("got %v, want %v", r.err, c.want)
			}
			server.gate <- struct{}{}
			await(t, "the end of A", first)
		})
	}
}

func TestADrainWaitsForACommandThatIsAlone(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	auth := k.startAlone(background, lane.Options{}, "AUTH")
	server.wantCommand(t, "AUTH")
	drained := make(chan struct{})
	k.Drain(func() { close(drained) })
	select {
	case <-drained:
		t.Error("the lane drained with a reply due")
	default:
	}
	server.gate <- struct{}{}
	if r := await(t, "AUTH's reply", auth); r.err != nil {
		t.Error(r.err)
	}
	await(t, "the drain", drained)
}

func TestAloneIsKeptOffInsideAState(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	for range 10 {
		server.gate <- struct{}{}
	}
	k.Forbid()
	auth := k.startAlone(background, lane.Options{}, "AUTH")
	for _, name := range []string{"MULTI", "SET", "EXEC"} { // nobody waits for the one that is kept off
		if r := await(t, name, k.start(background, lane.Options{}, name)); r.err != nil {
			t.Errorf("%s: %v", name, r.err)
		}
		server.wantCommand(t, name)
	}
	server.wantNothing(t)
	k.Permit()
	if r := await(t, "AUTH's reply", auth); r.err != nil || string(r.frame) != "+AUTH\r\n" {
		t.Errorf("got %q, %v", r.frame, r.err)
	}
	server.wantCommand(t, "AUTH")
}

func TestAloneIsNotSentOnceItsReasonIsGone(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	first := k.start(background, lane.Options{}, "A")
	server.wantCommand(t, "A")
	var still atomic.Bool
	still.Store(true)
	refused := make(chan error, 1)
	go func() {
		_, err := k.DoAloneIf(background, []any{"AUTH"}, lane.Options{}, still.Load)
		refused <- err
	}()
	k.waitAvoided()
	next := k.start(background, lane.Options{}, "B")
	still.Store(false)
	server.gate <- struct{}{}
	await(t, "A's reply", first)
	server.wantCommand(t, "B")
	server.gate <- struct{}{}
	await(t, "B's reply", next)
	var we *wire.Error
	if err := await(t, "the refusal", refused); !errors.As(err, &we) || we.Sent {
		t.Errorf("got %v, want an error that says that nothing was sent", err)
	}
}

func TestAloneIsRefusedOnASubscriber(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	k.OnPush(func([]byte) {}, true)
	var we *wire.Error
	if _, err := k.DoAlone(background, []any{"AUTH"}, lane.Options{}); !errors.As(err, &we) || we.Sent {
		t.Errorf("got %v, want an error that says that nothing was sent", err)
	}
	server.wantNothing(t)
}

func TestLoneCommandsTakeTurnsWithOthers(t *testing.T) {
	server := newGated()
	k := connect(t, overTCP, config(), server.serve)
	defer k.close()
	first := k.startAlone(background, lane.Options{}, "AUTH1")
	server.wantCommand(t, "AUTH1")
	second := k.startAlone(background, lane.Options{}, "AUTH2")
	within(t, "the second to wait", func() bool { return k.LoneWaiting() == 1 })
	other := k.start(background, lane.Options{}, "B")
	within(t, "the other to wait", func() bool { return k.WindowWaiting() == 1 })
	server.gate <- struct{}{}
	server.wantCommand(t, "B")
	server.gate <- struct{}{}
	server.wantCommand(t, "AUTH2")
	server.gate <- struct{}{}
	for _, ch := range []<-chan result{first, other, second} {
		if r := await(t, "a reply", ch); r.err != nil {
			t.Error(r.err)
		}
	}
	within(t, "the lane to be open", func() bool { return k.Load() == 0 })
}
