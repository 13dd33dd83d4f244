package gateway

import (
	"testing"
	"unsafe"
)

// clientSize is the size class of 1024 bytes without the word that the allocator adds to an object with pointers. The
// next class has 1152 bytes.
const clientSize = 1024 - 8

// A gateway holds tens of thousands of idle clients, so the size of a client matters.
func TestAnIdleClientTakesAKilobyte(t *testing.T) {
	if got := unsafe.Sizeof(client{}); got > clientSize {
		t.Errorf("a client takes %d bytes: want %d at most, for its size class", got, clientSize)
	}
}
