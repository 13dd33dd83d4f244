package turns

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/seed-2b0d76a6/respool/resp"
)

const (
	// least is the size that even the smallest request counts: its cost is not in its bytes.
	least = 128
	// unknown is the expected size of the reply to the first request of a client: only some clients at a time find out what it is.
	unknown = Free + 48<<10
	// alone is unknown for a request to which a reply was small. It needs no turn, but no other one may follow before the reply.
	alone = Free / 4 * 3
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

// Add adds the size of a reply. A very large one counts at once: those behind it may be as large.
func (m *Mean) Add(size int) {
	size = min(size, most)
	difference, of := size-int(*m), meanOf
	switch {
	case *m == 0:
		of = 1
	case size >= apart && difference > int(*m):
		of = 2
	}
	*m = Mean(max(int(*m)+difference/of, 1))
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

// Sizes remembers the sizes of large replies by their requests, for all clients, and which requests had small ones. It
// forgets those that it has no room for. The zero Sizes is empty. All methods are safe for concurrent use.
type Sizes struct {
	known atomic.Int32 // slots of large replies that are not 0
	table atomic.Pointer[sizeTable]
}

// remembered is the number of slots for requests of each kind.
const remembered = 4096

// sizeTable finds slots by the hash of a request.
type sizeTable struct {
	seed  maphash.Seed
	large [remembered]atomic.Uint64 // each a size in the lower half, and a part of the hash in the upper half
	small [remembered]atomic.Uint32 // each a part of the hash, or 0
}

func (t *sizeTable) hash(request []byte) uint64 {
	return maphash.Bytes(t.seed, request[:min(len(request), hashed)]) + uint64(len(request))
}

// findLarge returns the slot for the size of a large reply.
func (t *sizeTable) findLarge(request []byte) (slot *atomic.Uint64, tag uint64) {
	h := t.hash(request)
	return &t.large[h%remembered], h &^ 0xffffffff
}

// findSmall returns the slot for a small reply.
func (t *sizeTable) findSmall(request []byte) (slot *atomic.Uint32, tag uint32) {
	h := t.hash(request)
	return &t.small[h%remembered], uint32(h>>32) | 1
}

// mine returns the table.
func (s *Sizes) mine() *sizeTable {
	t := s.table.Load()
	if t == nil {
		s.table.CompareAndSwap(nil, &sizeTable{seed: maphash.MakeSeed()})
		t = s.table.Load()
	}
	return t
}

// Expect returns what to expect of a request of a client.
func (s *Sizes) Expect(request []byte, m Mean) Expected {
	if s.known.Load() > 0 {
		slot, tag := s.table.Load().findLarge(request)
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

// ExpectAll returns what to expect of several encoded requests of a client.
func (s *Sizes) ExpectAll(requests []byte, m Mean) Expected {
	size, known := 0, Expected(exact)
	each(requests, func(request []byte) {
		e := s.Expect(request, m)
		size = min(size+e.Bytes(), most)
		known &= e
	})
	return Expected(max(size, least)) | known&exact
}

// each calls f with each of several encoded requests.
func each(requests []byte, f func(request []byte)) {
	for len(requests) > 0 {
		n, err := resp.FrameLen(requests)
		if err != nil {
			return
		}
		f(requests[:n])
		requests = requests[n:]
	}
}

// Learn records the size of the reply to a request. e is what Expect returned.
func (s *Sizes) Learn(request []byte, e Expected, size int) {
	if size < Large && !e.Exact() {
		return
	}
	slot, tag := s.mine().findLarge(request)
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
	if t := s.table.Load(); t != nil {
		if slot, tag := t.findSmall(request); slot.Load() == tag {
			return alone
		}
	}
	return unknown
}

// LearnFirst records the size of a reply for the first requests of other clients. It is enough to call it for large replies,
// and for some of the others.
func (s *Sizes) LearnFirst(request []byte, size int) {
	switch small, tag := s.mine().findSmall(request); {
	case size < Large:
		small.Store(tag)
	case small.Load() == tag:
		small.CompareAndSwap(tag, 0)
	}
}

// LearnLarge is Learn for several encoded requests and their replies, of which it records the large ones.
func (s *Sizes) LearnLarge(requests []byte, replies [][]byte) {
	i := 0
	each(requests, func(request []byte) {
		if i < len(replies) {
			s.Learn(request, 0, len(replies[i]))
		}
		i++
	})
}

// LearnSmall is LearnFirst for several encoded requests that had small replies.
func (s *Sizes) LearnSmall(requests []byte) {
	each(requests, func(request []byte) { s.LearnFirst(request, 0) })
}
