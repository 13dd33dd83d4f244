package request

import (
	"math/bits"
	"sync"
)

// pools hold the memory of large requests for reuse: new memory would have to be cleared and collected. The size of a
// class is a quarter above a power of two, because values often have the size of a power of two.
var pools [classes]sync.Pool // of *[]byte

const (
	classes    = 9
	firstClass = 5 << 13 // 40 KiB; the largest is 10 MiB
)

func classSize(class int) int { return firstClass << class }

// classFor returns the smallest class with room for n bytes. It may exceed the last class.
func classFor(n int) int {
	if n <= firstClass {
		return 0
	}
	return bits.Len(uint((n - 1) / firstClass))
}

// memory returns an empty slice with room for n bytes.
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

// Keep returns a copy of a Raw that is not Owned. The copy may be passed to Free.
func Keep(raw []byte) []byte { return append(memory(len(raw)), raw...) }

// Free recycles the memory of a Raw that was Owned, or of a copy from Keep. The caller must not use it afterwards.
func Free(raw []byte) {
	if class := classFor(cap(raw)); class < classes && cap(raw) == classSize(class) {
		raw = raw[:0]
		pools[class].Put(&raw)
	}
}
