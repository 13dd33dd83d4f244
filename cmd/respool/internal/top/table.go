package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// grouping is a way to group the connections.
type grouping struct {
	field  string // of monitor.DetailFields
	one    string
	plural string
}

// groupings are in the order of the key b.
var groupings = []grouping{
	{"service", "service", "services"},
	{"addr", "address", "addresses"},
	{"user", "user", "users"},
	{"lib", "library", "libraries"},
	{"cmd", "command", "commands"},
}

// of returns the groups of a snapshot; nil if it has none.
func (g *grouping) of(s *monitor.Snapshot) *monitor.Groups {
	switch {
	case s == nil:
		return nil
	case g.field == "service":
		return s.Clients
	}
	return s.By[g.field]
}

// serviceRow is a group of connections, such as a service.
type serviceRow struct {
	name    string
	short   string // of the width of the column, and distinct
	group   monitor.Group
	share   float64 // of all connections
	change  float64 // connections a minute
	changed bool    // whether change is known
}

// tableColumn is a column of the table.
type tableColumn struct {
	title string
	width int // 0: the remaining width
	text  func(*serviceRow) string
	order func(a, b *serviceRow) int // the lesser row is first
	about string                     // the title in a sentence; empty: title
}

// name returns the title of a column in a sentence.
func (c *tableColumn) name() string { return cmp.Or(c.about, c.title) }

// key is the key of the group.
func (r *serviceRow) key() string { return r.group.Key[0] }

// numberColumn is a column whose largest numbers come first.
func numberColumn(title string, width int, value func(*serviceRow) int) tableColumn {
	return tableColumn{title, width, func(r *serviceRow) string { return fmt.Sprint(value(r)) },
		func(a, b *serviceRow) int { return cmp.Compare(value(b), value(a)) }, ""}
}

// The columns, in order of importance. Narrow screens omit the last ones.
const (
	columnService = iota
	columnConnections
)

var tableColumns = []tableColumn{
	{"", 0, func(r *serviceRow) string { return cmp.Or(r.short, r.name) }, func(a, b *serviceRow) int { return strings.Compare(a.name, b.name) }, "name"},
	{"conns", 6, func(r *serviceRow) string { return fmt.Sprint(r.group.Clients) }, func(a, b *serviceRow) int { return cmp.Compare(b.group.Clients, a.group.Clients) }, "connections"},
	{"+/min", 6, changeText, func(a, b *serviceRow) int { return cmp.Compare(b.change, a.change) }, ""},
	{"memory", 8, memoryText, func(a, b *serviceRow) int { return cmp.Compare(b.group.Memory, a.group.Memory) }, ""},
	numberColumn("active", 6, func(r *serviceRow) int { return r.group.Active }),
	numberColumn("idle 60s+", 9, func(r *serviceRow) int { return r.group.Idle }),
	numberColumn("blocked", 7, func(r *serviceRow) int { return r.group.Blocked }),
	numberColumn("pubsub", 6, func(r *serviceRow) int { return r.group.Subscribed }),
	{"share", 5, func(r *serviceRow) string { return fmt.Sprintf("%.0f%%", 100*r.share) }, func(a, b *serviceRow) int { return cmp.Compare(b.share, a.share) }, ""},
	{"oldest", 6, func(r *serviceRow) string { return roughly(r.group.Oldest) }, func(a, b *serviceRow) int { return cmp.Compare(b.group.Oldest, a.group.Oldest) }, ""},
}

// memoryText is the memory of a group, or - if the server does not report it.
func memoryText(r *serviceRow) string {
	if r.group.Memory == 0 {
		return "-"
	}
	return output.Bytes(r.group.Memory)
}

func changeText(r *serviceRow) string {
	switch {
	case !r.changed:
		return "-"
	case r.change == 0:
		return "0"
	case r.change > 0:
		return "+" + rateText(r.change)
	}
	return rateText(r.change)
}

// leastChange is the minimum time between two lists for a rate: the rates of shorter times are random.
const leastChange = 9 * time.Second

// groupRows returns the groups that hold connections now or held some about a minute before. The
// change is the one since then.
func groupRows(n *monitor.NodeState, by *grouping) []serviceRow {
	if n == nil || by.of(n.List) == nil {
		return nil
	}
	now := by.of(n.List)
	was := map[string]int{}
	minutes := 0.0
	if before := by.of(n.Earlier); before != nil && n.List.At.Sub(n.Earlier.At) >= leastChange {
		minutes = n.List.At.Sub(n.Earlier.At).Minutes()
		for _, g := range before.Sorted() {
			was[g.Key[0]] = g.Clients
		}
	}
	total := float64(max(1, now.Total().Clients))
	row := func(g monitor.Group) serviceRow {
		r := serviceRow{name: output.Cell(n.List.Unnamed.Label(g.Key[0])), group: g, share: float64(g.Clients) / total}
		if minutes > 0 {
			r.changed, r.change = true, float64(g.Clients-was[g.Key[0]])/minutes
		}
		delete(was, g.Key[0])
		return r
	}
	var rows []serviceRow
	for _, g := range now.Sorted() {
		rows = append(rows, row(g))
	}
	for name := range was {
		rows = append(rows, row(monitor.Group{Key: []string{name}}))
	}
	return rows
}

// selectRows returns the rows whose name contains the filter, sorted.
func selectRows(rows []serviceRow, filter string, column int, reverse bool) []serviceRow {
	filter = strings.ToLower(filter)
	rows = slices.DeleteFunc(rows, func(r serviceRow) bool { return !strings.Contains(strings.ToLower(r.name), filter) })
	slices.SortFunc(rows, func(a, b serviceRow) int {
		order := tableColumns[column].order(&a, &b)
		if reverse {
			order = -order
		}
		return cmp.Or(order, strings.Compare(a.name, b.name), slices.Compare(a.group.Key, b.group.Key))
	})
	return rows
}

const (
	columnGap = 2
	minName   = 16 // of a name; columns are omitted before it gets narrower
	maxName   = 40
)

// fitColumns returns how many columns fit, and the width of the first one.
func fitColumns(rows []serviceRow, title string, width int) (columns, name int) {
	longest := len(title)
	for i := range rows {
		longest = max(longest, ansi.StringWidth(rows[i].name))
	}
	longest = min(longest, maxName)
	left := width
	for columns = 1; columns < len(tableColumns); columns++ {
		next := left - columnGap - tableColumns[columns].width
		if next < min(longest, minName) {
			break
		}
		left = next
	}
	return columns, min(longest, max(0, left))
}

// columnLine formats a row of the table. mark styles the cell of the column marked, unless it is
// nil.
func columnLine(columns, name int, text func(*tableColumn) string, marked int, mark func(string) string) string {
	var b strings.Builder
	for i := range columns {
		c := &tableColumns[i]
		cell := ""
		if c.width == 0 {
			cell = fit(text(c), name)
		} else {
			b.WriteString(strings.Repeat(" ", columnGap))
			cell = fitRight(text(c), c.width)
		}
		if i == marked && mark != nil {
			cell = mark(cell)
		}
		b.WriteString(cell)
	}
	return b.String()
}

// tableNote describes the table, or states why there is none.
func tableNote(n *monitor.NodeState, shown, all int, m *model) string {
	refused := output.Cell(n.Refused["CLIENT LIST"])
	things := m.grouping().plural
	switch {
	case n.List == nil && refused != "":
		return "no " + things + ": CLIENT LIST: " + refused
	case n.List == nil:
		return "no " + things + " yet"
	case m.grouping().of(n.List) == nil:
		return "no " + things + ": not read; b groups by another field"
	}
	text := fmt.Sprintf("%d %s", all, things)
	if m.filter() != "" {
		text = fmt.Sprintf("%d of %d %s match %q", shown, all, things, output.Cell(m.filter()))
	}
	text += " by " + tableColumns[m.column].name()
	if m.reverse {
		text += ", reversed"
	}
	text += ", read at " + n.List.At.Format(time.TimeOnly)
	if len(n.Points) > 1 {
		text += ", history of " + roughly(n.Points[len(n.Points)-1].At.Sub(n.Points[0].At))
	}
	if refused != "" {
		text += "; outdated, CLIENT LIST: " + refused
	}
	return text
}
