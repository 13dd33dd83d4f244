// Package turns keeps one client of the gateway from delaying the small commands of others. It bounds the bytes that are
// in flight between the gateway and the servers: a client has Free bytes, and takes turns with the other clients for more.
// Those that wait are served in the order in which they asked.
//
// The package does no I/O and knows no commands. While clients wait, and for a moment after an outage, a timer runs.
package turns

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/fifo"
)

const (
	// Free is how many bytes each client may have in flight without a turn.
	Free = 16 << 10
	// share is the least part of a budget that a client takes for a long pipeline.
	share = 16 << 10
	// mostSmall is the largest turn that comes from the budget of small ones.
	mostSmall = 128 << 10
	// The budgets bound the bytes of all turns. A client that asks for a little does not wait for those that ask for much,
	// and a new client waits only for other new clients.
	firstBudget = 256 << 10
	smallBudget = 1 << 20
	largeBudget = 2 << 20
	// mostExtra is how much the budget of first requests grows while their replies are small and clients wait for it. Each
	// such reply adds extraStep.
	mostExtra = 512 << 10
	extraStep = 16 << 10
	// A client that gets no reply for between one and two patiences holds its turn no more: its server may be down, and
	// others do not wait for it.
	patience = 200 * time.Millisecond
)

// kind is the number of a budget.
type kind int

const (
	first kind = iota // the first request of a client, unless it is large
	small
	big
	kinds
)

var limits = [kinds]int{firstBudget, smallBudget, largeBudget}

// mostSilent is how often the budgets double at most.
const mostSilent = 10

// Turns divides the bytes in flight among the clients of a gateway. The zero Turns is ready for use. All methods are safe
// for concurrent use, but those of one Turn are not.
type Turns struct {
	Sizes Sizes

	mu      sync.Mutex
	budgets [kinds]budget
	holders fifo.List[holder, *holder]
	waits   uint64 // calls of Ask that returned false
	timing  bool   // the timer runs
	ticks   atomic.Int64
	replied atomic.Int64 // ticks at the last call of Replied
	silent  uint         // ticks in a row that ended turns, with no reply to any client; each doubles the budgets
	extra   int          // bytes by which the budget of first requests has grown
}

// holder is a client that holds bytes.
type holder struct {
	fifo.Links[holder]
	turn *Turn
}

type budget struct {
	used    int
	waiting fifo.List[Turn, *Turn]
}

// fitsLocked reports whether n more bytes of a budget are free. One turn may exceed the budget if there is no other.
func (t *Turns) fitsLocked(i kind, n int) bool {
	used, limit := t.budgets[i].used, limits[i]
	if i == first {
		limit += t.extra
	}
	return used == 0 || used+n <= limit<<t.silent
}

// Resumer continues a client that has its turn.
type Resumer interface{ Resume() }

// Turn is the part of one client. Its zero value holds nothing.
type Turn struct {
	fifo.Links[Turn]
	resumer Resumer
	held    [kinds]int // bytes
	granted int        // bytes that the client has not used yet. Others write it only while waits is true
	want    int        // bytes that it waits for, or that were granted
	kind    kind       // of want
	holder  holder
	total   atomic.Int64 // the sum of held; the lock of Turns guards its changes
	seen    atomic.Int64 // ticks at the last request or reply
	waits   atomic.Bool
	asked   bool // since End. The caller's lock guards it.

	// Since is when the client was refused the request that it takes next, in Unix nanoseconds; 0: it was not. Only the caller
	// uses it.
	Since int64
}

// Waits reports whether the client waits for its turn.
func (x *Turn) Waits() bool { return x != nil && x.waits.Load() }

// Covers reports whether what the client holds is enough for n bytes in flight. Then it needs no call of Ask.
func (x *Turn) Covers(n int) bool {
	return x != nil && !x.waits.Load() && x.granted == 0 && n-Free <= int(x.total.Load())
}

// kindOf returns the kind of a turn of n bytes.
func kindOf(n int, isFirst bool) kind {
	switch {
	case n > mostSmall:
		return big
	case isFirst:
		return first
	}
	return small
}

// Ask takes bytes for a client of which inFlight bytes are in flight, so that n more may follow. isFirst states that the
// size of the replies to the client is unknown. If the bytes are not free, Ask returns false, and calls to.Resume once the
// client has its turn: then Ask succeeds. to.Resume must neither block nor call this package.
func (t *Turns) Ask(x *Turn, inFlight, n int, isFirst bool, to Resumer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claimLocked(x)
	x.asked = true
	least := 0
	if inFlight > 0 {
		least = share // the pipeline may go on
	}
	missing := inFlight + n - Free - int(x.total.Load())
	if missing <= 0 || t.takeLocked(x, max(missing, least), isFirst) {
		return true
	}
	t.trimLocked(x, inFlight) // while it waits, it holds nothing that others could use
	missing = max(inFlight+n-Free-int(x.total.Load()), least)
	if t.takeLocked(x, missing, isFirst) {
		return true
	}
	x.want, x.kind, x.resumer = missing, kindOf(missing, isFirst), to
	x.waits.Store(true)
	t.budgets[x.kind].waiting.Push(x)
	t.waits++
	if !t.timing {
		t.timing = true
		time.AfterFunc(patience, t.tick)
	}
	return false
}

func (t *Turns) takeLocked(x *Turn, n int, isFirst bool) bool {
	i := kindOf(n, isFirst)
	b := &t.budgets[i]
	if b.waiting.Len() > 0 || !t.fitsLocked(i, n) {
		return false
	}
	b.used += n
	t.holdLocked(x, i, n)
	return true
}

// holdLocked gives bytes to a client. They count as used already.
func (t *Turns) holdLocked(x *Turn, i kind, n int) {
	x.held[i] += n
	x.total.Add(int64(n))
	x.seen.Store(t.ticks.Load())
	if n > 0 && !x.holder.Listed() {
		x.holder.turn = x
		t.holders.Push(&x.holder)
	}
}

// claimLocked makes granted bytes those that the client holds.
func (t *Turns) claimLocked(x *Turn) {
	t.holdLocked(x, x.kind, x.granted)
	x.granted = 0
}

// Replied notes a reply of a server to the client.
func (t *Turns) Replied(x *Turn) {
	now := t.ticks.Load()
	if now != t.replied.Load() {
		t.replied.Store(now)
	}
	if now != x.seen.Load() {
		x.seen.Store(now)
	}
}

// Trim returns the bytes that the client does not need for the inFlight bytes that are in flight, except a turn that was granted
// and not used yet. It keeps a few for a while, since it would take the lock for every reply.
func (t *Turns) Trim(x *Turn, inFlight int) {
	total := int(x.total.Load())
	if total == 0 {
		return
	}
	needs := max(inFlight-Free, 0)
	if spare := total - needs; spare <= 0 || spare < share && needs > 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trimLocked(x, inFlight)
}

// NoteFirst notes the size of the first reply to a client. While other new clients wait, each small one allows more of them
// at a time: their requests are most probably small too. A large one halves that.
func (t *Turns) NoteFirst(x *Turn, size int) {
	if x.total.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case x.held[first] == 0:
	case size >= Large:
		t.extra /= 2
	case t.budgets[first].waiting.Len() > 0 && t.extra < mostExtra:
		t.extra += extraStep
		t.grantLocked(first)
	}
}

// End is Trim after the client has used its turn, or cannot use it.
func (t *Turns) End(x *Turn, inFlight int) {
	if !x.asked {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claimLocked(x)
	t.trimLocked(x, inFlight)
	x.asked = x.waits.Load() // its turn may come
}

// Leave is End for a client that also stops waiting.
func (t *Turns) Leave(x *Turn, inFlight int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.waits.Load() {
		x.waits.Store(false)
		t.budgets[x.kind].waiting.Remove(x)
		t.grantLocked(x.kind)
	}
	t.claimLocked(x)
	t.trimLocked(x, inFlight)
}

func (t *Turns) trimLocked(x *Turn, inFlight int) {
	x.seen.Store(t.ticks.Load())
	t.releaseLocked(x, int(x.total.Load())-max(inFlight-Free, 0))
}

// releases is the order in which a client returns what it holds. It has its first reply, so it returns that turn first.
var releases = [kinds]kind{first, big, small}

// releaseLocked returns spare bytes of a client.
func (t *Turns) releaseLocked(x *Turn, spare int) {
	for _, i := range releases {
		if n := min(spare, x.held[i]); n > 0 {
			x.held[i] -= n
			x.total.Add(int64(-n))
			spare -= n
			t.budgets[i].used -= n
			t.grantLocked(i)
		}
	}
	if x.holder.Listed() && x.total.Load() == 0 {
		t.holders.Remove(&x.holder)
	}
}

// tick ends the turns of clients that get no replies. If no client gets any, the budgets double, so that those that wait soon
// learn from their server that it is down.
func (t *Turns) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.ticks.Add(1)
	ended := false
	for h := t.holders.First(); h != nil; {
		x := h.turn
		if h = h.Next(); now-x.seen.Load() >= 2 {
			t.releaseLocked(x, int(x.total.Load()))
			ended = true
		}
	}
	switch {
	case now-t.replied.Load() < 2 || t.waitingLocked() == 0:
		t.silent = 0
	case ended && t.silent < mostSilent:
		t.silent++
		for i := range kinds {
			t.grantLocked(i)
		}
	}
	if t.timing = t.waitingLocked() > 0 || t.silent > 0; t.timing {
		time.AfterFunc(patience, t.tick)
	}
}

// grantLocked grants the turns that are next and fit.
func (t *Turns) grantLocked(i kind) {
	b := &t.budgets[i]
	for x := b.waiting.First(); x != nil && t.fitsLocked(i, x.want); x = b.waiting.First() {
		b.waiting.Remove(x)
		b.used += x.want
		x.granted = x.want
		x.waits.Store(false)
		x.resumer.Resume()
	}
	if i == first && b.waiting.Len() == 0 {
		t.extra = 0
	}
}

// Waiting returns the number of clients that wait for their turn.
func (t *Turns) Waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waitingLocked()
}

// Waits returns how often a client has had to wait for its turn.
func (t *Turns) Waits() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waits
}

func (t *Turns) waitingLocked() (n int) {
	for i := range t.budgets {
		n += t.budgets[i].waiting.Len()
	}
	return n
}
