package lane_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// slack is how late a limit may be noticed: the lane measures in ticks of 1/16
// of its shortest limit, and 100 ms at most.
const slack = 300 * time.Millisecond

// took checks that something took as long as want says, on the bubble's clock.
func took(t *testing.T, what string, since time.Time, want time.Duration) {
	t.Helper()
	if d := time.Since(since); d < want || d > want+slack {
		t.Errorf("%s took %v, want %v", what, d, want)
	}
}

// script is a server that answers on request of the test.
type script struct {
	got  chan []string
	send chan string // closed: the server closes
}

func newScript() *script {
	return &script{got: make(chan []string, 1000), send: make(chan string)}
}

func (s *script) serve(p *peer) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for args := p.command(); args != nil; args = p.command() {
			s.got <- args
		}
	}()
	for open := true; open; {
		select {
		case b, ok := <-s.send:
			open = ok && p.send(b)
		case <-done:
			open = false
		}
	}
	_ = p.Close()
	<-done
}

func TestATimeoutEndsTheWaitAndNotTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.ReplyTimeout, cfg.StallLimit = time.Second, time.Hour
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()

		begin := time.Now()
		alone := k.start(background, lane.Options{}, "GET", "alone") // reads for itself
		synctest.Wait()
		second := k.start(background, lane.Options{}, "GET", "second")
		for _, ch := range []<-chan result{alone, second} {
			err := (<-ch).err
			took(t, "the timeout", begin, time.Second)
			wantSent(t, err, true)
			if !errors.Is(err, os.ErrDeadlineExceeded) || !err.(*wire.Error).Timeout() {
				t.Errorf("got %v, want a timeout", err)
			}
		}
		if k.Err() != nil || k.Depth() != 2 {
			t.Fatalf("the lane has %d replies due and died of %v", k.Depth(), k.Err())
		}
		third := k.start(background, lane.Options{}, "GET", "third")
		synctest.Wait()
		s.send <- "+alone\r\n+second\r\n+third\r\n"
		if r := <-third; r.err != nil || string(r.frame) != "+third\r\n" {
			t.Errorf("got %q, %v", r.frame, r.err)
		}
	})
}

func TestABlockingCommandWaitsForItsOwnTimeBesides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.ReplyTimeout, cfg.StallLimit = time.Second, 2*time.Second
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()

		begin := time.Now()
		ch := k.start(background, lane.Options{Block: command.Block(10 * time.Second)}, "BLPOP", "k", 10)
		if err := (<-ch).err; !errors.Is(err, os.ErrDeadlineExceeded) || k.Err() != nil {
			t.Errorf("got %v, the lane died of %v", err, k.Err())
		} else if want := "no reply within the socket timeout of 1s and the command's own timeout of 10s"; !strings.Contains(err.Error(), want) {
			t.Errorf("got %v: want %q", err, want)
		}
		took(t, "the timeout", begin, 11*time.Second)
		await(t, "the stall", k.Done())
		took(t, "the stall", begin, 12*time.Second)
	})
}

func TestAStallCondemnsAtItsLimitAndNotBefore(t *testing.T) {
	for _, limit := range []time.Duration{155 * time.Millisecond, 2 * time.Second, 10 * time.Second} {
		t.Run(limit.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config()
				cfg.ReplyTimeout, cfg.StallLimit = 160*time.Millisecond, limit
				if limit > time.Second {
					cfg.ReplyTimeout = 0
				}
				k := connect(t, overPipe, cfg, (*peer).drop)
				defer k.close()
				for _, idle := range []time.Duration{0, 99 * time.Millisecond} {
					time.Sleep(idle) // the clock's ticks fall elsewhere
				}

				begin := time.Now()
				first := k.start(background, lane.Options{}, "GET", "k")
				second := k.start(background, lane.Options{}, "GET", "k")
				<-k.Done()
				took(t, "the stall", begin, limit)
				var stall *lane.StallError
				if !errors.As(k.Err(), &stall) || stall.Silent != limit {
					t.Errorf("the lane died of %v", k.Err())
				}
				for _, ch := range []<-chan result{first, second} {
					wantSent(t, (<-ch).err, true)
				}
			})
		})
	}
}

func TestBytesKeepALaneAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.StallLimit = time.Second
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		ch := k.start(background, lane.Options{}, "GET", "k")
		for _, b := range "$5\r\nhello\r\n" {
			time.Sleep(900 * time.Millisecond)
			s.send <- string(b)
		}
		if r := <-ch; r.err != nil || string(r.frame) != "$5\r\nhello\r\n" {
			t.Errorf("got %q, %v", r.frame, r.err)
		}
		time.Sleep(time.Hour) // nothing is due: no stall
		if k.Err() != nil {
			t.Errorf("the lane died of %v", k.Err())
		}
	})
}

func TestWhoBlocksForEverNeitherTimesOutNorStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.ReplyTimeout, cfg.StallLimit = time.Second, 2*time.Second
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		ch := k.start(background, lane.Options{Block: command.BlockForever}, "BLPOP", "k", 0)
		time.Sleep(time.Hour)
		s.send <- "*-1\r\n"
		if r := <-ch; r.err != nil || string(r.frame) != "*-1\r\n" {
			t.Errorf("got %q, %v", r.frame, r.err)
		}
	})
}

func TestACallerLeavesWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		k := connect(t, overPipe, config(), s.serve)
		defer k.close()
		begin := time.Now()
		var all []<-chan result
		var want []error
		for i := range 6 {
			ctx, cancel := context.WithTimeout(background, time.Second)
			defer cancel()
			cause := context.DeadlineExceeded
			if i%2 == 0 {
				ctx, cancel = context.WithCancel(ctx)
				time.AfterFunc(time.Second, cancel)
				cause = context.Canceled
			}
			all, want = append(all, k.start(ctx, lane.Options{}, "GET", "k")), append(want, cause)
			synctest.Wait()
		}
		for i, ch := range all {
			err := (<-ch).err
			if d := time.Since(begin); d < time.Second || d > time.Second+5*time.Millisecond {
				t.Errorf("caller %d left after %v, want 1s and a few milliseconds at most", i, d)
			}
			wantSent(t, err, true)
			// The deadline and the timer that cancels fall together.
			if !errors.Is(err, want[i]) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("caller %d got %v, want %v", i, err, want[i])
			}
		}
		if k.Depth() != len(all) || k.Err() != nil {
			t.Errorf("%d replies due, died of %v", k.Depth(), k.Err())
		}
	})
}

// A context that ended, and one that was used before, are seen as well.
func TestOneContextEndsManyCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		k := connect(t, overPipe, config(), s.serve)
		defer k.close()
		ctx, cancel := context.WithCancel(background)
		for range 3 {
			ch := k.start(ctx, lane.Options{}, "PING")
			s.send <- "+PONG\r\n"
			if r := <-ch; r.err != nil {
				t.Fatal(r.err)
			}
		}
		ch := k.start(ctx, lane.Options{}, "PING")
		synctest.Wait()
		cancel()
		if r := <-ch; !errors.Is(r.err, context.Canceled) {
			t.Errorf("got %v", r.err)
		}
		_, err := k.Do(ctx, []any{"PING"}, lane.Options{})
		wantSent(t, err, false)
		ch = k.start(background, lane.Options{}, "PING")
		synctest.Wait()
		s.send <- "+late\r\n+mine\r\n"
		if r := <-ch; string(r.frame) != "+mine\r\n" {
			t.Errorf("got %q, %v", r.frame, r.err)
		}
	})
}

func TestAnIdleLaneSeesItsEnd(t *testing.T) {
	for _, commands := range []int{0, 1, 5, 20} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			k := connect(t, overPipe, config(), s.serve)
			defer k.close()
			for range commands {
				ch := k.start(background, lane.Options{}, "PING")
				<-s.got
				s.send <- "+PONG\r\n"
				<-ch
			}
			begin := time.Now()
			close(s.send)
			<-k.Done()
			took(t, "the end", begin, 0)
			_, err := k.do("PING")
			wantSent(t, err, false)
		})
	}
}

// The clock ticks between the moment a caller has its reply and the one when
// it gives the read half back: somebody has to watch the lane all the same.
func TestALaneIsWatchedWhoeverReadLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		k := connect(t, overPipe, config(), s.serve)
		defer k.close()
		k.OnPush(func([]byte) { time.Sleep(time.Second) }, false)
		ch := k.start(background, lane.Options{}, "PING")
		synctest.Wait()
		time.Sleep(time.Second)
		s.send <- "+PONG\r\n>1\r\n+push\r\n"
		if r := <-ch; r.err != nil {
			t.Fatal(r.err)
		}
		begin := time.Now()
		close(s.send)
		<-k.Done()
		took(t, "the end", begin, 0)
	})
}

func TestPushesComeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		k := connect(t, overPipe, config(), s.serve)
		defer k.close()
		got := make(chan string, 1)
		take := func(f []byte) { got <- string(f) }

		time.Sleep(time.Second) // the lane is idle and watched
		k.OnPush(take, false)
		for range 20 {
			begin := time.Now()
			s.send <- ">1\r\n+push\r\n"
			<-got
			if d := time.Since(begin); d != 0 {
				t.Fatalf("a push came after %v", d)
			}
		}

		ch := k.start(background, lane.Options{}, "PING")
		<-s.got
		s.send <- "+PONG\r\n"
		<-ch
		k.OnPush(take, true) // as long as the lane is for pushes it is watched
		for range 20 {
			begin := time.Now()
			if err := k.Send([]byte("*1\r\n$1\r\nS\r\n")); err != nil {
				t.Fatal(err)
			}
			<-s.got
			s.send <- "*1\r\n+push\r\n"
			if f := <-got; f != "*1\r\n+push\r\n" || time.Since(begin) != 0 {
				t.Fatalf("got %q after %v", f, time.Since(begin))
			}
		}
	})
}

// A lane that is for pushes goes on reading after a command as well.
func TestPushesComeAtOnceBehindACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		k := connect(t, overPipe, config(), s.serve)
		defer k.close()
		got := make(chan struct{}, 1)
		ch := k.start(background, lane.Options{}, "PING")
		<-s.got
		k.OnPush(func([]byte) { got <- struct{}{} }, true)
		s.send <- "+PONG\r\n"
		<-ch
		begin := time.Now()
		s.send <- "+push\r\n"
		<-got
		if d := time.Since(begin); d != 0 {
			t.Fatalf("a push came after %v", d)
		}
	})
}

func TestSendingNeverFillsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.WindowBytes = 100
		k := connect(t, overPipe, cfg, (*peer).drop)
		defer k.close()
		k.OnPush(func([]byte) {}, true)
		for range 100 {
			if err := k.Send([]byte("*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
	})
}

// Who asks for no timeout waits on, and nobody behind them waits longer for that.
func TestRequestsWithoutATimeoutAmongOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.ReplyTimeout, cfg.StallLimit = time.Second, time.Hour
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()

		first := k.start(background, lane.Options{NoTimeout: true}, "GET", "first")
		synctest.Wait()
		begin := time.Now()
		second := k.start(background, lane.Options{}, "GET", "second")
		if err := (<-second).err; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want a timeout", err)
		}
		took(t, "the timeout", begin, time.Second)
		time.Sleep(time.Minute)
		s.send <- "+1\r\n+2\r\n"
		if r := <-first; r.err != nil || string(r.frame) != "+1\r\n" {
			t.Errorf("got %q and %v", r.frame, r.err)
		}
	})
}
