package turns

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"
)

const (
	// least is the size that even the smallest request counts: its cost is not in its bytes.
	least = 256
	// unknown is the expected size of the reply to the first request of a client.
	unknown = 128 << 10
	// likelySmall is unknown for a command whose recent replies to all clients were small. It is no less, because the reply to
	// this client may be large: only some clients at a time find that out.
	likelySmall = 32 << 10
	// Large is the size in bytes from which replies are remembered.
	Large = 16 << 10
	// apart is the size from which a request and its reply should use a connection apart from small ones.
	apart = 256 << 10
	// most bounds a size, so that the sums of many do not overflow.
	most = 1 << 30
	// hashed is how many bytes of a request tell it from others.
	hashed = 256
	// meanOf is the number of replies of which a Mean is about the mean.
	meanOf = 8
)

// Mean is the mean size of the recent replies to a client, except those that Sizes knows. The zero Mean knows none.
type Mean uint32

// Known reports whether the client got a reply.
func (m Mean) Known() bool { return m > 0 }

// Add adds the size of a reply.
func (m *Mean) Add(size int) {
	size = min(size, most)
	if *m == 0 {
		*m = Mean(max(size, 1))
		return
	}
	*m = Mean(max(int(*m)+(size-int(*m))/meanOf, 1))
}

// Expected is the number of bytes that a request and its reply are expected to have.
type Expected uint32

// exact marks the size of an earlier reply to the same request.
const exact = 1 << 31

// Bytes returns the number of bytes.
func (e Expected) Bytes() int { return int(e &^ exact) }

// Exact reports whether Sizes knows the size of an earlier reply to the same request.
func (e Expected) Exact() bool { return e&exact != 0 }

// Large reports whether the bytes should not delay small commands on the same connection.
func (e Expected) Large() bool { return e.Bytes() >= apart }

// Sizes remembers the sizes of large replies by their requests, for all clients. It forgets those that it has no room
// for. The zero Sizes is empty, and costs nothing before the first large reply. All methods are safe for concurrent use.
type Sizes struct {
	known    atomic.Int32 // slots that are not 0
	table    atomic.Pointer[sizeTable]
	commands [256]atomic.Uint64 // each a size in the lower half, and the hash of a command's name in the upper half
}

// sizeTable has a size in the lower half of each slot, and a part of the hash of the request in the upper half.
type sizeTable struct {
	seed  maphash.Seed
	slots [4096]atomic.Uint64
}

func (t *sizeTable) find(request []byte) (slot *atomic.Uint64, tag uint64) {
	h := maphash.Bytes(t.seed, request[:min(len(request), hashed)]) + uint64(len(request))
	return &t.slots[h%uint64(len(t.slots))], h &^ 0xffffffff
}

// Expect returns what to expect of a request of a client.
func (s *Sizes) Expect(request []byte, m Mean) Expected {
	if s.known.Load() > 0 {
		slot, tag := s.table.Load().find(request)
		if v := slot.Load(); v != 0 && v&^0xffffffff == tag {
			return exact | Expected(min(int(uint32(v))+len(request), most))
		}
	}
	size := int(m)
	if m == 0 {
		size = s.first(request)
	}
	return Expected(min(max(size+len(request), least), most))
}

// Learn records the size of the reply to a request. e is what Expect returned.
func (s *Sizes) Learn(request []byte, e Expected, size int) {
	if size < Large && !e.Exact() {
		return
	}
	t := s.table.Load()
	if t == nil {
		s.table.CompareAndSwap(nil, &sizeTable{seed: maphash.MakeSeed()})
		t = s.table.Load()
	}
	slot, tag := t.find(request)
	if size >= Large {
		if slot.Swap(tag|uint64(min(size, most))) == 0 {
			s.known.Add(1)
		}
		return
	}
	if v := slot.Load(); v != 0 && v&^0xffffffff == tag && slot.CompareAndSwap(v, 0) {
		s.known.Add(-1)
	}
}

// first returns the expected size of the reply to the first request of a client.
func (s *Sizes) first(request []byte) int {
	slot, tag := s.command(request)
	if v := slot.Load(); v != 0 && v&^0xffffffff == tag && uint32(v) < Large {
		return likelySmall
	}
	return unknown
}

// LearnCommand records the size of a reply to the command of a request. It is enough to call it for large replies, and for
// some of the others: a large one counts for a while.
func (s *Sizes) LearnCommand(request []byte, size int) {
	slot, tag := s.command(request)
	v := slot.Load()
	if v&^0xffffffff == tag {
		recent := int(uint32(v))
		size = max(size, recent-recent/meanOf)
	}
	slot.CompareAndSwap(v, tag|uint64(min(size, most))) // another goroutine may record its reply instead
}

// command returns the slot of the command of a request, and the hash of its name.
func (s *Sizes) command(request []byte) (slot *atomic.Uint64, tag uint64) {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := uint64(offset)
	for _, c := range nameOf(request) {
		h = (h ^ uint64(c|0x20)) * prime
	}
	return &s.commands[h>>56], h << 32 &^ 0xffffffff
}

// nameOf returns the name of the command of a request, or an empty slice.
func nameOf(request []byte) []byte {
	end := " \r\n"
	if len(request) > 0 && request[0] == '*' {
		for range 2 { // the lengths of the request and of the name
			_, rest, _ := bytes.Cut(request, []byte("\n"))
			request = rest
		}
		end = "\r"
	}
	if i := bytes.IndexAny(request, end); i >= 0 {
		return request[:i]
	}
	return nil
}
