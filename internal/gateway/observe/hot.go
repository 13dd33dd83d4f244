package observe

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// HotKeys is how many keys a HotList counts at a time.
const HotKeys = 512

// Sample is the number of requests for each one that a HotList sees.
const Sample = 64

// Sampled reports whether the n-th request of a client is in the sample. The sample does not follow the pattern of a
// client's requests, and begins elsewhere for each client.
func Sampled(n uint64, client int64) bool {
	return (n+uint64(client)<<32)*0x9E3779B97F4A7C15>>58 == 0
}

// HotList counts the uses of keys by the algorithm Space-Saving (Metwally, Agrawal, El Abbadi, 2005): a new key takes
// the place of the key with the lowest count, and its count. A key with more than one in HotKeys of all uses is always
// in the list, and its count is too high by at most its error. The zero value is empty. All methods are safe for
// concurrent use.
type HotList struct {
	mu     sync.Mutex
	byKey  map[string]*hotKey
	counts hotHeap
	total  uint64
	since  time.Time
}

type hotKey struct {
	key          string
	command      string // the last one
	count, error uint64
	index        int // in the heap
}

// HotKey is a key that is used much. Its counts are of the sample.
type HotKey struct {
	Key     string // escaped
	Command string // the last one that used it
	Count   uint64
	Error   uint64 // the count is too high by this at most
}

// Observe counts the keys of a request of the sample.
func (l *HotList) Observe(args [][]byte) {
	info, _ := command.ClassifyBytes(args)
	if info == nil {
		return
	}
	var room [8]int
	keys := keysOf(info, args, room[:0])
	if len(keys) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.byKey, l.since = map[string]*hotKey{}, time.Now()
	}
	for _, at := range keys {
		l.addLocked(shorten(args[at]), info.Name)
	}
}

func (l *HotList) addLocked(key []byte, command string) {
	l.total++
	k := l.byKey[string(key)]
	switch {
	case k != nil:
		k.count++
		k.command = command
		heap.Fix(&l.counts, k.index)
		return
	case len(l.counts) < HotKeys:
		k = &hotKey{key: string(key), command: command, count: 1}
		heap.Push(&l.counts, k)
	default:
		k = l.counts[0]
		delete(l.byKey, k.key)
		k.key, k.command, k.error = string(key), command, k.count
		k.count++
		heap.Fix(&l.counts, 0)
	}
	l.byKey[k.key] = k
}

// Top returns up to n keys, those with the highest counts first, the number of all counted uses, and since when they
// count.
func (l *HotList) Top(n int) (list []HotKey, total uint64, since time.Time) {
	list, total, since = l.all() // requests wait for the lock
	slices.SortFunc(list, func(a, b HotKey) int {
		return cmp.Or(cmp.Compare(b.Count-b.Error, a.Count-a.Error), cmp.Compare(a.Key, b.Key))
	})
	list = list[:min(n, len(list))]
	for i := range list {
		list[i].Key = printable([]byte(list[i].Key))
	}
	return list, total, since
}

// all returns all keys, unescaped and in no order.
func (l *HotList) all() (list []HotKey, total uint64, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	list = make([]HotKey, 0, len(l.counts))
	for _, k := range l.counts {
		list = append(list, HotKey{Key: k.key, Command: k.command, Count: k.count, Error: k.error})
	}
	return list, l.total, l.since
}

// Reset drops all counts.
func (l *HotList) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byKey, l.counts, l.total, l.since = nil, nil, 0, time.Time{}
}

// hotHeap has the lowest count first.
type hotHeap []*hotKey

func (h hotHeap) Len() int           { return len(h) }
func (h hotHeap) Less(i, j int) bool { return h[i].count < h[j].count }
func (h hotHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *hotHeap) Push(x any) {
	k := x.(*hotKey)
	k.index = len(*h)
	*h = append(*h, k)
}
func (h *hotHeap) Pop() any {
	old := *h
	k := old[len(old)-1]
	*h = old[:len(old)-1]
	return k
}
