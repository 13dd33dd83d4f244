// Package replysize remembers which commands had large replies, so that small commands need not wait behind them. It
// decides which lanes a command may use; package pool picks one.
package replysize

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// Large is the size in bytes from which commands and replies use other lanes than small ones.
const Large = 16 << 10

// Memory remembers which commands had large replies the last time. It costs nothing before the first large reply. The
// zero Memory is empty. All methods are safe for concurrent use.
type Memory struct {
	known atomic.Int32 // slots that are not 0
	table atomic.Pointer[sizeTable]
}

// sizeTable maps the hash of a command's name and first argument to a size in bytes. After a collision a command may
// use the wrong lanes and wait longer. It has no other effect.
type sizeTable struct {
	seed  maphash.Seed
	slots [4096]atomic.Int64
}

// Slot returns the slot for the reply size of args. It returns nil if no large reply is known.
func (m *Memory) Slot(args []any) *atomic.Int64 {
	if m.known.Load() == 0 {
		return nil
	}
	return m.table.Load().slot(args)
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

// Learn records the size of a reply. slot is the one that Slot returned before the command was sent.
func (m *Memory) Learn(args []any, slot *atomic.Int64, size int) {
	if size < Large {
		if slot != nil && slot.Swap(0) != 0 {
			m.known.Add(-1)
		}
		return
	}
	if slot == nil {
		if m.table.Load() == nil {
			m.table.CompareAndSwap(nil, &sizeTable{seed: maphash.MakeSeed()})
		}
		slot = m.table.Load().slot(args)
	}
	if slot.Swap(int64(size)) == 0 {
		m.known.Add(1)
	}
}

// Weight returns a command's class for the pool, and the expected size of its reply in bytes if that is known to be
// large.
func (m *Memory) Weight(args []any, slot *atomic.Int64) (w pool.Weight, reply int) {
	if slot != nil {
		w, reply = pool.Small, int(slot.Load())
	}
	if TextSize(args) >= Large || reply > 0 {
		w = pool.Large
	}
	return w, reply
}

// TextSize returns the total length of the strings and byte slices in args.
func TextSize(args []any) (n int) {
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
