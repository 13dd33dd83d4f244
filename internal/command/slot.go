package command

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/resp"
)

const (
	// Slots is the number of hash slots of a cluster.
	Slots = 16384
	// NoSlot is the slot of a command without keys. Any node may run it.
	NoSlot = -1
)

// Slot returns the hash slot of a key or shard channel. If the key has a hash tag, only the tag counts: the text
// between the first { and the first } after it, unless it is empty.
func Slot[T string | []byte](key T) int {
	for i := range len(key) {
		if key[i] != '{' {
			continue
		}
		for j := i + 1; j < len(key); j++ {
			if key[j] == '}' {
				if j > i+1 {
					key = key[i+1 : j]
				}
				break
			}
		}
		break
	}
	return int(crc16(key) % Slots)
}

// crc16 is CRC-16/XMODEM, four bytes at a time.
func crc16[T string | []byte](s T) (crc uint16) {
	for len(s) >= 4 {
		crc = crcTable[3][byte(crc>>8)^s[0]] ^ crcTable[2][byte(crc)^s[1]] ^ crcTable[1][s[2]] ^ crcTable[0][s[3]]
		s = s[4:]
	}
	for i := range len(s) {
		crc = crc<<8 ^ crcTable[0][byte(crc>>8)^s[i]]
	}
	return crc
}

// SlotOfArgument returns the slot of an argument that is a key, of any type that [resp.AppendCommand] accepts, and
// NoSlot for others.
func SlotOfArgument(arg any) int { return arguments{values: []any{arg}}.slot(0) }

// SlotOf returns the slot of a command's keys, see [KeysOf], and NoSlot if it has none, or if a server can only reply
// with an error. The error is a *CrossSlotError if the keys are in different slots. A command with Request
// [MultiShard] may then be split.
func SlotOf(info *Info, args []any) (slot int, err error) {
	return slotOf(info, arguments{values: args})
}

// SlotOfBytes is [SlotOf] for arguments in bytes.
func SlotOfBytes(info *Info, args [][]byte) (slot int, err error) {
	return slotOf(info, arguments{raw: args})
}

func slotOf(info *Info, args arguments) (int, error) {
	if info == nil {
		return NoSlot, nil
	}
	if i := info.fixedKey(); i > 0 {
		if i >= args.len() || !info.accepts(args.len()) {
			return NoSlot, nil
		}
		return args.slot(i), nil
	}
	var room [32]int
	keys, _ := keysOf(info, args, room[:0])
	if len(keys) == 0 {
		return NoSlot, nil
	}
	first := args.slot(keys[0])
	for _, i := range keys[1:] {
		slot := args.slot(i)
		if slot == NoSlot {
			return NoSlot, nil
		}
		if slot != first {
			return NoSlot, &CrossSlotError{Command: info.Name, First: args.text(keys[0]), Second: args.text(i)}
		}
	}
	return first, nil
}

// CrossSlotError is the error of a command, or of several that belong together, whose keys are in different slots.
type CrossSlotError struct {
	Command       string // its name in upper case
	First, Second string // the first key, and the first key in another slot
}

func (e *CrossSlotError) Error() string {
	return fmt.Sprintf("%s: the keys %.64q and %.64q are in different slots of the cluster: give them a common {hash tag}",
		e.Command, e.First, e.Second)
}

// slot returns the slot of argument i, or NoSlot if its type cannot be sent.
func (a arguments) slot(i int) int {
	if len(a.raw) > 0 {
		return Slot(a.raw[i])
	}
	switch v := a.values[i].(type) {
	case string:
		return Slot(v)
	case []byte:
		return Slot(v)
	}
	var room [64]byte
	text, ok := encoded(room[:0], a.values[i:i+1])
	if !ok {
		return NoSlot
	}
	return Slot(text)
}

// text returns argument i as the server reads it.
func (a arguments) text(i int) string {
	if len(a.raw) > 0 {
		return string(a.raw[i])
	}
	text, _ := encoded(nil, a.values[i:i+1])
	return string(text)
}

// empty reports whether argument i is an empty text.
func (a arguments) empty(i int) bool {
	if len(a.raw) > 0 {
		return len(a.raw[i]) == 0
	}
	switch v := a.values[i].(type) {
	case string:
		return v == ""
	case []byte:
		return len(v) == 0
	}
	s, ok := named(a.values[i])
	return ok && s == ""
}

// count parses argument i as a number of arguments that follow it, with the server's strictness: no sign and no
// leading zero.
func (a arguments) count(i int) (n int, ok bool) {
	if i >= a.len() {
		return 0, false
	}
	var room [64]byte
	var text []byte
	if len(a.raw) > 0 {
		text = a.raw[i]
	} else if text, ok = encoded(room[:0], a.values[i:i+1]); !ok {
		return 0, false
	}
	if len(text) == 0 || len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int(c-'0'); n >= a.len()-i {
			return 0, false
		}
	}
	return n, true
}

// encoded appends an argument as the server reads it.
func encoded(dst []byte, arg []any) (text []byte, ok bool) {
	dst, err := resp.AppendCommand(dst, arg)
	if err != nil {
		return nil, false
	}
	// *1, the length, the text: each on its own line.
	for range 2 {
		for dst[0] != '\n' {
			dst = dst[1:]
		}
		dst = dst[1:]
	}
	return dst[:len(dst)-len("\r\n")], true
}
