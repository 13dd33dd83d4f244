package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// The heights at which the screen has room for more parts.
const (
	heightFoot   = 5
	heightNote   = 6
	heightSparks = 9  // the connections' history, and the rates on a line
	heightRates  = 16 // the history of each rate
	heightSpace  = 20 // empty lines between the parts
)

func (m model) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen = true
	if cursor := m.input.Cursor(); m.input.Focused() && cursor != nil && m.width > 0 && m.height > 0 {
		cursor.X, cursor.Y = min(cursor.X, m.width-1), m.height-1
		v.Cursor = cursor
	}
	return v
}

// lines are the lines of the screen: exactly as many as it is high, none wider than it is.
func (m *model) lines() []string {
	if m.width <= 0 || m.height <= 0 {
		return nil
	}
	foot := m.foot()
	room := m.height - len(foot)
	lines := m.head()
	if n := m.shownNode(); n != nil {
		lines = append(lines, m.sparks(n)...)
		lines = append(lines, m.table(n, room-len(lines))...)
	}
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines[:room], foot...)
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], m.width, "…")
	}
	return lines
}

// style is the color of a level.
func style(u summary.Level) lipgloss.Style {
	switch u {
	case summary.Critical:
		return lipgloss.NewStyle().Foreground(lipgloss.Red)
	case summary.Warning:
		return lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	}
	return lipgloss.NewStyle()
}

// line truncates text to the screen, then styles it.
func (m *model) line(text string, s lipgloss.Style) string {
	return s.Render(ansi.Truncate(text, m.width, "…"))
}

// head is the verdict, on one line if it fits, and the state of the service and its nodes.
func (m *model) head() []string {
	var lines []string
	if n := m.shownNode(); n == nil {
		lines = append(lines, m.line(output.Cell(m.state.Service)+": no nodes", style(summary.Critical).Bold(true)))
	} else {
		bold := style(summary.LevelOf(n)).Bold(true)
		whole := summary.NodeName(n, true) + ": " + summary.Verdict(n, m.state.At, false)
		if ansi.StringWidth(whole) <= m.width || m.height < heightNote {
			lines = append(lines, m.line(whole, bold))
		} else {
			text := summary.Verdict(n, m.state.At, false)
			if ansi.StringWidth(text) > m.width {
				text = summary.Verdict(n, m.state.At, true)
			}
			lines = append(lines, m.line(text, bold), m.line(summary.NodeName(n, true), lipgloss.NewStyle()))
		}
	}
	if m.state.Service != "" && len(m.state.Nodes) > 0 {
		lines = append(lines, m.nodes())
	}
	if c := report.OfCluster(m.state); c != nil && c.Problem() {
		lines = append(lines, m.line(output.Cell(c.String()), style(summary.Critical)))
	}
	if m.state.Err != nil {
		from := "sentinels: "
		if m.state.Cluster != nil {
			from = "cluster: "
		}
		lines = append(lines, m.line(from+output.Error(m.state.Err), style(summary.Critical)))
	}
	return lines
}

// nodes lists the nodes, with the selected one in brackets, or names only that one if they do not
// fit.
func (m *model) nodes() string {
	name := output.Cell(m.state.Service)
	var plain, styled []string
	for i := range m.state.Nodes {
		n := &m.state.Nodes[i]
		text := summary.NodeName(n, false) + " " + nodeBrief(n)
		if i == m.nodeIndex() {
			text = "[" + text + "]"
		}
		plain = append(plain, text)
		styled = append(styled, style(summary.LevelOf(n)).Render(text))
	}
	if prefix := name + ": "; ansi.StringWidth(prefix+strings.Join(plain, "  ")) <= m.width {
		return prefix + strings.Join(styled, "  ")
	}
	return m.line(fmt.Sprintf("node %d of %d of %s", m.nodeIndex()+1, len(plain), name), lipgloss.NewStyle())
}

// nodeBrief describes a node's state in a word.
func nodeBrief(n *monitor.NodeState) string {
	switch {
	case n.Full && !n.Up:
		return "full"
	case !n.Up && n.Err != nil:
		return "down"
	case n.Last == nil:
		return "-"
	}
	if share, ok := n.Last.Occupancy(); ok {
		return fmt.Sprintf("%.0f%%", 100*share)
	}
	return connectionsText(n.Last)
}

// connectionsText is the number of connections, or ? if it is unknown.
func connectionsText(s *monitor.Snapshot) string {
	if s.Uncounted {
		return "?"
	}
	return fmt.Sprint(s.Connections)
}

const (
	sparkLabel = 13
	sparkValue = 9
)

// sparks draws the history, if there is room.
func (m *model) sparks(n *monitor.NodeState) []string {
	if m.height < heightSparks || n.Last == nil {
		return nil
	}
	var lines []string
	if m.height >= heightSpace {
		lines = append(lines, "")
	}
	top, urgent := float64(n.Last.MaxClients), summary.Normal
	if share, ok := n.Last.Occupancy(); ok {
		urgent = summary.LevelOfShare(share)
	}
	lines = append(lines, m.spark(n, "connections", connectionsText(n.Last), top, urgent,
		func(p *monitor.Point) float64 { return float64(p.Connections) }))
	rejecting := summary.Normal
	if n.Rates.Rejected > 0 {
		rejecting = summary.Critical
	}
	rates := []struct {
		label  string
		urgent summary.Level
		of     func(*monitor.Rates) float64
	}{
		{"new/s", summary.Normal, func(r *monitor.Rates) float64 { return r.Opened }},
		{"rejected/s", rejecting, func(r *monitor.Rates) float64 { return r.Rejected }},
		{"commands/s", summary.Normal, func(r *monitor.Rates) float64 { return r.Commands }},
	}
	var brief []string
	for _, rate := range rates {
		text := "-"
		if n.Rates.Known {
			text = summary.Rate(rate.of(&n.Rates))
		}
		brief = append(brief, rate.label+" "+text)
		if m.height >= heightRates {
			lines = append(lines, m.spark(n, rate.label, text, 0, rate.urgent, func(p *monitor.Point) float64 {
				if !p.Rates.Known {
					return -1
				}
				return rate.of(&p.Rates)
			}))
		}
	}
	switch {
	case m.height < heightRates:
		lines = append(lines, m.line(strings.Join(brief, "  "), style(rejecting)))
	case m.height >= heightSpace:
		lines = append(lines, "")
	}
	return lines
}

// spark is one line: a label, the current value, and its history between 0 and top, or the largest
// value.
func (m *model) spark(n *monitor.NodeState, label, now string, top float64, u summary.Level, value func(*monitor.Point) float64) string {
	values := spread(n.Points, m.width-sparkLabel-sparkValue-1, value)
	for _, v := range values {
		if float64(n.Last.MaxClients) != top || top == 0 {
			top = max(top, v)
		}
	}
	return m.line(fit(label, sparkLabel)+fitRight(now, sparkValue)+" "+sparkline(values, top), style(u))
}

// table fills the remaining room.
func (m *model) table(n *monitor.NodeState, room int) []string {
	all := groupRows(n, m.grouping())
	rows := m.rows()
	if m.details && len(rows) > 0 {
		return m.detailLines(n, &rows[m.selected(rows)], room)
	}
	var lines []string
	if m.height >= heightNote {
		lines = append(lines, m.line(tableNote(n, len(rows), len(all), m), lipgloss.NewStyle()))
	}
	if len(all) == 0 || room <= len(lines)+1 {
		return lines
	}
	title := m.grouping().One
	columns, name := fitColumns(all, title, m.width)
	bold := lipgloss.NewStyle().Bold(true)
	lines = append(lines, columnLine(columns, name, func(c *tableColumn) string { return cmp.Or(c.title, title) }, m.column,
		func(s string) string { return bold.Render(s) }))
	room -= len(lines)
	whose := m.unnamedLines(n, max(room/2, room-len(rows)-1))
	room -= len(whose)
	shorten(rows, name)
	at := m.selected(rows)
	above, below := 0, 0
	if len(rows) > room { // a line counts the others
		room--
		above = max(0, at-room+1)
		below = max(0, len(rows)-above-room)
		rows, at = rows[above:len(rows)-below], at-above
	}
	for i := range rows {
		line := columnLine(columns, name, func(c *tableColumn) string { return c.text(&rows[i]) }, -1, nil)
		if i == at {
			line = m.line(line, lipgloss.NewStyle().Reverse(true))
		}
		lines = append(lines, line)
	}
	switch {
	case above > 0:
		lines = append(lines, fmt.Sprintf("and %d more, %d above", below, above))
	case below > 0:
		lines = append(lines, fmt.Sprintf("and %d more", below))
	}
	return append(lines, whose...)
}

// keyHelp describes the keys.
var keyHelp = []string{"q quit", "b group", "enter details", "s ←→ sort", "r reverse", "/ filter", "esc all", "k kill", "p pause", "↑↓ move", "tab next node"}

// blockedHelp describes the column of blocked clients.
var blockedHelp = []string{"blocked: as the server sees them only", "waits in respool: respool_pool_blocked"}

// foot is the last line: a question or a message, the filter while the user types it, otherwise the
// keys. With help on, the keys take as many lines as they need, up to half of the screen.
func (m *model) foot() []string {
	if text := m.noticeText(); text != "" && m.height > 1 && !m.input.Focused() {
		lines := strings.Split(ansi.Wrap(text, m.width, ""), "\n")
		lines = lines[:min(len(lines), m.height/2)]
		for i := range lines {
			lines[i] = m.line(lines[i], lipgloss.NewStyle().Bold(true))
		}
		return lines
	}
	if m.input.Focused() && m.height > 1 {
		return []string{m.input.View()}
	}
	parts, most := []string{"? keys", "q quit"}, 1
	switch {
	case m.help:
		parts, most = slices.Concat(keyHelp, blockedHelp), m.height/2
	case m.height < heightFoot:
		return nil
	}
	if m.paused {
		parts = append([]string{"paused at " + m.state.At.Format(time.TimeOnly) + ", p continues"}, parts...)
	}
	lines := wrapParts(parts, m.width)
	lines = lines[:min(len(lines), most)]
	for i := range lines {
		lines[i] = m.line(lines[i], lipgloss.NewStyle().Faint(!m.paused))
	}
	return lines
}
