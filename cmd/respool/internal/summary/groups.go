package summary

import (
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Grouping is a way to group the connections.
type Grouping struct {
	Field  string // of monitor.DetailFields
	One    string
	Plural string
}

// Groupings are in the order in which they are offered.
var Groupings = []Grouping{
	{"service", "service", "services"},
	{"addr", "address", "addresses"},
	{"user", "user", "users"},
	{"lib", "library", "libraries"},
	{"cmd", "command", "commands"},
}

// Of returns the groups of a snapshot; nil if it has none.
func (g *Grouping) Of(s *monitor.Snapshot) *monitor.Groups {
	switch {
	case s == nil:
		return nil
	case g.Field == "service":
		return s.Clients
	}
	return s.By[g.Field]
}

// Row is a group of connections, such as a service.
type Row struct {
	Name    string // as safe text
	Group   monitor.Group
	Share   float64 // of all connections
	Change  float64 // connections a minute
	Changed bool    // whether Change is known
}

// Key is the key of the group.
func (r *Row) Key() string { return r.Group.Key[0] }

// MemoryText is the memory of a group, or - if the server does not report it.
func (r *Row) MemoryText() string {
	if r.Group.Memory == 0 {
		return "-"
	}
	return output.Bytes(r.Group.Memory)
}

// ChangeText is the change of a group in a minute, or - if it is unknown.
func (r *Row) ChangeText() string {
	switch {
	case !r.Changed:
		return "-"
	case r.Change == 0:
		return "0"
	case r.Change > 0:
		return "+" + Rate(r.Change)
	}
	return Rate(r.Change)
}

// leastChange is the minimum time between two lists for a rate: the rates of shorter times are random.
const leastChange = 9 * time.Second

// Rows returns the groups that hold connections now or held some about a minute before. The
// change is the one since then.
func Rows(n *monitor.NodeState, by *Grouping) []Row {
	if n == nil || by.Of(n.List) == nil {
		return nil
	}
	now := by.Of(n.List)
	was := map[string]int{}
	minutes := 0.0
	if before := by.Of(n.Earlier); before != nil && n.List.At.Sub(n.Earlier.At) >= leastChange {
		minutes = n.List.At.Sub(n.Earlier.At).Minutes()
		for _, g := range before.Sorted() {
			was[g.Key[0]] = g.Clients
		}
	}
	total := float64(max(1, now.Total().Clients))
	row := func(g monitor.Group) Row {
		r := Row{Name: output.Cell(output.Shorten(n.List.Unnamed.Label(g.Key[0]), output.LongestName)), Group: g, Share: float64(g.Clients) / total}
		if minutes > 0 {
			r.Changed, r.Change = true, float64(g.Clients-was[g.Key[0]])/minutes
		}
		delete(was, g.Key[0])
		return r
	}
	var rows []Row
	for _, g := range now.Sorted() {
		rows = append(rows, row(g))
	}
	for name := range was {
		rows = append(rows, row(monitor.Group{Key: []string{name}}))
	}
	return rows
}
