package session

import (
	"testing"
	"unsafe"
)

// sessionSize is a size class of the allocator: one more field would cost each client 16 bytes.
const sessionSize = 224

func TestASessionIsSmall(t *testing.T) {
	if got := unsafe.Sizeof(Session{}); got > sessionSize {
		t.Errorf("a session takes %d bytes: want %d at most", got, sessionSize)
	}
}
