//go:build unix

package lane_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// driver is a lane.Driver that waits for its lanes' sockets with poll.
type driver struct {
	t    fataler
	wake [2]int // a pipe
	done chan struct{}

	mu      sync.Mutex
	lanes   map[int]*lane.Lane
	dropped []*lane.Lane
	ending  bool
	over    bool
}

func startDriver(t fataler) *driver {
	d := &driver{t: t, done: make(chan struct{}), lanes: map[int]*lane.Lane{}}
	if err := unix.Pipe(d.wake[:]); err != nil {
		t.Fatalf("pipe: %v", err)
	}
	go d.run()
	return d
}

func (d *driver) Take(l *lane.Lane, fd int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		go l.Release()
		return
	}
	if d.lanes[fd] != nil {
		d.t.Errorf("descriptor %d is taken twice", fd)
	}
	d.lanes[fd] = l
	d.wakeLocked()
}

func (d *driver) Number() int { return 1 }

func (d *driver) Drop(l *lane.Lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return
	}
	d.dropped = append(d.dropped, l)
	d.wakeLocked()
}

func (d *driver) wakeLocked() { _, _ = unix.Write(d.wake[1], []byte{1}) }

// stop gives back what is read here.
func (d *driver) stop() {
	d.mu.Lock()
	if !d.over {
		d.ending = true
		d.wakeLocked()
	}
	d.mu.Unlock()
	<-d.done
}

func (d *driver) run() {
	defer close(d.done)
	for {
		d.mu.Lock()
		fds := []unix.PollFd{{Fd: int32(d.wake[0]), Events: unix.POLLIN}}
		for fd := range d.lanes {
			fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		d.mu.Unlock()
		if _, err := unix.Poll(fds, -1); err != nil {
			continue // interrupted
		}
		for _, f := range fds[1:] {
			if f.Revents&unix.POLLNVAL != 0 {
				d.t.Errorf("descriptor %d is closed while it is read here", f.Fd)
			}
			if f.Revents != 0 {
				d.mu.Lock()
				l := d.lanes[int(f.Fd)]
				d.mu.Unlock()
				l.Ready()
			}
		}
		if fds[0].Revents != 0 {
			var b [64]byte
			_, _ = unix.Read(d.wake[0], b[:])
		}
		if d.release() {
			return
		}
	}
}

// release gives up dead lanes, and all at the end.
func (d *driver) release() (ending bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var over []*lane.Lane
	for fd, l := range d.lanes {
		for _, x := range d.dropped {
			if x == l {
				over = append(over, l)
				delete(d.lanes, fd)
			}
		}
	}
	d.dropped = nil
	if d.over = d.ending; d.over {
		for _, l := range d.lanes {
			over = append(over, l)
		}
		_, _ = unix.Close(d.wake[0]), unix.Close(d.wake[1])
	}
	d.mu.Unlock()
	for _, l := range over {
		l.Release()
	}
	d.mu.Lock()
	return d.over
}

// chatty is an echo that pushes in between, stands still now and then, and notes what it has seen.
func chatty(seed uint64, pauses bool, seen *sync.Map) func(*peer) {
	return func(p *peer) {
		r := rand.New(rand.NewPCG(seed, 1))
		for {
			args := p.command()
			if args == nil {
				return
			}
			word := args[len(args)-1]
			seen.Store(strings.TrimRight(word, "x"), true)
			reply := bulk(word)
			if r.IntN(4) == 0 {
				reply = ">2\r\n+message\r\n" + bulk("out of band") + reply
			}
			if pauses && r.IntN(30) == 0 {
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond) // callers give up meanwhile
			}
			if !p.send(reply) {
				return
			}
		}
	}
}

// poster posts until the lane takes no more.
func poster(k *link, p *posts, r *rand.Rand, first uint64, most int) {
	for i := range uint64(most) {
		tag := first + i
		word := fmt.Sprint(tag)
		if r.IntN(20) == 0 {
			word += strings.Repeat("x", r.IntN(300_000))
		}
		err := p.post(k.Lane, tag, 1+r.IntN(3), word, lane.Options{})
		if r.IntN(3) > 0 {
			k.Flush(r.IntN(2) == 0)
		}
		switch {
		case errors.Is(err, lane.ErrFull):
			k.Flush(false)
			time.Sleep(100 * time.Microsecond)
		case err != nil:
			return
		}
	}
	k.Flush(false)
}

// Whoever reads, whatever ends the lane and whoever gives up: all that was posted ends once, with its
// own replies or a failure that says whether it was sent, beside callers that wait.
func TestEachPostEndsOnceAndWithItsOwnReplies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		over := rapid.SampledFrom(transports).Draw(t, "transport")
		seed := rapid.Uint64().Draw(t, "seed")
		most := rapid.IntRange(1, 200).Draw(t, "posts")
		how := rapid.SampledFrom([]string{"condemn", "abort", "retire", "drain"}).Draw(t, "end")
		early := rapid.Bool().Draw(t, "early")
		cfg := config()
		cfg.Window = rapid.IntRange(1, 300).Draw(t, "window")
		pauses := rapid.Bool().Draw(t, "pauses")
		if pauses {
			cfg.ReplyTimeout = 5 * time.Millisecond
		}
		var seen sync.Map
		k := connect(t, over, cfg, chatty(seed, pauses, &seen))
		k.OnPush(func([]byte) {}, false)
		d := startDriver(t)
		p := newPosts()
		p.takes = rapid.Bool().Draw(t, "parts")

		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() { poster(k, p, rand.New(rand.NewPCG(seed, uint64(2+i))), uint64(i)<<32, most) })
			wg.Go(func() {
				for n := range most / 2 {
					word := fmt.Sprint("caller ", i, n)
					if frame, err := k.do("ECHO", word); err == nil && string(frame) != bulk(word) {
						t.Errorf("a caller got %q, want %q", frame, word)
					}
				}
			})
		}
		wg.Go(func() { k.Drive(d) })
		if rapid.Bool().Draw(t, "driver leaves") {
			wg.Go(d.stop)
		}
		if !early {
			wg.Wait()
		}
		drained := make(chan struct{})
		switch how {
		case "condemn":
			k.Fail(errors.New("no more"))
		case "abort":
			k.Abort()
		case "retire":
			k.Retire(func() {})
		case "drain":
			k.Drain(func() { close(drained) })
		}
		wg.Wait()
		k.Flush(false)
		if how == "drain" {
			k.wait("the last reply", drained)
		}
		k.close()
		d.stop()
		p.check(t)
		p.mu.Lock()
		defer p.mu.Unlock()
		for tag, n := range p.want {
			word := fmt.Sprint(tag)
			if p.errs[tag] == nil && len(p.got[tag]) != n {
				t.Errorf("post %d never ended: %d of %d replies", tag, len(p.got[tag]), n)
			}
			var we *wire.Error
			if _, saw := seen.Load(word); saw && errors.As(p.errs[tag], &we) && !we.Sent {
				t.Errorf("post %d was carried out: %v", tag, we)
			}
			for _, frame := range p.got[tag] {
				if !strings.Contains(frame[:min(len(frame), 40)], "\r\n"+word) {
					t.Errorf("post %d got %.40q", tag, frame)
				}
			}
		}
	})
}

// idleDriver takes lanes and lets them lie.
type idleDriver struct{ taken, dropped chan int }

func (d idleDriver) Take(_ *lane.Lane, fd int) { d.taken <- fd }
func (d idleDriver) Drop(*lane.Lane)           { d.dropped <- 0 }
func (d idleDriver) Number() int               { return 1 }

func TestASocketIsOpenAsLongAsItsDriverHasIt(t *testing.T) {
	k := connect(t, overTCP, config(), answer("+OK\r\n"))
	d := idleDriver{make(chan int, 1), make(chan int, 1)}
	if !k.Drive(d) || k.Drive(d) {
		t.Fatal("a lane has one driver")
	}
	fd := await(t, "the read half", d.taken)
	k.Abort()
	await(t, "the lane's end", d.dropped)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("the driver's descriptor: %v", err)
	}
	k.Release()
	k.close()
}
