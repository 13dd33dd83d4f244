package gateway

import (
	"slices"
	"sort"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// replayBuffer holds the bytes of pending requests, so that they can be sent again. A place is an offset in the stream
// of all requests. Small requests share a piece, and a large one has a piece to itself: no request is moved or copied
// again.
type replayBuffer struct {
	pieces []piece
	head   uint64 // of the first pending request
	end    uint64
	given  []byte // the current request, if the buffer may keep its memory
	spare  []byte // memory of a dropped piece, for the next one
}

// piece holds complete requests.
type piece struct {
	base uint64 // of buf[0]
	buf  []byte
	own  bool       // it holds one large request
	loan *lane.Loan // of buf; nil: no lane writes it from here
}

const (
	// sharedPiece is the size of a piece of small requests after which a new piece begins.
	sharedPiece = 64 << 10
	// ownPiece is the size from which a request has a piece for itself.
	ownPiece = sharedPiece / 4
)

// size returns the bytes of the pending requests.
func (b *replayBuffer) size() int { return int(b.end - b.head) }

// add keeps a request. It copies the request unless that is b.given.
func (b *replayBuffer) add(raw []byte) (from, to uint64) {
	from = b.end
	b.end += uint64(len(raw))
	if n := len(b.pieces); n > 0 && len(raw) < ownPiece && !b.pieces[n-1].own && len(b.pieces[n-1].buf) < sharedPiece {
		last := &b.pieces[n-1]
		last.buf = append(last.buf, raw...)
	} else {
		b.addPiece(from, raw)
	}
	return from, b.end
}

func (b *replayBuffer) addPiece(from uint64, raw []byte) {
	if len(raw) >= ownPiece {
		if !b.isGiven(raw) {
			raw = request.Keep(raw)
		}
		b.pieces = append(b.pieces, piece{base: from, buf: raw, own: true})
		return
	}
	b.pieces = append(b.pieces, piece{base: from, buf: append(b.spare, raw...)})
	b.spare = nil
}

func (b *replayBuffer) isGiven(raw []byte) bool {
	return len(b.given) == len(raw) && &b.given[0] == &raw[0]
}

// lend returns a loan of a large request for a lane. addLoan or takeBack must follow.
func (b *replayBuffer) lend(raw []byte) *lane.Loan {
	if !b.isGiven(raw) {
		raw = request.Keep(raw)
	}
	return lane.NewLoan(raw, request.Free)
}

// addLoan keeps a request that a lane writes.
func (b *replayBuffer) addLoan(loan *lane.Loan) (from, to uint64) {
	from = b.end
	b.end += uint64(len(loan.Bytes()))
	b.pieces = append(b.pieces, piece{base: from, buf: loan.Bytes(), own: true, loan: loan})
	return from, b.end
}

// takeBack ends a loan of raw that no lane has taken. The buffer may still add a given request.
func (b *replayBuffer) takeBack(loan *lane.Loan, raw []byte) {
	if !b.isGiven(raw) {
		loan.Return()
	}
}

// bytes returns a pending request. The bytes do not change while the request is pending.
func (b *replayBuffer) bytes(from, to uint64) []byte {
	if from == to {
		return nil
	}
	i := sort.Search(len(b.pieces), func(i int) bool { return b.pieces[i].base > from })
	p := b.pieces[i-1]
	return p.buf[from-p.base : to-p.base]
}

// dropTo drops all requests before a place.
func (b *replayBuffer) dropTo(from uint64) {
	if b.head = from; len(b.pieces) > 1 {
		b.dropPieces(from)
	}
}

func (b *replayBuffer) dropPieces(from uint64) {
	n := 0
	for n+1 < len(b.pieces) && b.pieces[n+1].base <= from {
		b.reuse(&b.pieces[n])
		n++
	}
	if n > 0 {
		b.pieces = slices.Delete(b.pieces, 0, n)
	}
}

// clear drops all requests.
func (b *replayBuffer) clear() {
	b.dropTo(b.end)
	if len(b.pieces) == 0 {
		return
	}
	if p := &b.pieces[0]; !p.own {
		p.base, p.buf = b.end, p.buf[:0]
		return
	}
	b.reuse(&b.pieces[0])
	b.pieces[0] = piece{}
	b.pieces = b.pieces[:0]
}

// reuse keeps the memory of a dropped piece for later requests.
func (b *replayBuffer) reuse(p *piece) {
	switch {
	case p.loan != nil:
		p.loan.Return()
	case p.own:
		request.Free(p.buf)
	default:
		b.spare = p.buf[:0]
	}
}

// release frees the memory of an empty buffer.
func (b *replayBuffer) release() { b.pieces, b.spare = nil, nil }
