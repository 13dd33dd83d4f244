package lane_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// lender lends requests, and overwrites their memory as soon as it is free.
type lender struct {
	mu    sync.Mutex
	freed int
}

func (x *lender) lend(word string) *lane.Loan {
	return lane.NewLoan([]byte("*2\r\n$4\r\nECHO\r\n"+bulk(word)), func(raw []byte) {
		clear(raw)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.freed++
	})
}

func (x *lender) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.freed
}

// postLoan posts an ECHO of a word by a loan. Both must be returned.
func (s *posts) postLoan(l *lane.Lane, tag uint64, loan *lane.Loan) error {
	s.mu.Lock()
	s.want[tag] = 1
	s.mu.Unlock()
	err := l.PostLoan(loan, 1, s, tag, lane.Options{})
	if err != nil {
		s.mu.Lock()
		delete(s.want, tag)
		s.mu.Unlock()
	}
	return err
}

// Loans, posts and waiting callers share a lane. Each gets the reply to its own bytes, and the memory of each loan is
// freed once.
func TestLoansKeepTheirPlaceAmongOtherRequests(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		k := connect(t, over, config(), echo)
		defer k.close()
		p, x := newPosts(), &lender{}
		const requests, callers = 300, 4
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for i := range requests / 3 {
					word := "caller" + strconv.Itoa(i)
					if frame, err := k.Do(background, []any{"ECHO", word}, lane.Options{}); err != nil || string(frame) != bulk(word) {
						t.Errorf("got %.60q, %v: want %q", frame, err, word)
						return
					}
				}
			})
		}
		rng := rand.New(rand.NewPCG(1, 2))
		words := make([]string, requests)
		lent := map[uint64]*lane.Loan{}
		for tag := range words {
			size := 1 + rng.IntN(300)
			large := rng.IntN(3) > 0
			if large {
				size = lane.LeastLoan + rng.IntN(200<<10)
			}
			words[tag] = string(bytes.Repeat([]byte{byte('a' + tag%26)}, size))
			for {
				var err error
				if large {
					loan := x.lend(words[tag])
					if err = p.postLoan(k.Lane, uint64(tag), loan); err == nil {
						lent[uint64(tag)] = loan
					}
				} else {
					err = p.post(k.Lane, uint64(tag), 1, words[tag], lane.Options{})
				}
				if err == nil {
					break
				}
				if err != lane.ErrFull {
					t.Fatal(err)
				}
				k.Flush(false)
				time.Sleep(time.Millisecond)
			}
			if rng.IntN(4) == 0 {
				k.Flush(rng.IntN(2) == 0)
			}
		}
		k.Flush(false)
		wg.Wait()
		testkit.Eventually(t, "all replies", func() bool { return p.over() == requests })
		p.check(t)
		for tag, want := range words {
			if got := p.got[uint64(tag)]; len(got) != 1 || got[0] != bulk(want) {
				t.Fatalf("post %d got %.60q: want %.60q", tag, got, bulk(want))
			}
		}
		for _, loan := range lent {
			loan.Return()
		}
		testkit.Eventually(t, "the lane returns its loans", func() bool { return x.count() == len(lent) })
	})
}

// A server that stands still takes a part of a loan only. The memory stays as it is until the rest is written, even if
// the lender needs it no more.
func TestTheMemoryOfALoanStaysUntilItIsWritten(t *testing.T) {
	onEach(t, func(t *testing.T, over transport) {
		goOn := make(chan struct{})
		k := connect(t, over, config(), func(p *peer) {
			<-goOn
			echo(p)
		})
		defer k.close()
		resume := sync.OnceFunc(func() { close(goOn) })
		defer resume()
		p, x := newPosts(), &lender{}
		word := string(bytes.Repeat([]byte("0123456789"), 12<<20/10))
		loan := x.lend(word)
		if err := p.postLoan(k.Lane, 0, loan); err != nil {
			t.Fatal(err)
		}
		k.Flush(false)
		loan.Return()
		if x.count() != 0 {
			t.Fatal("the memory of a loan was freed before the server has read it")
		}
		resume()
		testkit.Eventually(t, "the reply", func() bool { return p.over() == 1 })
		if got := p.got[0]; len(got) != 1 || got[0] != bulk(word) {
			t.Fatalf("got %.60q", got)
		}
		testkit.Eventually(t, "the lane returns the loan", func() bool { return x.count() == 1 })
	})
}

// Loans that no flush has taken are returned if the lane is retired or fails, and their sinks get the error.
func TestALaneReturnsLoansThatItDoesNotWrite(t *testing.T) {
	for _, end := range []string{"retired", "failed"} {
		t.Run(end, func(t *testing.T) {
			k := connect(t, overTCP, config(), func(p *peer) { p.drop() })
			p, x := newPosts(), &lender{}
			for tag := range uint64(3) {
				loan := x.lend(string(make([]byte, lane.LeastLoan)))
				if err := p.postLoan(k.Lane, tag, loan); err != nil {
					t.Fatal(err)
				}
				loan.Return()
				if err := p.post(k.Lane, 10+tag, 1, "small", lane.Options{}); err != nil {
					t.Fatal(err)
				}
			}
			if x.count() != 0 {
				t.Fatal("the memory of a loan was freed while its bytes wait")
			}
			if end == "retired" {
				k.Retire(func() {})
			}
			cause := errors.New("the end")
			if end == "failed" {
				k.Fail(cause)
			}
			if x.count() != 3 {
				t.Errorf("%d of 3 loans were returned", x.count())
			}
			testkit.Eventually(t, "all posts end", func() bool { return p.over() == 6 })
			p.check(t)
			want := lane.ErrDraining
			if end == "failed" {
				want = cause
			}
			for tag, err := range p.errs {
				if !errors.Is(err, want) {
					t.Errorf("post %d: got %v, want %v", tag, err, want)
				}
			}
			k.Fail(cause)
			<-k.closed
		})
	}
}

// A loan that waits for its flush takes no memory of the lane.
func TestALoanIsNotCopied(t *testing.T) {
	k := connect(t, overTCP, config(), func(p *peer) { p.drop() })
	defer k.close()
	p, x := newPosts(), &lender{}
	loan := x.lend(string(make([]byte, 3<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := p.postLoan(k.Lane, 0, loan); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("a loan of 3 MiB took %d KiB of new memory", took>>10)
	}
}

// lastOnly signals each reply.
type lastOnly chan struct{}

func (s lastOnly) Reply(uint64, []byte, bool, *lane.Batch) { s <- struct{}{} }
func (s lastOnly) Part(uint64, []byte) bool                { return false }
func (s lastOnly) Fail(uint64, error)                      { close(s) }

func BenchmarkPostLarge(b *testing.B) {
	const size, ahead = 1 << 20, 3
	raw := []byte("*2\r\n$4\r\nECHO\r\n" + bulk(string(make([]byte, size))))
	post := func(k *link, s lane.Sink) error { return k.Post(raw, 1, s, 0, lane.Options{}) }
	lend := func(k *link, s lane.Sink) error {
		return k.PostLoan(lane.NewLoan(raw, func([]byte) {}), 1, s, 0, lane.Options{})
	}
	for name, post := range map[string]func(*link, lane.Sink) error{"copy": post, "loan": lend} {
		b.Run(name, func(b *testing.B) {
			k := connect(b, overTCP, config(), func(p *peer) {
				for {
					if _, err := io.CopyN(io.Discard, p.in, int64(len(raw))); err != nil || !p.send("+OK\r\n") {
						return
					}
				}
			})
			defer k.close()
			s := make(lastOnly, ahead)
			b.SetBytes(size)
			b.ResetTimer()
			for i := range b.N + ahead {
				if i >= ahead {
					<-s
				}
				if i < b.N {
					if err := post(k, s); err != nil {
						b.Fatal(err)
					}
					k.Flush(false)
				}
			}
		})
	}
}
