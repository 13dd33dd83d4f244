// Package multislot divides a command whose keys lie in several slots of a cluster into one command for each slot, and
// joins the replies of several nodes into one reply. It performs no I/O.
//
// The parts of a divided command run independently: the whole is not atomic.
package multislot

import (
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// Part is the part of a command whose keys lie in one slot.
type Part struct {
	Slot int
	Args [][]byte

	keys []int // the ordinals of its keys among those of the whole command
}

// Cut is a divided command.
type Cut struct {
	Parts []Part

	info *command.Info
	keys [][]byte // of the whole command
}

// Divide divides a command whose Request is command.MultiShard. The parts refer to args. It returns nil if the command
// cannot be divided, or if its arguments are malformed: then one node replies with the error.
func Divide(info *command.Info, args [][]byte) *Cut {
	if info.Request != command.MultiShard {
		return nil
	}
	keys, known := command.KeysOfBytes(info, args, nil)
	if !known || len(keys) == 0 {
		return nil
	}
	first, last := keys[0], keys[len(keys)-1]
	each, tail := 1, last+1 // arguments of a key, and the first argument behind those of all keys
	if !byStreams(info) {
		each = int(max(1, info.Keys[0].Step))
		tail = last + each
	}
	if tail > len(args) {
		return nil
	}
	c := &Cut{info: info}
	for _, i := range keys {
		p := c.partOf(args[i], args[:first])
		p.Args = append(p.Args, args[i:i+each]...)
	}
	for i := range c.Parts {
		p := &c.Parts[i]
		if !byStreams(info) {
			p.Args = append(p.Args, args[tail:]...)
			continue
		}
		for _, k := range p.keys { // the IDs follow all keys
			p.Args = append(p.Args, args[tail+k])
		}
	}
	return c
}

// byStreams reports whether a command reads streams: its keys are followed by one ID for each.
func byStreams(info *command.Info) bool { return info.Name == "XREAD" }

// partOf returns the part for the next key. head begins a new part.
func (c *Cut) partOf(key []byte, head [][]byte) *Part {
	slot, n := command.Slot(key), len(c.keys)
	c.keys = append(c.keys, key)
	for i := range c.Parts {
		if p := &c.Parts[i]; p.Slot == slot {
			p.keys = append(p.keys, n)
			return p
		}
	}
	c.Parts = append(c.Parts, Part{Slot: slot, Args: slices.Clone(head), keys: []int{n}})
	return &c.Parts[len(c.Parts)-1]
}

// Keys returns the keys of a part.
func (c *Cut) Keys(part int) [][]byte {
	var keys [][]byte
	for _, k := range c.Parts[part].keys {
		keys = append(keys, c.keys[k])
	}
	return keys
}
