package drill

// writer increments a field of its own for each operation, so that the
// end tells of each whether it was done, and how often.
type writer struct {
	key         string
	acked       map[int]bool
	unknown     map[int]bool // sent, and no reply
	n           int
	lost        int // acknowledged, and not there in the end
	twice       int // there more than once
	unknownDone int // outcome unknown, and there
}
