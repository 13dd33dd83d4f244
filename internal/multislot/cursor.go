package multislot

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"sync"
)

// Ordinals numbers the primaries of a cluster in the order in which they were seen, for the cursors of SCAN. A number never
// changes its node. The zero Ordinals is ready, and safe for concurrent use.
type Ordinals struct {
	mu    sync.Mutex
	addrs []string
}

// maxOrdinals limits the primaries that one cursor can name.
const maxOrdinals = 1024

// The errors of cursors.
var (
	ErrCursor         = errors.New("invalid cursor")
	ErrCursorTooLarge = errors.New("the node's cursor is too large to name the node too: scan this node alone, with a direct connection")
	ErrManyPrimaries  = errors.New("more than 1024 primaries were seen since the start, which a cursor cannot name: restart the client")
)

// Next returns the first of the present primaries whose number is not below from, and its number. It numbers new ones. ok is
// false if there is none.
func (o *Ordinals) Next(from int, present []string) (number int, addr string, ok bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, addr := range slices.Sorted(slices.Values(present)) { // all clients begin with the same numbers
		if slices.Contains(o.addrs, addr) {
			continue
		}
		if len(o.addrs) == maxOrdinals {
			return 0, "", false, ErrManyPrimaries
		}
		o.addrs = append(o.addrs, addr)
	}
	for i := from; i < len(o.addrs); i++ {
		if slices.Contains(present, o.addrs[i]) {
			return i, o.addrs[i], true, nil
		}
	}
	return 0, "", false, nil
}

// JoinCursor returns the cursor that names a node and the node's own cursor. Its text is 0 only for the first node's begin.
func JoinCursor(number int, own string) (string, error) {
	n, err := strconv.ParseUint(own, 10, 64)
	if err != nil {
		return "", ErrCursor
	}
	if n > math.MaxUint64/maxOrdinals {
		return "", ErrCursorTooLarge
	}
	return strconv.FormatUint(n*maxOrdinals+uint64(number), 10), nil
}

// SplitCursor returns the number of the node that a cursor names, and the node's own cursor.
func SplitCursor(cursor string) (number int, own string, err error) {
	n, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil {
		return 0, "", ErrCursor
	}
	return int(n % maxOrdinals), strconv.FormatUint(n/maxOrdinals, 10), nil
}
