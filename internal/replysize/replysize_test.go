package replysize

import (
	"strconv"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

func TestALargeReplyIsRemembered(t *testing.T) {
	var s Memory
	get := func(key any) []any { return []any{"GET", key} }
	weigh := func(args []any) (pool.Weight, int) { return s.Weight(args, s.Slot(args)) }

	if w, n := weigh(get("big")); w != pool.Any || n != 0 {
		t.Errorf("before anything is known: %v, %d", w, n)
	}
	s.Learn(get("big"), s.Slot(get("big")), 1<<20)
	if w, n := weigh(get("big")); w != pool.Large || n != 1<<20 {
		t.Errorf("after a large reply: %v, %d", w, n)
	}
	if w, n := weigh(get([]byte("big"))); w != pool.Large || n != 1<<20 {
		t.Errorf("with a key of bytes: %v, %d", w, n)
	}
	if w, n := weigh(get("small")); w != pool.Small || n != 0 {
		t.Errorf("beside it: %v, %d", w, n)
	}
	s.Learn(get("big"), s.Slot(get("big")), 10)
	if w, n := weigh(get("big")); w != pool.Any || n != 0 {
		t.Errorf("after it became small: %v, %d", w, n)
	}
	if w, _ := weigh([]any{"SET", "k", make([]byte, Large)}); w != pool.Large {
		t.Errorf("a large argument: %v", w)
	}
	if w, _ := weigh([]any{"PING"}); w != pool.Any {
		t.Errorf("a command of one word: %v", w)
	}
	s.Learn([]any{12}, nil, Large) // whatever is sent has a slot
}

// The count of what is known comes back to nothing, whoever learns what at the
// same time.
func TestWhatIsKnownIsCountedRight(t *testing.T) {
	var s Memory
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 20_000 {
				args := []any{"GET", strconv.Itoa((i + n) % 50)}
				s.Learn(args, s.Slot(args), Large*(n%2))
			}
		})
	}
	wg.Wait()
	for i := range 50 {
		args := []any{"GET", strconv.Itoa(i)}
		s.Learn(args, s.Slot(args), 1)
	}
	if n := s.known.Load(); n != 0 {
		t.Errorf("%d slots are known to be large: want none", n)
	}
}
