package request

import (
	"cmp"
	"math"
)

// Limits bound what a client may send. The zero value of a field is its default.
type Limits struct {
	// Line is the most bytes that an inline command, or the line of a length, may have
	// before its end; 32 is the least. Default: 64 KiB, as in Redis.
	Line int
	// Args is the most arguments of a request, its name included. Default: 1 Mi, as in Redis
	// before 7.0, which takes any number that fits 31 bits.
	Args int
	// Bulk is the most bytes of one argument. Default: 512 MiB, which is Redis' own for
	// proto-max-bulk-len.
	Bulk int64
	// Total is the most bytes of a request that is not inline. Default: 1 GiB, which is Redis' own
	// for client-query-buffer-limit.
	Total int64
	// Stream is the most bytes of a request that is held and handed out whole; a larger one comes in parts.
	// 64 is the least. Default: none comes in parts.
	Stream int64
}

// DefaultTotal is the default of Limits.Total.
const DefaultTotal = 1 << 30

const (
	minLine     = 32 // more than the line of any length
	minStream   = 64 // more than a request up to the end of a common name
	defaultLine = 64 << 10
	defaultArgs = 1 << 20
	defaultBulk = 512 << 20

	// Redis fixes these for clients that have yet to authenticate.
	unauthenticatedArgs = 10
	unauthenticatedBulk = 16 << 10
)

func (l *Limits) line() int    { return max(minLine, cmp.Or(l.Line, defaultLine)) }
func (l *Limits) args() int    { return cmp.Or(l.Args, defaultArgs) }
func (l *Limits) bulk() int64  { return cmp.Or(l.Bulk, defaultBulk) }
func (l *Limits) total() int64 { return min(cmp.Or(l.Total, DefaultTotal), math.MaxInt) }

// held says whether a request of size bytes is handed out whole.
func (l *Limits) held(size int64) bool { return l.Stream <= 0 || size <= max(minStream, l.Stream) }
