// Package turns keeps one client of the gateway from delaying the small commands of others. It bounds the bytes that are
// in flight between the gateway and the servers: a client has Free bytes, and takes turns with the other clients for more.
// Those that wait are served in the order in which they asked.
//
// The package does no I/O, has no goroutines, and knows no commands.
package turns

import (
	"sync"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
)

const (
	// Free is how many bytes each client may have in flight without a turn.
	Free = 16 << 10
	// share is the least part of a budget that a client takes for a long pipeline.
	share = 64 << 10
	// mostSmall is the largest turn that comes from the budget of small ones.
	mostSmall = 128 << 10
	// The budgets bound the bytes of all turns. Large turns have their own, so that a client that asks for a little does not
	// wait for those that ask for much.
	smallBudget = 1 << 20
	largeBudget = 2 << 20
)

// Turns divides the bytes in flight among the clients of a gateway. The zero Turns is ready for use. All methods are safe
// for concurrent use, but those of one Turn are not.
type Turns struct {
	Sizes Sizes

	mu      sync.Mutex
	budgets [2]budget
}

type budget struct {
	used    int
	waiting fifo.List[Turn, *Turn]
}

// fits reports whether n more bytes are free. One turn may exceed the budget if there is no other.
func (b *budget) fits(n, limit int) bool { return b.used == 0 || b.used+n <= limit }

var limits = [2]int{smallBudget, largeBudget}

// Resumer continues a client that has its turn.
type Resumer interface{ Resume() }

// Turn is the part of one client. Its zero value holds nothing.
type Turn struct {
	fifo.Links[Turn]
	resumer Resumer
	held    [2]int // bytes, by budget
	granted int    // bytes that the client has not used yet
	want    int    // bytes that it waits for, or that were granted
	waits   atomic.Bool
}

// Waits reports whether the client waits for its turn.
func (x *Turn) Waits() bool { return x != nil && x.waits.Load() }

// budgetOf returns the number of the budget for a turn of n bytes.
func budgetOf(n int) int {
	if n <= mostSmall {
		return 0
	}
	return 1
}

// Ask takes bytes for a client of which inFlight bytes are in flight, so that n more may follow. If they are not free, it
// returns false, and calls to.Resume once the client has its turn: then Ask succeeds. to.Resume must neither block nor call
// this package.
func (t *Turns) Ask(x *Turn, inFlight, n int, to Resumer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claimLocked(x)
	missing := inFlight + n - Free - x.held[0] - x.held[1]
	if missing <= 0 {
		return true
	}
	least := 0
	if inFlight > 0 {
		least = share // the pipeline may go on
	}
	if t.takeLocked(x, max(missing, least)) {
		return true
	}
	t.trimLocked(x, inFlight) // while it waits, it holds nothing that others could use
	missing = max(inFlight+n-Free-x.held[0]-x.held[1], least)
	if t.takeLocked(x, missing) {
		return true
	}
	x.want, x.resumer = missing, to
	x.waits.Store(true)
	t.budgets[budgetOf(missing)].waiting.Push(x)
	return false
}

func (t *Turns) takeLocked(x *Turn, n int) bool {
	i := budgetOf(n)
	b := &t.budgets[i]
	if b.waiting.Len() > 0 || !b.fits(n, limits[i]) {
		return false
	}
	b.used += n
	x.held[i] += n
	return true
}

// claimLocked makes granted bytes those that the client holds.
func (t *Turns) claimLocked(x *Turn) {
	x.held[budgetOf(x.want)] += x.granted
	x.granted = 0
}

// Trim returns the bytes that the client does not need for the inFlight bytes that are in flight, except a turn that was
// granted and not used yet.
func (t *Turns) Trim(x *Turn, inFlight int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trimLocked(x, inFlight)
}

// End is Trim after the client has used its turn, or cannot use it.
func (t *Turns) End(x *Turn, inFlight int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claimLocked(x)
	t.trimLocked(x, inFlight)
}

// Leave is End for a client that also stops waiting.
func (t *Turns) Leave(x *Turn, inFlight int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.waits.Load() {
		x.waits.Store(false)
		i := budgetOf(x.want)
		t.budgets[i].waiting.Remove(x)
		t.grantLocked(i)
	}
	t.claimLocked(x)
	t.trimLocked(x, inFlight)
}

func (t *Turns) trimLocked(x *Turn, inFlight int) {
	spare := x.held[0] + x.held[1] - max(inFlight-Free, 0)
	for i := len(x.held) - 1; i >= 0 && spare > 0; i-- {
		if n := min(spare, x.held[i]); n > 0 {
			x.held[i] -= n
			spare -= n
			t.budgets[i].used -= n
			t.grantLocked(i)
		}
	}
}

// grantLocked grants the turns that are next and fit.
func (t *Turns) grantLocked(i int) {
	b := &t.budgets[i]
	for x := b.waiting.First(); x != nil && b.fits(x.want, limits[i]); x = b.waiting.First() {
		b.waiting.Remove(x)
		b.used += x.want
		x.granted = x.want
		x.waits.Store(false)
		x.resumer.Resume()
	}
}

// Waiting returns the number of clients that wait for their turn.
func (t *Turns) Waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.budgets {
		n += t.budgets[i].waiting.Len()
	}
	return n
}
