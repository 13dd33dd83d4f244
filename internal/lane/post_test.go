package lane_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// posts is a sink that remembers what came of each post, by its tag.
type posts struct {
	mu    sync.Mutex
	got   map[uint64][]string // replies, parts put together
	parts map[uint64]string
	errs  map[uint64]error
	wrong []string
	order []uint64 // tags as they ended
	want  map[uint64]int

	during func(tag uint64) // called within Reply and Part; nil: nothing
	takes  bool             // parts
}

func newPosts() *posts {
	return &posts{got: map[uint64][]string{}, parts: map[uint64]string{}, errs: map[uint64]error{}, want: map[uint64]int{}}
}

func (s *posts) Reply(tag uint64, frame []byte, _ bool, _ *lane.Batch) {
	s.begin(tag, "a reply")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[tag] = append(s.got[tag], s.parts[tag]+string(frame))
	delete(s.parts, tag)
	if len(s.got[tag]) == s.want[tag] {
		s.order = append(s.order, tag)
	}
}

func (s *posts) Part(tag uint64, b []byte) bool {
	s.begin(tag, "a part")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.takes {
		s.parts[tag] += string(b)
	}
	return s.takes
}

func (s *posts) begin(tag uint64, what string) {
	s.mu.Lock()
	if s.errs[tag] != nil || len(s.got[tag]) == s.want[tag] {
		s.wrong = append(s.wrong, fmt.Sprintf("%s came to post %d after its end", what, tag))
	}
	s.mu.Unlock()
	if s.during != nil {
		s.during(tag)
	}
}

func (s *posts) Fail(tag uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errs[tag] != nil || len(s.got[tag]) == s.want[tag] {
		s.wrong = append(s.wrong, fmt.Sprintf("post %d failed after its end: %v", tag, err))
	}
	var we *wire.Error
	if !errors.As(err, &we) {
		s.wrong = append(s.wrong, fmt.Sprintf("post %d failed with %v, which is no *wire.Error", tag, err))
	}
	s.errs[tag] = err
	s.order = append(s.order, tag)
}

// post posts n commands as one request and expects as many replies.
func (s *posts) post(l *lane.Lane, tag uint64, n int, word string, opt lane.Options) error {
	s.mu.Lock()
	s.want[tag] = n
	s.mu.Unlock()
	raw := []byte(strings.Repeat("*2\r\n$4\r\nECHO\r\n"+bulk(word), n))
	err := l.Post(raw, n, s, tag, opt)
	clear(raw) // it is not kept
	if err != nil {
		s.mu.Lock()
		delete(s.want, tag)
		s.mu.Unlock()
	}
	return err
}

// over is how many posts have ended.
func (s *posts) over() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.order)
}

func (s *posts) check(t fataler) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wrong {
		t.Errorf("%s", w)
	}
}

func TestWhatIsPostedToARetiredLaneGoesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		k := connect(t, overPipe, config(), s.serve)
		p := newPosts()
		if err := p.post(k.Lane, 0, 1, "sent", lane.Options{}); err != nil {
			t.Fatal(err)
		}
		k.Flush(false)
		<-s.got
		synctest.Wait()              // the flush has ended
		for tag := range uint64(3) { // nobody flushes these
			if err := p.post(k.Lane, 1+tag, 2, "not sent", lane.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		drained := make(chan struct{})
		k.Retire(func() { close(drained) })
		synctest.Wait()
		if !slices.Equal(p.order, []uint64{1, 2, 3}) {
			t.Errorf("of what was posted these have ended: %v", p.order)
		}
		for tag := range uint64(3) {
			if err := p.errs[1+tag]; !errors.Is(err, lane.ErrDraining) {
				t.Errorf("got %v, want ErrDraining", err)
			}
			wantSent(t, p.errs[1+tag], false)
		}
		s.send <- bulk("sent")
		<-drained
		p.check(t)
		k.close()
	})
}

// From Fail on a request is its sink's to send again under the same tag: nothing of the
// former one may meet that.
func TestNothingComesToAPostThatHasFailed(t *testing.T) {
	for what, sent := range map[string]string{
		"a reply": bulk("of two"),
		"a part":  "$1000000\r\n" + strings.Repeat("x", 100_000),
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				k := connect(t, overPipe, config(), s.serve)
				p := newPosts()
				taking, goOn := make(chan struct{}), make(chan struct{})
				p.takes, p.during = true, func(uint64) {
					close(taking)
					<-goOn
				}
				n := 1
				if what == "a reply" {
					n = 2
				}
				if err := p.post(k.Lane, 0, n, "w", lane.Options{}); err != nil {
					t.Fatal(err)
				}
				k.Flush(false)
				<-s.got
				s.send <- sent
				<-taking
				k.Fail(errors.New("no more"))
				synctest.Wait()
				if p.over() != 0 {
					t.Errorf("it has failed while its sink takes %s of it", what)
				}
				close(goOn)
				k.wait("the end of the socket", k.closed)
				if p.over() != 1 {
					t.Error("it has not failed")
				}
				p.check(t)
				k.close()
			})
		})
	}
}

// whole takes replies whole.
type whole struct{ got chan []byte }

func (s whole) Reply(_ uint64, frame []byte, owned bool, _ *lane.Batch) {
	if !owned {
		frame = bytes.Clone(frame)
	}
	s.got <- frame
}

func (s whole) Part(uint64, []byte) bool { return false }
func (s whole) Fail(uint64, error)       { close(s.got) }

func TestALargeReplyThatIsTakenWholeIsNotCopiedOverAndOver(t *testing.T) {
	reply := bulk(strings.Repeat("x", 16<<20))
	k := connect(t, overPipe, config(), func(p *peer) {
		for p.command() != nil {
			for chunk := range slices.Chunk([]byte(reply), 64<<10) { // it comes piece by piece
				p.send(string(chunk))
			}
		}
	})
	defer k.close()
	s := whole{make(chan []byte, 1)}
	get := func() {
		t.Helper()
		if err := k.Post([]byte("*1\r\n$3\r\nGET\r\n"), 1, s, 0, lane.Options{}); err != nil {
			t.Fatal(err)
		}
		k.Flush(false)
		if got := await(t, "the reply", s.got); string(got) != reply {
			t.Fatalf("got %d bytes", len(got))
		}
	}
	get() // so large a one may be expected from now on
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	get()
	runtime.ReadMemStats(&after)
	if times := (after.TotalAlloc - before.TotalAlloc) / uint64(len(reply)); times > 4 {
		t.Errorf("%d times the reply's size was allocated", times)
	}
}

// send posts one command and flushes.
func (s *posts) send(t *testing.T, k *link, tag uint64, opt lane.Options) {
	t.Helper()
	if err := s.post(k.Lane, tag, 1, fmt.Sprint(tag), opt); err != nil {
		t.Fatal(err)
	}
	k.Flush(false)
}

func TestAPostThatWaitsTooLongCostsNothingButItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.ReplyTimeout = time.Second
		k := connect(t, overPipe, cfg, s.serve)
		p := newPosts()
		p.send(t, k, 0, lane.Options{})
		p.send(t, k, 1, lane.Options{Block: command.Block(3 * time.Second)})
		p.send(t, k, 2, lane.Options{Block: command.BlockForever})
		began := time.Now()
		for i, want := range []time.Duration{time.Second, 4 * time.Second} {
			for p.over() == i {
				time.Sleep(time.Millisecond) // of the bubble's clock
			}
			took(t, "the wait", began, want)
			wantSent(t, p.errs[uint64(i)], true)
			if !errors.Is(p.errs[uint64(i)], os.ErrDeadlineExceeded) {
				t.Errorf("got %v", p.errs[uint64(i)])
			}
		}
		p.send(t, k, 3, lane.Options{})
		for tag := range 4 {
			s.send <- bulk(fmt.Sprint(tag)) // the first two are too late
		}
		synctest.Wait()
		if k.Err() != nil || p.over() != 4 || p.got[2][0] != bulk("2") || p.got[3][0] != bulk("3") {
			t.Errorf("the lane: %v; replies: %v, failures: %v", k.Err(), p.got, p.errs)
		}
		p.check(t)
		k.close()
	})
}

func TestAStallEndsWhatWasPosted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.StallLimit = time.Second
		k := connect(t, overPipe, cfg, newScript().serve)
		p := newPosts()
		began := time.Now()
		for tag := range uint64(3) {
			p.send(t, k, tag, lane.Options{})
		}
		k.wait("the end of the socket", k.closed)
		took(t, "the stall", began, time.Second)
		var stall *lane.StallError
		if !errors.As(p.errs[0], &stall) || p.over() != 3 {
			t.Errorf("got %v", p.errs)
		}
		p.check(t)
		k.close()
	})
}

func TestAPostNeverPassesTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		cfg := config()
		cfg.Window = 2
		k := connect(t, overPipe, cfg, s.serve)
		p := newPosts()
		p.send(t, k, 0, lane.Options{})
		p.send(t, k, 1, lane.Options{})
		if err := p.post(k.Lane, 2, 1, "2", lane.Options{}); err != lane.ErrFull {
			t.Errorf("got %v, want ErrFull", err)
		}
		waits := k.start(background, lane.Options{}, "ECHO", "waits")
		synctest.Wait()
		s.send <- bulk("0")
		synctest.Wait() // the room is the caller's who waited for it
		if err := p.post(k.Lane, 2, 1, "2", lane.Options{}); err != lane.ErrFull {
			t.Errorf("it overtook a caller: %v", err)
		}
		s.send <- bulk("1")
		synctest.Wait()
		p.send(t, k, 2, lane.Options{})
		s.send <- bulk("waits")
		s.send <- bulk("2")
		if r := <-waits; r.err != nil || string(r.frame) != bulk("waits") {
			t.Errorf("got %q, %v", r.frame, r.err)
		}
		synctest.Wait()
		if p.over() != 3 {
			t.Errorf("%d of 3 posts have ended", p.over())
		}
		p.check(t)
		k.close()
	})
}
