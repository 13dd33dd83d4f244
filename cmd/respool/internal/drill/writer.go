package drill

// writer increments another hash field in each operation. The final hash shows for each operation
// how often it was executed.
type writer struct {
	key         string
	acked       map[int]bool
	unknown     map[int]bool // sent, without a reply
	n           int
	lost        int // acknowledged, and missing at the end
	twice       int // executed more than once
	unknownDone int // outcome unknown, and executed
}
