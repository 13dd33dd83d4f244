package lane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// outstanding drains what the server got and gives commands and bytes.
func outstanding(s *script) (n, bytes int) {
	synctest.Wait()
	for {
		select {
		case args := <-s.got:
			n++
			for _, a := range args {
				bytes += len(a)
			}
		default:
			return n, bytes
		}
	}
}

type raw []byte // an argument whose type the lane does not know

func TestTheWindowBoundsWhatIsDue(t *testing.T) {
	const callers, size = 64, 1000
	pipeline := func() []byte {
		var b []byte
		for range 4 {
			b, _ = resp.AppendCommand(b, []any{"SET", "k", strings.Repeat("v", size)})
		}
		return b
	}()
	set := func(v any) func(*link, lane.Options) error {
		return func(k *link, opt lane.Options) error {
			_, err := k.Do(background, []any{"SET", "k", v}, opt)
			return err
		}
	}
	kinds := []struct {
		name    string
		replies int // of one request
		do      func(*link, lane.Options) error
	}{
		{"string", 1, set(strings.Repeat("v", size))},
		{"bytes", 1, set([]byte(strings.Repeat("v", size)))},
		{"named", 1, set(raw(strings.Repeat("v", size)))},
		{"pipeline", 4, func(k *link, opt lane.Options) error {
			_, err := k.DoRaw(background, pipeline, 4, opt)
			return err
		}},
	}
	for _, kind := range kinds {
		for _, reserved := range []bool{false, true} {
			for _, window := range []struct{ replies, bytes int }{{8, 1 << 20}, {1000, 8 * size}} {
				t.Run(fmt.Sprintf("%s/reserved=%v/%d", kind.name, reserved, window.replies), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newScript()
						cfg := config()
						cfg.Window, cfg.WindowBytes = window.replies, window.bytes
						k := connect(t, overPipe, cfg, s.serve)
						defer k.close()
						errs := make(chan error, callers)
						for range callers {
							if reserved && !k.Reserve() {
								t.Fatal("no place")
							}
							go func() { errs <- kind.do(k, lane.Options{Reserved: reserved}) }()
						}
						// Only one request may pass the window's edge; its bytes
						// count until its last reply.
						over := kind.replies - 1
						due, least, most := 0, 8-over, 8+over
						for left := callers * kind.replies; left > 0; left-- {
							n, _ := outstanding(s)
							if due += n; due > most || due < min(least, left) {
								t.Fatalf("%d replies are due, want %d to %d", due, least, most)
							}
							s.send <- "+OK\r\n"
							due--
						}
						for range callers {
							if err := <-errs; err != nil {
								t.Error(err)
							}
						}
					})
				})
			}
		}
	}
}

func TestTheWindowIsFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.Window = 1
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		const callers = 20
		var all []<-chan result
		var cancels []context.CancelFunc
		for i := range callers {
			ctx, cancel := context.WithCancel(background)
			all, cancels = append(all, k.start(ctx, lane.Options{}, i)), append(cancels, cancel)
			synctest.Wait()
		}
		// Some leave: from the front, the middle and the end.
		gone := map[int]bool{1: true, 2: true, 7: true, callers - 1: true}
		for i, cancel := range cancels {
			defer cancel()
			if gone[i] {
				cancel()
				err := (<-all[i]).err
				wantSent(t, err, false)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			}
		}
		for i, ch := range all {
			if gone[i] {
				continue
			}
			if got := <-s.got; got[0] != fmt.Sprint(i) {
				t.Errorf("caller %s came before caller %d", got[0], i)
			}
			s.send <- "+OK\r\n"
			if r := <-ch; r.err != nil {
				t.Error(r.err)
			}
		}
	})
}

// A place that is granted to a caller as it leaves goes to the next one.
func TestNoPlaceInTheWindowIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.Window = 1
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		for range 200 {
			first := k.start(background, lane.Options{}, "first")
			<-s.got
			ctx, cancel := context.WithCancel(background)
			second := k.start(ctx, lane.Options{}, "second")
			synctest.Wait()
			third := k.start(background, lane.Options{}, "third")
			synctest.Wait()
			go cancel()
			s.send <- "+1\r\n"
			<-first
			if got := <-s.got; got[0] == "second" {
				s.send <- "+2\r\n"
				<-s.got
			}
			s.send <- "+3\r\n"
			if r := <-third; r.err != nil || string(r.frame) != "+3\r\n" {
				t.Fatalf("got %q, %v", r.frame, r.err)
			}
			<-second
		}
	})
}

func TestAFullWindowTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.Window, cfg.ReplyTimeout = 1, time.Second
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		first := k.start(background, lane.Options{Block: command.BlockForever}, "BLPOP")
		synctest.Wait()
		begin := time.Now()
		_, err := k.do("GET")
		took(t, "the timeout", begin, time.Second)
		wantSent(t, err, false)
		k.Fail(errors.New("enough"))
		wantSent(t, (<-first).err, true)
	})
}

func TestABadArgumentGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.Window = 1
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		first := k.start(background, lane.Options{}, "first")
		<-s.got
		bad := k.start(background, lane.Options{}, "bad", struct{}{})
		synctest.Wait()
		third := k.start(background, lane.Options{}, "third")
		synctest.Wait()
		s.send <- "+1\r\n"
		<-first
		var ae *resp.ArgumentError
		if r := <-bad; !errors.As(r.err, &ae) {
			t.Errorf("got %v", r.err)
		}
		<-s.got
		s.send <- "+3\r\n"
		if r := <-third; string(r.frame) != "+3\r\n" {
			t.Errorf("got %q, %v", r.frame, r.err)
		}
	})
}

// Of replies that are known to be large few are due at a time, and one that is
// larger than the window is let in by itself.
func TestTheWindowCountsLargeReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for size, most := range map[int]int{400: 2, 100: 5, 1 << 20: 1} {
			s := newScript()
			cfg := config()
			cfg.WindowBytes = 1000
			k := connect(t, overPipe, cfg, s.serve)
			var all []<-chan result
			for range 8 {
				all = append(all, k.start(background, lane.Options{ReplyBytes: size}, "GET", "k"))
			}
			total := 0
			for total < len(all) {
				n, _ := outstanding(s)
				if n == 0 || n > most {
					t.Fatalf("%d replies of %d bytes are due: want 1 to %d", n, size, most)
				}
				for range n {
					s.send <- "$1\r\nx\r\n"
				}
				total += n
			}
			for _, ch := range all {
				if r := <-ch; r.err != nil {
					t.Error(r.err)
				}
			}
			k.close()
		}
	})
}
