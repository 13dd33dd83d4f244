package engine

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// large is the size in bytes from which a command or a reply keeps out of the
// way of small ones, on other lanes.
const large = 16 << 10

// largeReplies remembers which commands had large replies the last time, so that small
// ones need not wait behind them. It costs nothing until there is one.
type largeReplies struct {
	known atomic.Int32 // slots that are not 0
	table atomic.Pointer[sizeTable]
}

// sizeTable holds sizes in bytes by the hash of a command's name and first
// argument. Two that share a slot may mislead each other, to no harm but a
// wait.
type sizeTable struct {
	seed  maphash.Seed
	slots [4096]atomic.Int64
}

// slot is where the size of the reply to args stands, or nil where nothing
// large is known.
func (s *largeReplies) slot(args []any) *atomic.Int64 {
	if s.known.Load() == 0 {
		return nil
	}
	return s.table.Load().slot(args)
}

func (t *sizeTable) slot(args []any) *atomic.Int64 {
	h := t.hash(args[0])
	if len(args) > 1 {
		h = 31*h + t.hash(args[1])
	}
	return &t.slots[h%uint64(len(t.slots))]
}

func (t *sizeTable) hash(arg any) uint64 {
	switch v := arg.(type) {
	case string:
		return maphash.String(t.seed, v)
	case []byte:
		return maphash.Bytes(t.seed, v)
	}
	return 0
}

// learn takes note of a reply's size.
func (s *largeReplies) learn(args []any, slot *atomic.Int64, size int) {
	if size < large {
		if slot != nil && slot.Swap(0) != 0 {
			s.known.Add(-1)
		}
		return
	}
	if slot == nil {
		if s.table.Load() == nil {
			s.table.CompareAndSwap(nil, &sizeTable{seed: maphash.MakeSeed()})
		}
		slot = s.table.Load().slot(args)
	}
	if slot.Swap(int64(size)) == 0 {
		s.known.Add(1)
	}
}

// weight tells what a command puts on a lane: its class for the pool, and how
// many bytes its reply is going to have, where that is known to be many.
func (s *largeReplies) weight(args []any, slot *atomic.Int64) (w pool.Weight, reply int) {
	if slot != nil {
		w, reply = pool.Small, int(slot.Load())
	}
	if textSize(args) >= large || reply > 0 {
		w = pool.Large
	}
	return w, reply
}

// textSize is how many bytes strings among args have.
func textSize(args []any) (n int) {
	for _, a := range args {
		switch v := a.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		}
	}
	return n
}
