package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// detailLines describe one row in the given number of lines at most: its numbers, and how its
// connections divide by the other fields.
func (m *model) detailLines(n *monitor.NodeState, r *serviceRow, room int) []string {
	g := &r.Group
	lines := strings.Split(ansi.Hardwrap(m.grouping().One+" "+r.Name, m.width, true), "\n")
	for i := range lines {
		lines[i] = m.line(lines[i], lipgloss.NewStyle().Bold(true))
	}
	change := "change unknown"
	if r.Changed {
		change = r.ChangeText() + " a minute"
	}
	lines = append(lines, wrapParts([]string{
		output.Count(g.Clients, "connection") + fmt.Sprintf(" (%.0f%%)", 100*r.Share), change,
		fmt.Sprint(g.Active, " active"), fmt.Sprint(g.Idle, " idle for a minute"), fmt.Sprint(g.Blocked, " blocked"), fmt.Sprint(g.Subscribed, " in pub/sub"),
		"oldest " + summary.Roughly(g.Oldest), "longest idle " + summary.Roughly(g.LongestIdle), "memory " + strings.Replace(r.MemoryText(), "-", "unknown", 1),
	}, m.width)...)
	if u := n.List.Unnamed; u != nil && m.grouping().Field == "service" && r.Key() == u.Service {
		lines = append(lines, m.unnamedLines(n, room-len(lines))...)
	}
	for i := range summary.Groupings {
		by := &summary.Groupings[i]
		if i == m.by {
			continue
		}
		left := len(summary.Groupings) - i
		if m.by > i {
			left--
		}
		parts := m.division(n, r, by)
		if len(parts) == 0 {
			continue
		}
		block := wrapParts(append([]string{by.Plural + ":"}, parts...), m.width)
		if most := max(1, (room-len(lines))/max(1, left)); len(block) > most {
			block = block[:most]
			block[most-1] = ansi.Truncate(block[most-1], max(0, m.width-2), "") + " …"
		}
		lines = append(lines, block...)
	}
	return lines[:max(0, min(len(lines), room))]
}

// unnamedLines describe the service without names that holds most connections, in the given number of lines at most: whose it
// is, how its connections divide, and which setting names them.
func (m *model) unnamedLines(n *monitor.NodeState, room int) (lines []string) {
	u := n.List.Unnamed
	if u == nil || m.height < heightSparks {
		return nil
	}
	for _, text := range append([]string{u.Service + " is " + u.Summary(), u.Naming()}, u.Divisions()...) {
		block := strings.Split(ansi.Wrap(output.Cell(text), m.width, ""), "\n")
		if len(lines)+len(block) > room {
			break
		}
		lines = append(lines, block...)
	}
	return lines
}

// division lists how the connections of a row divide by another field, the largest first.
func (m *model) division(n *monitor.NodeState, r *serviceRow, by *summary.Grouping) (parts []string) {
	if n.List == nil || n.List.Details == nil {
		return nil
	}
	own := slices.Index(monitor.DetailFields, m.grouping().Field)
	other := slices.Index(monitor.DetailFields, by.Field)
	counts := map[string]int{}
	for _, g := range n.List.Details.Sorted() {
		if g.Key[own] == r.Key() {
			counts[g.Key[other]] += g.Clients
		}
	}
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %d", output.Cell(name), counts[name]))
	}
	return parts
}
