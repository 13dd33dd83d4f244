package request

import (
	"cmp"
	"math"
)

// Limits are the limits of a request. A zero value means the default of its field.
type Limits struct {
	// Line limits the bytes of an inline command and of the line of a length, without the line end. The minimum is 32.
	// Default: 64 KiB, as in Redis.
	Line int
	// Args limits the arguments of a request, including its name. Default: 1 Mi, as in Redis before 7.0. Redis since
	// 7.0 accepts any number of 31 bits.
	Args int
	// Bulk limits the bytes of one argument. Default: 512 MiB, the default of proto-max-bulk-len in Redis.
	Bulk int64
	// Total limits the bytes of a request that is not inline. Default: 1 GiB, the default of client-query-buffer-limit
	// in Redis.
	Total int64
	// Stream limits the bytes of a request that the scanner buffers and returns as a whole. It returns a larger request
	// in parts. The minimum is 64. Default: no limit.
	Stream int64
}

// DefaultTotal is the default of Limits.Total.
const DefaultTotal = 1 << 30

const (
	minLine     = 32 // longer than the line of any length
	minStream   = 64 // longer than the beginning of a request with a usual name
	defaultLine = 64 << 10
	defaultArgs = 1 << 20
	defaultBulk = 512 << 20

	// Redis has these limits for clients that have not authenticated.
	unauthenticatedArgs = 10
	unauthenticatedBulk = 16 << 10
)

func (l *Limits) line() int    { return max(minLine, cmp.Or(l.Line, defaultLine)) }
func (l *Limits) args() int    { return cmp.Or(l.Args, defaultArgs) }
func (l *Limits) bulk() int64  { return cmp.Or(l.Bulk, defaultBulk) }
func (l *Limits) total() int64 { return min(cmp.Or(l.Total, DefaultTotal), math.MaxInt) }

// held reports whether the scanner returns a request of this size as a whole.
func (l *Limits) held(size int64) bool { return l.Stream <= 0 || size <= max(minStream, l.Stream) }
