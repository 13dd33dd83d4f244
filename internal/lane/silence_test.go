package lane_test

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
)

func TestASilentLaneIsASuspectUntilItMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.StallLimit, cfg.SuspectAfter = 10*time.Second, time.Second
		var times atomic.Int32
		cfg.OnSuspect = func(*lane.Lane) { times.Add(1) }
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		time.Sleep(time.Hour)
		ch := k.start(background, lane.Options{}, "GET", "k")
		time.Sleep(450 * time.Millisecond)
		if k.Avoided() {
			t.Error("it is avoided too early")
		}
		time.Sleep(450 * time.Millisecond)
		if d, _ := k.Silence(); d != 0 || !k.Avoided() || times.Load() != 0 {
			t.Errorf("after 0.9s: silent for %v, avoided %v, asked %d times", d, k.Avoided(), times.Load())
		}
		time.Sleep(400 * time.Millisecond)
		if d, _ := k.Silence(); d < time.Second || !k.Avoided() || k.Depth() != 1 || times.Load() != 1 {
			t.Errorf("after 1.3s: silent for %v, avoided %v, depth %d, asked %d times", d, k.Avoided(), k.Depth(), times.Load())
		}
		time.Sleep(time.Second)
		if times.Load() != 2 {
			t.Errorf("asked %d times after 2.3s: want twice", times.Load())
		}
		s.send <- "+OK\r\n"
		<-ch
		synctest.Wait()
		if d, _ := k.Silence(); d != 0 || k.Avoided() {
			t.Errorf("it moved and is a suspect: %v", d)
		}
		time.Sleep(time.Hour)
		if times.Load() != 2 || k.Err() != nil {
			t.Errorf("asked %d times while nothing was due; %v", times.Load(), k.Err())
		}
	})
}

func TestAReplyThatTheServerMayHoldBackRaisesNoSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.StallLimit, cfg.SuspectAfter = 10*time.Second, time.Second
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		ch := k.start(background, lane.Options{Block: command.Block(time.Minute)}, "BLPOP", "k", 60)
		time.Sleep(time.Minute)
		if d, _ := k.Silence(); d != 0 || !k.Blocked() {
			t.Errorf("silent for %v, blocked %v", d, k.Blocked())
		}
		time.Sleep(1500 * time.Millisecond)
		if d, _ := k.Silence(); d == 0 {
			t.Error("its time is over, and the lane is no suspect")
		}
		s.send <- "*-1\r\n"
		<-ch
	})
}

func TestAnExcuseLetsTheStallLimitBeginAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.StallLimit, cfg.SuspectAfter = 10*time.Second, time.Second
		k := connect(t, overPipe, cfg, s.serve)
		defer k.close()
		k.start(background, lane.Options{}, "EVAL", "loop", 0)
		for range 100 {
			time.Sleep(9 * time.Second)
			k.Excuse()
		}
		if k.Err() != nil || !k.Avoided() {
			t.Fatalf("died of %v, avoided %v", k.Err(), k.Avoided())
		}
		began := time.Now()
		<-k.Done()
		took(t, "the stall", began, 10*time.Second)
	})
}

// slowly takes so many bytes at a time from the client, with pauses, and then answers.
func slowly(all, step int, pause time.Duration) func(*peer) {
	return func(p *peer) {
		for left := all; left > 0; left -= step {
			time.Sleep(pause)
			if _, err := io.CopyN(io.Discard, p.in, int64(min(left, step))); err != nil {
				return
			}
		}
		p.send("+OK\r\n")
		p.drop()
	}
}

func TestWhatTheSocketTakesOfTheFirstCommandIsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		value := bytes.Repeat([]byte("x"), 4<<20)
		command := len("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4194304\r\n\r\n") + len(value)
		cfg := config()
		cfg.StallLimit, cfg.WindowBytes = time.Second, 16<<20
		k := connect(t, overPipe, cfg, slowly(command, 64<<10, 500*time.Millisecond))
		defer k.close()
		if frame, err := k.do("SET", "k", value); err != nil || string(frame) != "+OK\r\n" {
			t.Errorf("got %q, %v", frame, err)
		}
	})
}

// A socket takes what follows although nobody is at the other end of the path.
func TestWhatTheSocketTakesOfLaterCommandsIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.StallLimit = time.Second
		k := connect(t, overPipe, cfg, (*peer).drop)
		defer k.close()
		began := time.Now()
		for range 20 {
			k.start(background, lane.Options{}, "SET", "k", "v")
			time.Sleep(100 * time.Millisecond)
			if k.Err() != nil {
				break
			}
		}
		if d := time.Since(began); k.Err() == nil || d > 1500*time.Millisecond {
			t.Errorf("after %v: %v, want a stall", d, k.Err())
		}
	})
}
