package gateway

import (
	"slices"
	"sort"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// log holds the bytes of the requests that are under way, so that they can be sent again. Their places
// are counted in the stream of all requests. Small requests share a piece, a large one is a piece of its own:
// nothing is moved or copied again, however many there are.
type log struct {
	pieces []piece
	head   uint64 // of the first request under way
	end    uint64
	given  []byte // the request at hand, if it has memory of its own that may be kept
	spare  []byte // of a piece that is over, to be used again
}

// piece holds requests, each of them whole.
type piece struct {
	base uint64 // of buf[0]
	buf  []byte
	own  bool // of one large request
}

const (
	// sharedPiece is how many bytes of small requests a piece takes before another one begins.
	sharedPiece = 64 << 10
	// ownPiece is the size from which a request has a piece for itself.
	ownPiece = sharedPiece / 4
)

// size is how many bytes are under way.
func (l *log) size() int { return int(l.end - l.head) }

// add keeps a request, and copies it unless it was given.
func (l *log) add(raw []byte) (from, to uint64) {
	from = l.end
	l.end += uint64(len(raw))
	if n := len(l.pieces); n > 0 && len(raw) < ownPiece && !l.pieces[n-1].own && len(l.pieces[n-1].buf) < sharedPiece {
		last := &l.pieces[n-1]
		last.buf = append(last.buf, raw...)
	} else {
		l.addPiece(from, raw)
	}
	return from, l.end
}

func (l *log) addPiece(from uint64, raw []byte) {
	if len(raw) >= ownPiece {
		if len(l.given) != len(raw) || &l.given[0] != &raw[0] {
			raw = request.Keep(raw)
		}
		l.pieces = append(l.pieces, piece{from, raw, true})
		return
	}
	l.pieces = append(l.pieces, piece{base: from, buf: append(l.spare, raw...)})
	l.spare = nil
}

// bytes is a request that is under way. It is not changed while that is so.
func (l *log) bytes(from, to uint64) []byte {
	if from == to {
		return nil
	}
	i := sort.Search(len(l.pieces), func(i int) bool { return l.pieces[i].base > from })
	p := l.pieces[i-1]
	return p.buf[from-p.base : to-p.base]
}

// dropTo gives up all before a place, where a request begins.
func (l *log) dropTo(from uint64) {
	if l.head = from; len(l.pieces) > 1 {
		l.dropPieces(from)
	}
}

func (l *log) dropPieces(from uint64) {
	over := 0
	for over+1 < len(l.pieces) && l.pieces[over+1].base <= from {
		l.reuse(&l.pieces[over])
		over++
	}
	if over > 0 {
		l.pieces = slices.Delete(l.pieces, 0, over)
	}
}

// clear gives up all.
func (l *log) clear() {
	l.dropTo(l.end)
	if len(l.pieces) == 0 {
		return
	}
	if p := &l.pieces[0]; !p.own {
		p.base, p.buf = l.end, p.buf[:0]
		return
	}
	l.reuse(&l.pieces[0])
	l.pieces[0] = piece{}
	l.pieces = l.pieces[:0]
}

// reuse keeps the memory of a piece that is over for what comes.
func (l *log) reuse(p *piece) {
	if p.own {
		request.Free(p.buf)
	} else {
		l.spare = p.buf[:0]
	}
}

// release lets go of the memory of a log that is clear.
func (l *log) release() { l.pieces, l.spare = nil, nil }
