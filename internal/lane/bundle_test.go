package lane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// echoes returns n encoded ECHO commands, and their replies.
func echoes(n int, word string) (raw []byte, replies []string) {
	for i := range n {
		text := fmt.Sprint(word, i)
		raw = append(raw, "*2\r\n$4\r\nECHO\r\n"+bulk(text)...)
		replies = append(replies, bulk(text))
	}
	return raw, replies
}

// texts returns frames as strings.
func texts(frames [][]byte) (all []string) {
	for _, f := range frames {
		all = append(all, string(f))
	}
	return all
}

// wantReplies checks the replies to request i of a bundle.
func wantReplies(t fataler, b *lane.Bundle, i int, want []string) {
	t.Helper()
	if frames, err := b.Replies(i); err != nil || !slices.Equal(texts(frames), want) {
		t.Errorf("request %d: got %.200q, %v; want %.200q", i, frames, err, want)
	}
}

func TestABundleHasTheRepliesOfAllItsLanes(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		const lanes, callers, rounds = 3, 8, 20
		var all []*link
		for range lanes {
			k := connect(t, over, config(), echo)
			defer k.close()
			all = append(all, k)
		}
		ctx, cancel := context.WithCancel(background)
		defer cancel()
		var wg sync.WaitGroup
		for caller := range callers {
			wg.Go(func() {
				var b lane.Bundle
				for round := range rounds {
					var want [][]string
					for i, k := range all {
						raw, replies := echoes(1+(caller+round+i)%40, fmt.Sprintf("%d.%d.%d.", caller, round, i))
						if !b.Post(ctx, k.Lane, raw, len(replies), lane.Options{}) {
							t.Error("the lane took no request")
						}
						want = append(want, replies)
						clear(raw) // it is not kept
					}
					b.Wait(ctx)
					kept, _ := b.Replies(0)
					first := slices.Clone(kept)
					for i := range want {
						wantReplies(t, &b, i, want[i])
					}
					b.Reset()
					if !slices.Equal(texts(first), want[0]) {
						t.Errorf("Reset changed the caller's frames to %q", first)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestABundleWaitsForItsLastReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var scripts [2]*script
		var links [2]*link
		var b lane.Bundle
		for i := range links {
			scripts[i] = newScript()
			links[i] = connect(t, overPipe, config(), scripts[i].serve)
			if !b.Post(background, links[i].Lane, []byte("*1\r\n$4\r\nPING\r\n"), 1, lane.Options{}) {
				t.Fatal("the lane took no request")
			}
		}
		over := make(chan struct{})
		go func() {
			b.Wait(background)
			close(over)
		}()
		<-scripts[0].got
		<-scripts[1].got
		scripts[1].send <- "+second\r\n"
		synctest.Wait()
		select {
		case <-over:
			t.Error("the wait has ended before the last reply")
		default:
		}
		scripts[0].send <- "+first\r\n"
		<-over
		wantReplies(t, &b, 0, []string{"+first\r\n"})
		wantReplies(t, &b, 1, []string{"+second\r\n"})
		b.Reset()
		for _, k := range links {
			k.close()
		}
	})
}

// The late replies are dropped by their place, and nothing of them reaches the next requests of the same bundle.
func TestTheEndOfItsCtxEndsTheWaitOfABundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		slow := connect(t, overPipe, config(), s.serve)
		quick := connect(t, overPipe, config(), echo)
		ctx, cancel := context.WithCancel(background)
		var b lane.Bundle
		ping := []byte("*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n")
		if !b.Post(ctx, quick.Lane, ping, 1, lane.Options{}) || !b.Post(ctx, slow.Lane, ping, 1, lane.Options{}) {
			t.Fatal("a lane took no request")
		}
		go func() {
			<-s.got
			synctest.Wait() // for the other reply
			cancel()
		}()
		b.Wait(ctx)
		wantReplies(t, &b, 0, []string{bulk("x")})
		_, err := b.Replies(1)
		wantSent(t, err, true)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		b.Reset()
		if b.Post(ctx, quick.Lane, ping, 1, lane.Options{}) {
			t.Error("a request was posted after the end of its ctx")
		}
		if !b.Post(background, slow.Lane, ping, 1, lane.Options{}) {
			t.Fatal("the lane took no request")
		}
		go func() {
			<-s.got
			s.send <- bulk("late")
			s.send <- bulk("next")
		}()
		b.Wait(background)
		wantReplies(t, &b, 0, []string{bulk("next")})
		b.Reset()
		quick.close()
		slow.close()
	})
}

// A caller beyond the reach of the ctx scanner watches its ctx.
func TestABundleBehindALongQueueWatchesItsCtx(t *testing.T) {
	cfg := config()
	cfg.Window = 1 << 20
	k := connect(t, overPipe, cfg, func(p *peer) { p.drop() })
	quick := connect(t, overPipe, config(), echo)
	p := newPosts()
	for tag := range uint64(5000) {
		if err := p.post(k.Lane, tag, 1, "w", lane.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(background)
	var b lane.Bundle
	raw, replies := echoes(3, "quick")
	if !b.Post(ctx, quick.Lane, raw, 3, lane.Options{}) || !b.Post(ctx, k.Lane, raw, 3, lane.Options{}) {
		t.Fatal("a lane took no request")
	}
	go func() {
		if _, err := quick.do("ECHO", "later"); err != nil { // its reply comes after the others of the lane
			t.Error(err)
		}
		cancel()
	}()
	b.Wait(ctx)
	wantReplies(t, &b, 0, replies)
	if _, err := b.Replies(1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b.Reset()
	k.close()
	quick.close()
}

func TestALaneThatFailsCostsOnlyItsOwnRequestOfABundle(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), func(p *peer) {
			p.command()
			p.command()
			p.send(bulk("w0"))
		})
		other := connect(t, over, config(), echo)
		var b lane.Bundle
		raw, replies := echoes(2, "w")
		if !b.Post(background, k.Lane, raw, 2, lane.Options{}) || !b.Post(background, other.Lane, raw, 2, lane.Options{}) {
			t.Fatal("a lane took no request")
		}
		b.Wait(background)
		frames, err := b.Replies(0)
		wantSent(t, err, true)
		if !slices.Equal(texts(frames), replies[:1]) {
			t.Errorf("got %q, want the reply before the failure", frames)
		}
		wantReplies(t, &b, 1, replies)
		b.Reset()
		if b.Post(background, k.Lane, raw, 2, lane.Options{}) {
			t.Error("a failed lane took a request")
		}
		k.close()
		other.close()
	})
}

func TestABundleIsNotSentByALaneThatFailsFirst(t *testing.T) {
	k := connect(t, overTCP, config(), echo)
	var b lane.Bundle
	raw, _ := echoes(2, "w")
	if !b.Post(background, k.Lane, raw, 2, lane.Options{}) {
		t.Fatal("the lane took no request")
	}
	k.Fail(errors.New("no more"))
	b.Wait(background)
	_, err := b.Replies(0)
	wantSent(t, err, false)
	b.Reset()
	k.close()
}

func TestALaneTakesNoRequestOfABundleThatWouldWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Window = 2
		s := newScript()
		k := connect(t, overPipe, cfg, s.serve)
		var b, second lane.Bundle
		raw, _ := echoes(2, "w")
		if !b.Post(background, k.Lane, raw, 2, lane.Options{}) {
			t.Fatal("the lane took no request")
		}
		if second.Post(background, k.Lane, raw, 2, lane.Options{}) {
			t.Error("it passed the window")
		}
		go func() {
			for range 2 {
				<-s.got
				s.send <- bulk("w")
			}
		}()
		b.Wait(background)
		b.Reset()
		k.Drain(func() {})
		if b.Post(background, k.Lane, raw, 2, lane.Options{}) {
			t.Error("a draining lane took a request")
		}
		k.close()
	})
}

func TestAReplyTimeoutEndsTheWaitOfABundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.ReplyTimeout = time.Second
		k := connect(t, overPipe, cfg, newScript().serve)
		other := connect(t, overPipe, config(), echo)
		var b lane.Bundle
		raw, replies := echoes(2, "w")
		if !b.Post(background, k.Lane, raw, 2, lane.Options{}) || !b.Post(background, other.Lane, raw, 2, lane.Options{}) {
			t.Fatal("a lane took no request")
		}
		began := time.Now()
		b.Wait(background)
		took(t, "the wait", began, time.Second)
		if _, err := b.Replies(0); !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "socket timeout") {
			t.Errorf("got %v", err)
		}
		wantReplies(t, &b, 1, replies)
		b.Reset()
		k.close()
		other.close()
	})
}

func BenchmarkBundle(b *testing.B) {
	var lanes [3]*link
	for i := range lanes {
		lanes[i] = connect(b, overTCP, config(), fixed("+OK\r\n"))
		defer lanes[i].close()
	}
	raw := []byte(strings.Repeat("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", 33))
	b.ReportAllocs()
	var all lane.Bundle
	for b.Loop() {
		for _, k := range lanes {
			all.Post(background, k.Lane, raw, 33, lane.Options{})
		}
		all.Wait(background)
		all.Reset()
	}
}
