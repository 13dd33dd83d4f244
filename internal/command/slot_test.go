package command_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func TestASlotIsTheChecksumOfTheKeyOrOfItsTag(t *testing.T) {
	if got := command.Slot("123456789"); got != 0x31c3%command.Slots { // the check value of CRC-16/XMODEM
		t.Errorf("123456789 has slot %d", got)
	}
	for key, tag := range map[string]string{
		"{user1000}.following": "user1000", "a{b}c{d}": "b", "{a}": "a", "{{a}}": "{a", "x{a{b}": "a{b", "}{a}": "a", "{a}}": "a",
	} {
		if command.Slot(key) != command.Slot(tag) || command.Slot([]byte(key)) != command.Slot(tag) {
			t.Errorf("%s has another slot than %s", key, tag)
		}
	}
	for _, whole := range []string{"foo{}{bar}", "{", "}", "{}", "a{", "}a{", "{}a"} {
		if got, want := command.Slot(whole), plainSlot(whole); got != want {
			t.Errorf("%q has slot %d, want %d", whole, got, want)
		}
	}
}

// plainSlot is the slot of a whole key, bit by bit.
func plainSlot(key string) int {
	crc := 0
	for i := range len(key) {
		crc ^= int(key[i]) << 8
		for range 8 {
			crc <<= 1
			if crc&0x10000 != 0 {
				crc ^= 0x11021
			}
		}
	}
	return crc % command.Slots
}

func TestAKeyOfAnyTypeHasTheSlotOfItsText(t *testing.T) {
	get := command.Lookup("GET")
	for _, c := range []struct {
		key  any
		text string
	}{
		{"key", "key"}, {[]byte("key"), "key"}, {text("key"), "key"}, {bytes("key"), "key"}, {"", ""}, {text(""), ""},
		{12, "12"}, {int8(-3), "-3"}, {uint64(1 << 63), "9223372036854775808"}, {1.5, "1.5"}, {float32(0.1), "0.1"}, {1e20, "100000000000000000000"},
		{true, "1"}, {false, "0"}, {text("{a}b"), "a"},
	} {
		slot, err := command.SlotOf(get, []any{"GET", c.key})
		if err != nil || slot != command.Slot(c.text) || command.SlotOfArgument(c.key) != slot {
			t.Errorf("%#v has slot %d, want %d: %v", c.key, slot, command.Slot(c.text), err)
		}
	}
	for _, key := range []any{nil, struct{}{}, []int{1}} {
		slot, err := command.SlotOf(get, []any{"GET", key})
		if err != nil || slot != command.NoSlot || command.SlotOfArgument(key) != command.NoSlot {
			t.Errorf("%#v has slot %d: %v", key, slot, err)
		}
		slot, err = command.SlotOf(command.Lookup("DEL"), []any{"DEL", "a", key})
		if err != nil || slot != command.NoSlot {
			t.Errorf("DEL a %#v has slot %d: %v", key, slot, err)
		}
	}
}

func TestACommandHasTheSlotOfItsKeys(t *testing.T) {
	a := command.Slot("a")
	for line, want := range map[string]int{
		"GET a": a, "GET": command.NoSlot, "GET a b": command.NoSlot, "PING": command.NoSlot, "MGET a {a}b x{a}": a,
		"EVAL script 0": command.NoSlot, "EVAL script 2 a {a}1 z": a, "EVAL script 3 a b": command.NoSlot,
		"SSUBSCRIBE a": a, "SUNSUBSCRIBE": command.NoSlot, "OBJECT ENCODING a": a, "OBJECT": command.NoSlot, "NEW a": command.NoSlot,
	} {
		words := args(line)
		info, _ := command.Classify(words)
		slot, err := command.SlotOf(info, words)
		if slot != want || err != nil {
			t.Errorf("%s: slot %d, want %d: %v", line, slot, want, err)
		}
		raw, _ := toBytes(words)
		if same, err := command.SlotOfBytes(info, raw); same != want || err != nil {
			t.Errorf("%s in bytes: slot %d, want %d: %v", line, same, want, err)
		}
	}
}

func TestKeysInSeveralSlotsAreAnError(t *testing.T) {
	words := []any{"mset", 1, "x", "{1}a", "x", text("b"), "x", "c", "x"}
	slot, err := command.SlotOf(command.Lookup("MSET"), words)
	var cross *command.CrossSlotError
	if !errors.As(err, &cross) || slot != command.NoSlot || cross.Command != "MSET" || cross.First != "1" || cross.Second != "b" {
		t.Fatalf("slot %d: %v", slot, err)
	}
	const want = `MSET: the keys "1" and "b" are in different slots of the cluster: give them a common {hash tag}`
	if err.Error() != want {
		t.Errorf("the error is %s", err)
	}
	raw, _ := toBytes(args("MGET a " + strings.Repeat("b", 1000)))
	if _, err := command.SlotOfBytes(command.Lookup("MGET"), raw); err == nil || len(err.Error()) > 200 {
		t.Errorf("the error of long keys is %v", err)
	}
}

func TestSlotsOfFixedKeysCostNoAllocation(t *testing.T) {
	for line, keys := range benchmarked {
		words := args(line)
		raw, _ := toBytes(words)
		info, _ := command.Classify(words)
		for what, f := range map[string]func() (int, error){
			"values": func() (int, error) { return command.SlotOf(info, words) },
			"bytes":  func() (int, error) { return command.SlotOfBytes(info, raw) },
		} {
			if slot, err := f(); slot == command.NoSlot || err != nil {
				t.Fatalf("%s: slot %d: %v", line, slot, err)
			}
			if n := testing.AllocsPerRun(100, func() { _, _ = f() }); n != 0 {
				t.Errorf("%s in %s allocates %v times", line, what, n)
			}
		}
		indexes := make([]int, 0, keys)
		if n := testing.AllocsPerRun(100, func() { indexes, _ = command.KeysOf(info, words, indexes[:0]) }); n != 0 || len(indexes) != keys {
			t.Errorf("%s: %d keys and %v allocations", line, len(indexes), n)
		}
	}
	get, number := command.Lookup("GET"), []any{"GET", 123456}
	if n := testing.AllocsPerRun(100, func() { _, _ = command.SlotOf(get, number) }); n != 0 {
		t.Errorf("the slot of a number allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { command.SlotOfArgument(number[1]) }); n != 0 {
		t.Errorf("the slot of an argument allocates %v times", n)
	}
}

// benchmarked contains commands with the number of their keys.
var benchmarked = map[string]int{
	"GET user:12345678901": 1, "SET user:12345678901 value EX 60": 1, "HSET {user:1234567890}:hash field value": 1,
	"DEL {a}1 {a}2 {a}3": 3, "EVALSHA 0123456789012345678901234567890123456789 2 {a}1 {a}2 x": 2,
	"XREADGROUP GROUP g c COUNT 10 STREAMS {a}1 {a}2 > >": 2, "ZUNIONSTORE {a}1 2 {a}2 {a}3": 3, "SORT {a}1 BY x STORE {a}2": 2,
}

func BenchmarkSlotOf(b *testing.B) {
	for line := range benchmarked {
		words := args(line)
		info, _ := command.Classify(words)
		b.Run(strings.Fields(line)[0], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = command.SlotOf(info, words)
			}
		})
	}
	raw := [][]byte{[]byte("GET"), []byte("user:12345678901")}
	info := command.LookupBytes(raw[0])
	b.Run("GET in bytes", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = command.SlotOfBytes(info, raw)
		}
	})
}
