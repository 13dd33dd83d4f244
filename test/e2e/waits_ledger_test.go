package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// ledger counts elements: those that producers pushed, and those that consumers received.
type ledger struct {
	version redistest.Version

	mu       sync.Mutex
	next     int
	pushed   map[string]time.Time // and the server replied
	unsure   map[string]bool      // pushed, without a reply
	received map[string]int
	at       map[string]time.Time // of the last receipt
	sent     int                  // consumers whose command may have been executed, without a reply
	canceled int                  // consumers that left
	strange  error
}

func newLedger(v redistest.Version) *ledger {
	return &ledger{
		version: v, pushed: map[string]time.Time{}, unsure: map[string]bool{}, received: map[string]int{}, at: map[string]time.Time{},
	}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pushed) + len(l.unsure)
}

func (l *ledger) take(elements ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range elements {
		l.received[e]++
		l.at[e] = time.Now()
	}
}

// noted records the error of a consumer, if any, and reports whether there was one.
func (l *ledger) noted(err error) bool {
	if err == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var ce *respool.ConnError
	switch {
	case errors.As(err, &ce) && ce.Sent:
		l.sent++
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		l.canceled++
	case errors.Is(err, respool.ErrClosed), errors.Is(err, respool.ErrNil):
	case !expected(err) && l.strange == nil:
		l.strange = err
	}
	return true
}

// produce pushes elements through do, to lists, a sorted set and a stream.
func (l *ledger) produce(r *rand.Rand, do func(args ...string) error) {
	l.mu.Lock()
	var elements []string
	for range 1 + r.IntN(8) {
		l.next++
		elements = append(elements, fmt.Sprintf("e%d", l.next))
	}
	l.mu.Unlock()
	var args []string
	switch kind := r.IntN(5); kind {
	case 0, 1, 2:
		args = append([]string{"RPUSH", [3]string{"l0", "l1", "from"}[kind]}, elements...)
	case 3:
		args = []string{"ZADD", "z"}
		for _, e := range elements {
			args = append(args, fmt.Sprint(r.IntN(100)), e)
		}
	default:
		elements = elements[:1]
		args = []string{"XADD", "st", "*", "e", elements[0]}
	}
	err := do(args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range elements {
		if err == nil {
			l.pushed[e] = time.Now()
		} else {
			l.unsure[e] = true
		}
	}
}

// consumption returns a blocking command. i decides which one it is.
func (l *ledger) consumption(i int, timeout string) string {
	switch i % 5 {
	case 0:
		return "BLPOP l0 l1 " + timeout
	case 1:
		if !l.version.Since(7, 0) {
			return "BRPOP l1 l0 " + timeout
		}
		return "BLMPOP " + timeout + " 2 l1 l0 LEFT COUNT 2"
	case 2:
		return "BZPOPMIN z " + timeout
	case 3:
		return "BLMOVE from to LEFT RIGHT " + timeout
	}
	return fmt.Sprintf("XREADGROUP GROUP g c%d COUNT 2 BLOCK 100 STREAMS st >", i)
}

// consume receives elements with one blocking command.
func (l *ledger) consume(ctx context.Context, c *respool.Client, i int, timeout string) {
	reply := c.Do(ctx, words(l.consumption(i, timeout))...)
	if !l.noted(reply.Err()) {
		l.take(elementsIn(reply)...)
	}
}

var element = regexp.MustCompile(`^e[0-9]+$`)

// elementsIn returns the elements in a reply of any shape.
func elementsIn(r respool.Reply) (found []string) {
	if all, err := r.Array(); err == nil {
		for _, one := range all {
			found = append(found, elementsIn(one)...)
		}
	} else if text, err := r.Text(); err == nil && element.MatchString(text) {
		found = append(found, text)
	}
	return found
}

// check compares the ledger with the server, after all consumers have ended. lost is how many elements may be missing,
// beside those whose consumers got the error Sent. safe reports whether an element may not be lost or received twice;
// nil: all of them.
func (l *ledger) check(t *testing.T, c *respool.Client, lost int, safe func(at time.Time) bool) {
	t.Helper()
	if l.strange != nil {
		t.Errorf("a consumer got %v", l.strange)
	}
	there := map[string]int{}
	for _, command := range []string{"LRANGE l0 0 -1", "LRANGE l1 0 -1", "LRANGE from 0 -1", "ZRANGE z 0 -1", "XREADGROUP GROUP g rest STREAMS st >"} {
		for _, e := range elementsIn(mustDo(t, c, words(command)...)) {
			there[e]++
		}
	}
	moved := map[string]int{}
	for _, e := range elementsIn(mustDo(t, c, "LRANGE", "to", 0, -1)) {
		moved[e]++
	}
	certain := func(e string) bool { return safe == nil || safe(l.pushed[e]) && (l.received[e] == 0 || safe(l.at[e])) }
	missing, unreported := 0, 0
	for e := range l.pushed {
		got, left := l.received[e], there[e]
		switch {
		case !certain(e):
		case moved[e] > 0 && got == 0 && left == 0:
			unreported++
		case moved[e] > 0 && (got > 1 || left > 0 || moved[e] > 1), moved[e] == 0 && got+left > 1:
			t.Errorf("%s was received %d times, is there %d times, and was moved %d times", e, got, left, moved[e])
		case got+left == 0:
			missing++
		}
	}
	for e, n := range l.received {
		if _, known := l.pushed[e]; !known && !l.unsure[e] || n > 1 && certain(e) {
			t.Errorf("%s was received %d times; pushed: %v", e, n, known)
		}
	}
	t.Logf("%d elements were pushed and %d perhaps, %d received; %d are missing, %d have moved unreported; "+
		"%d consumers left, %d got the error Sent", len(l.pushed), len(l.unsure), len(l.received), missing, unreported, l.canceled, l.sent)
	if missing+unreported > lost+2*l.sent { // two elements for each consumer, at most
		t.Errorf("%d elements are missing and %d moved for nobody: want %d at most, and 2 for each of %d commands that were sent",
			missing, unreported, lost, l.sent)
	}
}

func words(line string) (args []any) {
	for _, w := range strings.Fields(line) {
		args = append(args, w)
	}
	return args
}
