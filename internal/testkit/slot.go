package testkit

import (
	"fmt"
	"strings"
	"sync"
)

// Slots is the number of hash slots of a Redis Cluster.
const Slots = 16384

// KeySlot returns the slot of a key: the CRC16 of its hash tag, or of the whole key if it has none.
func KeySlot(key string) int {
	if _, rest, found := strings.Cut(key, "{"); found {
		if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
			key = tag
		}
	}
	crc := uint16(0)
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % Slots
}

// tags returns a hash tag for each slot.
var tags = sync.OnceValue(func() *[Slots]string {
	found := new([Slots]string)
	for i, left := 0, Slots; left > 0; i++ {
		tag := fmt.Sprint(i)
		if slot := KeySlot(tag); found[slot] == "" {
			found[slot] = tag
			left--
		}
	}
	return found
})

// SlotKey returns a key of a slot: a hash tag of the slot and the name, such as {1234}name.
func SlotKey(slot int, name string) string { return "{" + tags()[slot] + "}" + name }
