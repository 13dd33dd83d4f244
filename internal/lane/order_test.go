package lane_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// chaos is a server that echoes, in pieces cut anywhere, with pushes between. As
// newer servers do, it leaves AUTH unanswered behind replies that are not sent yet.
type chaos struct {
	rnd    *rand.Rand
	pushes int
	seen   atomic.Int64 // commands read
}

func (c *chaos) serve(p *peer) {
	var out strings.Builder
	for {
		args := p.command()
		if args == nil {
			return
		}
		c.seen.Add(1)
		if args[0] == "AUTH" && out.Len() > 0 {
			continue
		}
		c.push(&out)
		out.WriteString(bulk(args[len(args)-1]))
		c.push(&out)
		if p.in.Buffered() > 0 && c.rnd.IntN(4) > 0 {
			continue
		}
		if !c.cut(p, out.String()) {
			return
		}
		out.Reset()
	}
}

// push sometimes puts a push between replies, now and then a large one.
func (c *chaos) push(out *strings.Builder) {
	if c.rnd.IntN(8) > 0 {
		return
	}
	pad := 0
	if c.rnd.IntN(16) == 0 {
		pad = c.rnd.IntN(100 << 10)
	}
	fmt.Fprintf(out, ">2\r\n:%d\r\n%s", c.pushes, bulk(strings.Repeat("p", pad)))
	c.pushes++
}

// cut sends bytes in random pieces.
func (c *chaos) cut(p *peer, bytes string) bool {
	for len(bytes) > 0 {
		n := len(bytes)
		switch c.rnd.IntN(8) {
		case 0:
			n = 1 + c.rnd.IntN(min(n, 16))
		case 1, 2, 3:
			n = 1 + c.rnd.IntN(n)
		}
		if !p.send(bytes[:n]) {
			return false
		}
		bytes = bytes[n:]
		for range c.rnd.IntN(3) {
			runtime.Gosched()
		}
	}
	return true
}

// pushOrder checks that pushes come whole and in order.
type pushOrder struct {
	next  int
	wrong string
}

func (o *pushOrder) take(frame []byte) {
	if want := fmt.Sprintf(">2\r\n:%d\r\n$", o.next); !strings.HasPrefix(string(frame), want) && o.wrong == "" {
		o.wrong = fmt.Sprintf("push %d is %.40q", o.next, frame)
	}
	o.next++
}

// program is what one caller does.
type program struct {
	k      *link
	server *chaos
	name   string
	rnd    *rand.Rand
	steps  int
}

func (g *program) run() {
	for i := range g.steps {
		ctx, end := g.ctx()
		switch g.rnd.IntN(8) {
		case 0, 1:
			g.pipeline(ctx, i, 1+g.rnd.IntN(6))
		case 2:
			g.single(ctx, i, "AUTH", g.k.DoAlone)
		default:
			g.single(ctx, i, "ECHO", g.k.Do)
		}
		end()
	}
}

// ctx is one that never ends, has ended, or ends in the middle of things.
func (g *program) ctx() (context.Context, func()) {
	switch g.rnd.IntN(6) {
	case 0:
		return background, func() {}
	case 1:
		ctx, cancel := context.WithCancel(background)
		at := g.server.seen.Load() + int64(g.rnd.IntN(4))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for g.server.seen.Load() < at {
				select {
				case <-stop:
					return
				default:
					runtime.Gosched()
				}
			}
			cancel()
		})
		return ctx, func() { close(stop); wg.Wait(); cancel() }
	case 2:
		return context.WithTimeout(background, time.Duration(g.rnd.IntN(200))*time.Microsecond)
	}
	return context.WithCancel(background)
}

func (g *program) value(i, j int) string {
	size := g.rnd.IntN(100)
	if g.rnd.IntN(12) == 0 {
		size = g.rnd.IntN(60 << 10)
	}
	return g.name + ":" + strconv.Itoa(i) + ":" + strconv.Itoa(j) + ":" + strings.Repeat("v", size)
}

func (g *program) single(ctx context.Context, i int, command string, do func(context.Context, []any, lane.Options) ([]byte, error)) {
	v := g.value(i, 0)
	frame, err := do(ctx, []any{command, v}, lane.Options{})
	if g.failed(ctx, err) {
		return
	}
	if string(frame) != bulk(v) {
		g.k.t.Errorf("got %.60q to %.60q", frame, v)
	}
}

func (g *program) pipeline(ctx context.Context, i, n int) {
	var raw strings.Builder
	want := make([]string, n)
	for j := range want {
		v := g.value(i, j)
		want[j] = bulk(v)
		raw.WriteString("*2\r\n$4\r\nECHO\r\n" + want[j])
	}
	frames, err := g.k.DoRaw(ctx, []byte(raw.String()), n, lane.Options{})
	if g.failed(ctx, err) {
		return
	}
	if len(frames) != n {
		g.k.t.Errorf("got %d replies to %d commands", len(frames), n)
		return
	}
	for j := range frames {
		if string(frames[j]) != want[j] {
			g.k.t.Errorf("got %.60q to %.60q", frames[j], want[j])
		}
	}
}

// failed reports a failure: there is none but ctx's end.
func (g *program) failed(ctx context.Context, err error) bool {
	if err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
		g.k.t.Errorf("got %v while ctx says %v", err, ctx.Err())
	}
	return err != nil
}

func TestEachReplyReachesItsCaller(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		rapid.Check(t, func(t *rapid.T) {
			seed := rapid.Uint64().Draw(t, "seed")
			callers := rapid.IntRange(1, 8).Draw(t, "callers")
			steps := rapid.IntRange(1, 12).Draw(t, "steps")
			cfg := config()
			cfg.Window = rapid.SampledFrom([]int{2, 8, 1024}).Draw(t, "window")
			cfg.WindowBytes = rapid.SampledFrom([]int{100, 10 << 10, 4 << 20}).Draw(t, "window bytes")

			server := &chaos{rnd: rand.New(rand.NewPCG(seed, 0))}
			k := connect(t, over, cfg, server.serve)
			defer k.close()
			order := &pushOrder{}
			k.OnPush(order.take, false)

			var wg sync.WaitGroup
			for i := range callers {
				g := &program{k: k, server: server, name: strconv.Itoa(i), rnd: rand.New(rand.NewPCG(seed, uint64(i)+1)), steps: steps}
				wg.Go(g.run)
			}
			wg.Wait()

			// The lane still works, and drains.
			k.want(bulk("last"), "ECHO", "last")
			drained := make(chan struct{})
			k.Drain(func() { close(drained) }) // twice would panic
			await(t, "the drain", drained)
			if d := k.Depth(); d != 0 {
				t.Errorf("%d replies are due on a drained lane", d)
			}
			k.close()
			if order.wrong != "" {
				t.Error(order.wrong)
			}
		})
	})
}

func TestAPushBetweenThePipelinesRepliesCostsNone(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), func(p *peer) {
			for range 3 {
				p.command()
			}
			p.send("+a\r\n>1\r\n+push\r\n+b\r\n>1\r\n+push\r\n>1\r\n+push\r\n+c\r\n")
			p.command()
			p.send(">1\r\n+push\r\n+d\r\n")
			p.drop()
		})
		defer k.close()
		var pushes atomic.Int32
		k.OnPush(func([]byte) { pushes.Add(1) }, false)
		ping := "*1\r\n$4\r\nPING\r\n"
		frames, err := k.DoRaw(background, []byte(ping+ping+ping), 3, lane.Options{})
		if err != nil || len(frames) != 3 || string(frames[0])+string(frames[1])+string(frames[2]) != "+a\r\n+b\r\n+c\r\n" {
			t.Errorf("got %q, %v", frames, err)
		}
		k.want("+d\r\n", "PING")
		if n := pushes.Load(); n != 4 {
			t.Errorf("got %d pushes, want 4", n)
		}
	})
}

func TestBigValuesComeThrough(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), echo)
		defer k.close()
		var wg sync.WaitGroup
		for i, size := range []int{1 << 20, 20<<20 + 1, 16<<10 - 10, 16 << 10, 32 << 10, 64 << 10} {
			v := strings.Repeat(strconv.Itoa(i), size)
			wg.Go(func() {
				for range 1 + (1<<20)/size {
					if got, err := k.do("ECHO", v); err != nil || string(got) != bulk(v) {
						t.Errorf("%d bytes: got %d, %v", size, len(got), err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestAggregatesOfManySizesComeThrough(t *testing.T) {
	var replies []string
	for _, n := range []int{1, 100, 3_000, 5_000} {
		for _, element := range []string{":1\r\n", bulk(strings.Repeat("x", 1000)), "*1\r\n" + bulk("y")} {
			replies = append(replies, "*"+strconv.Itoa(n)+"\r\n"+strings.Repeat(element, n))
		}
	}
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), func(p *peer) {
			for _, r := range replies {
				if p.command() == nil || !p.send(r+">1\r\n+push\r\n") {
					return
				}
			}
			p.drop()
		})
		defer k.close()
		for i, r := range replies {
			if got, err := k.do("GET", i); err != nil || string(got) != r {
				t.Errorf("reply %d: got %d bytes, %v; want %d", i, len(got), err, len(r))
			}
		}
	})
}

// Of an aggregate the scanner knows few of the bytes that are missing.
func TestABigAggregateIsNotCopiedOverAndOver(t *testing.T) {
	const elements = 20_000
	reply := "*" + strconv.Itoa(elements) + "\r\n" + strings.Repeat(bulk(strings.Repeat("x", 1000)), elements)
	k := connect(t, overTCP, config(), sendAndWait(reply))
	defer k.close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := k.do("LRANGE")
	runtime.ReadMemStats(&after)
	if err != nil || string(got) != reply {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if times := (after.TotalAlloc - before.TotalAlloc) / uint64(len(reply)); times > 12 {
		t.Errorf("%d times the reply's size was allocated", times)
	}
}

func TestAReplyStaysWhileLaterOnesAreRead(t *testing.T) {
	k := connect(t, overTCP, config(), echo)
	defer k.close()
	var frames [][]byte
	for i := range 1000 {
		f, err := k.do("ECHO", i)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	for i, f := range frames {
		if string(f) != bulk(strconv.Itoa(i)) {
			t.Fatalf("reply %d became %q", i, f)
		}
	}
}
