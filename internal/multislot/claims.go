package multislot

import (
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// Claims are the slots of a node, as the node itself reports them.
type Claims struct {
	Epoch string // its configuration epoch; it changes when the node takes over a slot
	Owned [command.Slots]bool

	importing [command.Slots]bool // slots whose keys arrive one by one; another node owns them
}

// ReadClaims parses the reply to CLUSTER NODES.
func ReadClaims(text string) *Claims {
	c := &Claims{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 8 || !strings.Contains(fields[2], "myself") {
			continue
		}
		c.Epoch = fields[6]
		for _, f := range fields[8:] {
			if slot, _, ok := strings.Cut(strings.TrimPrefix(f, "["), "-<-"); ok {
				if n, err := strconv.Atoi(slot); err == nil && n >= 0 && n < command.Slots {
					c.importing[n] = true
				}
				continue
			}
			first, last, several := strings.Cut(f, "-")
			if !several {
				last = first
			}
			from, err := strconv.Atoi(first)
			to, bad := strconv.Atoi(last)
			for n := max(from, 0); err == nil && bad == nil && n <= min(to, command.Slots-1); n++ {
				c.Owned[n] = true
			}
		}
	}
	return c
}

// Received reports whether a node may have received keys of other nodes since it made the claims before.
func (c *Claims) Received(before *Claims) bool {
	if c.Epoch != before.Epoch {
		return true
	}
	for n, had := range before.Owned {
		if !had && (c.Owned[n] || c.importing[n]) {
			return true
		}
	}
	return false
}

// Arrived returns the claims of a node that is scanned when all others have been scanned once. Then a slot whose keys still
// arrive is no reason to scan the node again: the keys that arrive later were seen at the other node.
func (c *Claims) Arrived() *Claims {
	all := *c
	for n, importing := range c.importing {
		all.Owned[n] = all.Owned[n] || importing
	}
	return &all
}

// KeyIn returns a key in a slot.
func KeyIn(slot int) []byte {
	for i := 0; ; i++ {
		if key := strconv.AppendInt(nil, int64(i), 10); command.Slot(key) == slot {
			return key
		}
	}
}
