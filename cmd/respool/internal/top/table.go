package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// serviceRow is a row of the table.
type serviceRow struct {
	summary.Row
	short string // the name in the width of the column, and distinct
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
	{"", 0, func(r *serviceRow) string { return cmp.Or(r.short, r.Name) }, func(a, b *serviceRow) int { return strings.Compare(a.Name, b.Name) }, "name"},
	{"conns", 6, func(r *serviceRow) string { return fmt.Sprint(r.Group.Clients) }, func(a, b *serviceRow) int { return cmp.Compare(b.Group.Clients, a.Group.Clients) }, "connections"},
	{"+/min", 6, func(r *serviceRow) string { return r.ChangeText() }, func(a, b *serviceRow) int { return cmp.Compare(b.Change, a.Change) }, ""},
	{"memory", 8, func(r *serviceRow) string { return r.MemoryText() }, func(a, b *serviceRow) int { return cmp.Compare(b.Group.Memory, a.Group.Memory) }, ""},
	numberColumn("active", 6, func(r *serviceRow) int { return r.Group.Active }),
	numberColumn("idle 60s+", 9, func(r *serviceRow) int { return r.Group.Idle }),
	numberColumn("blocked", 7, func(r *serviceRow) int { return r.Group.Blocked }),
	numberColumn("pubsub", 6, func(r *serviceRow) int { return r.Group.Subscribed }),
	{"share", 5, func(r *serviceRow) string { return fmt.Sprintf("%.0f%%", 100*r.Share) }, func(a, b *serviceRow) int { return cmp.Compare(b.Share, a.Share) }, ""},
	{"oldest", 6, func(r *serviceRow) string { return summary.Roughly(r.Group.Oldest) }, func(a, b *serviceRow) int { return cmp.Compare(b.Group.Oldest, a.Group.Oldest) }, ""},
}

// groupRows returns the rows of a node.
func groupRows(n *monitor.NodeState, by *summary.Grouping) []serviceRow {
	var rows []serviceRow
	for _, r := range summary.Rows(n, by) {
		rows = append(rows, serviceRow{Row: r})
	}
	return rows
}

// selectRows returns the rows whose name contains the filter, sorted.
func selectRows(rows []serviceRow, filter string, column int, reverse bool) []serviceRow {
	filter = strings.ToLower(filter)
	rows = slices.DeleteFunc(rows, func(r serviceRow) bool { return !strings.Contains(strings.ToLower(r.Name), filter) })
	slices.SortFunc(rows, func(a, b serviceRow) int {
		order := tableColumns[column].order(&a, &b)
		if reverse {
			order = -order
		}
		return cmp.Or(order, strings.Compare(a.Name, b.Name), slices.Compare(a.Group.Key, b.Group.Key))
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
		longest = max(longest, ansi.StringWidth(rows[i].Name))
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
	things := m.grouping().Plural
	switch {
	case n.List == nil && refused != "":
		return "no " + things + ": CLIENT LIST: " + refused
	case n.List == nil:
		return "no " + things + " yet"
	case m.grouping().Of(n.List) == nil:
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
		text += ", history of " + summary.Roughly(n.Points[len(n.Points)-1].At.Sub(n.Points[0].At))
	}
	if refused != "" {
		text += "; outdated, CLIENT LIST: " + refused
	}
	return text
}
