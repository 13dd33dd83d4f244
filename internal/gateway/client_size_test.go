package gateway

import (
	"testing"
	"unsafe"
)

// clientSize is the most that a size class of 1024 bytes holds beside the word that the allocator adds to an object
// with pointers. The next class has 1152 bytes.
const clientSize = 1024 - 8

// A gateway holds tens of thousands of idle clients: each byte of a client counts.
func TestAnIdleClientTakesAKilobyte(t *testing.T) {
	if got := unsafe.Sizeof(client{}); got > clientSize {
		t.Errorf("a client takes %d bytes: want %d at most, for its size class", got, clientSize)
	}
}
