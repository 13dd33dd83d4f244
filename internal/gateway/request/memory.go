package request

import (
	"math/bits"
	"sync"
)

// Memory of large requests is used again, since a new one would be cleared first and collected soon. Sizes are a
// quarter above powers of two: values are often as large as one.
var pools [classes]sync.Pool // of *[]byte

const (
	classes    = 9
	firstClass = 5 << 13 // 40 KiB; the largest is 10 MiB
)

func classSize(class int) int { return firstClass << class }

// classFor is the least class that holds n bytes; it may be beyond all.
func classFor(n int) int {
	if n <= firstClass {
		return 0
	}
	return bits.Len(uint((n - 1) / firstClass))
}

// memory is empty and has room for n bytes.
func memory(n int) []byte {
	class := classFor(n)
	if n <= keepBytes || class >= classes {
		return make([]byte, 0, n)
	}
	if b, ok := pools[class].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 0, classSize(class))
}

// Keep copies a Raw that is not Owned, into memory as if it were.
func Keep(raw []byte) []byte { return append(memory(len(raw)), raw...) }

// Free takes back the memory of a Raw that was Owned, or kept, which nobody may use any more.
func Free(raw []byte) {
	if class := classFor(cap(raw)); class < classes && cap(raw) == classSize(class) {
		raw = raw[:0]
		pools[class].Put(&raw)
	}
}
