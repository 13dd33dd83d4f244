package testkit

import "testing"

func TestKeysHaveTheSlotsOfTheirHashTags(t *testing.T) {
	// The first is the CRC of the specification, below Slots. The others are those of CLUSTER KEYSLOT.
	for key, want := range map[string]int{
		"123456789": 0x31C3 % Slots, "foo": 12182, "{foo}bar": 12182, "x{foo}bar": 12182, "{foo}{bar}": 12182,
		"": 0, "{}foo": 9500, "foo{": 7673, "foo{{bar}": 4015,
	} {
		if got := KeySlot(key); got != want {
			t.Errorf("the slot of %q is %d: want %d", key, got, want)
		}
	}
	for slot := range Slots {
		if got := KeySlot(SlotKey(slot, "name")); got != slot {
			t.Fatalf("the slot of %q is %d: want %d", SlotKey(slot, "name"), got, slot)
		}
	}
}
