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

// serviceRow is a service and its connections.
type serviceRow struct {
	name    string
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
}

// numberColumn is a column whose largest numbers come first.
func numberColumn(title string, width int, value func(*serviceRow) int) tableColumn {
	return tableColumn{title, width, func(r *serviceRow) string { return fmt.Sprint(value(r)) },
		func(a, b *serviceRow) int { return cmp.Compare(value(b), value(a)) }}
}

// The columns, in order of importance. Narrow screens omit the last ones.
const (
	columnService = iota
	columnConnections
)

var tableColumns = []tableColumn{
	{"service", 0, func(r *serviceRow) string { return r.name }, func(a, b *serviceRow) int { return strings.Compare(a.name, b.name) }},
	numberColumn("connections", 11, func(r *serviceRow) int { return r.group.Clients }),
	{"share", 5, func(r *serviceRow) string { return fmt.Sprintf("%.0f%%", 100*r.share) }, func(a, b *serviceRow) int { return cmp.Compare(b.share, a.share) }},
	numberColumn("active", 6, func(r *serviceRow) int { return r.group.Active }),
	numberColumn("blocked", 7, func(r *serviceRow) int { return r.group.Blocked }),
	numberColumn("subscribed", 10, func(r *serviceRow) int { return r.group.Subscribed }),
	numberColumn("idle 60s+", 9, func(r *serviceRow) int { return r.group.Idle }),
	{"+/min", 6, changeText, func(a, b *serviceRow) int { return cmp.Compare(b.change, a.change) }},
	{"oldest", 6, func(r *serviceRow) string { return roughly(r.group.Oldest) }, func(a, b *serviceRow) int { return cmp.Compare(b.group.Oldest, a.group.Oldest) }},
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

// serviceRows returns the services that hold connections now or held some at the look before.
func serviceRows(n *monitor.NodeState) []serviceRow {
	if n == nil || n.List == nil || n.List.Clients == nil {
		return nil
	}
	was := map[string]int{}
	minutes := 0.0
	if n.Before != nil && n.Before.Clients != nil {
		minutes = n.List.At.Sub(n.Before.At).Minutes()
		for _, g := range n.Before.Clients.Sorted() {
			was[g.Key[0]] = g.Clients
		}
	}
	total := float64(max(1, n.List.Clients.Total().Clients))
	row := func(g monitor.Group) serviceRow {
		r := serviceRow{name: output.Cell(g.Key[0]), group: g, share: float64(g.Clients) / total}
		if minutes > 0 {
			r.changed, r.change = true, float64(g.Clients-was[g.Key[0]])/minutes
		}
		delete(was, g.Key[0])
		return r
	}
	var rows []serviceRow
	for _, g := range n.List.Clients.Sorted() {
		rows = append(rows, row(g))
	}
	for name := range was {
		rows = append(rows, row(monitor.Group{Key: []string{name}}))
	}
	return rows
}

// selectRows returns the rows whose service contains the filter, sorted.
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
	minName   = 12 // of a service's name; columns are omitted before it gets narrower
	maxName   = 40
)

// fitColumns returns how many columns fit, and the width of the first one.
func fitColumns(rows []serviceRow, width int) (columns, name int) {
	longest := len(tableColumns[columnService].title)
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
	switch {
	case n.List == nil && refused != "":
		return "no services: CLIENT LIST: " + refused
	case n.List == nil:
		return "no services yet"
	}
	text := fmt.Sprintf("%d services", all)
	if m.filter() != "" {
		text = fmt.Sprintf("%d of %d services match %q", shown, all, output.Cell(m.filter()))
	}
	text += " by " + tableColumns[m.column].title
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
