package top

import (
	"slices"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// model is the screen: a state of the servers and the selections of the user. It reads no clock, so
// that the states alone decide what it shows.
type model struct {
	state  *monitor.State // shown
	newest *monitor.State // the newest, which is not shown while paused
	paused bool

	node    string // the address of the selected node; empty: the first node
	by      int    // the grouping
	column  int    // the sort column
	reverse bool
	at      int    // the index of the selected row
	chosen  string // its key; empty: the row at the index
	details bool   // show details of the selected row instead of the table
	help    bool
	input   textinput.Model // the filter

	kill    func(target) tea.Msg // closes connections, and blocks; nil: not possible
	asked   *target              // the user is asked whether to close it; nil: no question
	closing *target              // its connections are being closed; nil: none
	notice  string               // a message until the next key; empty: none

	width, height int
}

// stateMsg is a new state.
type stateMsg struct{ *monitor.State }

// maxFilter is the maximum length of the filter, in characters.
const maxFilter = 64

func newModel(st *monitor.State) model {
	m := model{state: st, newest: st, column: columnConnections, input: textinput.New()}
	m.input.Prompt, m.input.CharLimit = "/", maxFilter
	m.input.SetVirtualCursor(false)
	m.input.SetStyles(textinput.Styles{})
	m.input.KeyMap.Paste = key.NewBinding() // pasting would run programs that read the clipboard
	return m
}

func (m model) Init() tea.Cmd { return nil }

func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.input.SetWidth(max(1, msg.Width-2))
		if m.height < 2 {
			m.asked = nil // the question is not visible
		}
	case stateMsg:
		m.newest = msg.State
		if !m.paused {
			m.state = msg.State
		}
	case closedMsg:
		m.closing, m.notice = nil, msg.text()
	case tea.KeyPressMsg:
		m.notice = ""
		switch {
		case msg.String() == "ctrl+c":
			return m, tea.Quit
		case msg.String() == "ctrl+z":
			return m, tea.Suspend
		case m.asked != nil:
			return m, m.answer(msg.String())
		case m.input.Focused():
			return m.updateFilter(msg), nil
		case msg.String() == "q":
			return m, tea.Quit
		}
		m.pressKey(msg.String())
	case tea.PasteMsg:
		if m.input.Focused() {
			return m.updateFilter(msg), nil
		}
	}
	return m, nil
}

// filter is the text that the names of services have to contain.
func (m *model) filter() string { return m.input.Value() }

// updateFilter passes a key or a paste to the filter.
func (m model) updateFilter(msg tea.Msg) model {
	if press, ok := msg.(tea.KeyPressMsg); ok {
		switch press.String() {
		case "enter":
			m.input.Blur()
			return m
		case "esc":
			m.input.Blur()
			m.input.Reset()
			return m
		}
	}
	m.input, _ = m.input.Update(msg) // a cursor that does not blink returns no command
	m.choose(0)
	return m
}

func (m *model) pressKey(key string) {
	switch key {
	case "s", "right":
		m.column = (m.column + 1) % len(tableColumns)
	case "left":
		m.column = (m.column + len(tableColumns) - 1) % len(tableColumns)
	case "r":
		m.reverse = !m.reverse
	case "up":
		m.move(-1)
	case "down":
		m.move(1)
	case "pgup":
		m.move(-m.height / 2)
	case "pgdown":
		m.move(m.height / 2)
	case "home":
		m.choose(0)
	case "end":
		m.choose(len(m.rows()) - 1)
	case "enter":
		m.details = !m.details && len(m.rows()) > 0
	case "b":
		m.by = (m.by + 1) % len(summary.Groupings)
		m.choose(0)
		m.details = false
	case "p", "space":
		m.paused = !m.paused
		m.state = m.newest
	case "/":
		m.input.Focus()
	case "esc":
		if !m.details {
			m.input.Reset()
		}
		m.details = false
	case "tab":
		m.switchNode(1)
	case "shift+tab":
		m.switchNode(-1)
	case "k":
		m.askToKill()
	case "?":
		m.help = !m.help
	}
}

// grouping is the present grouping of the connections.
func (m *model) grouping() *summary.Grouping { return &summary.Groupings[m.by] }

// move selects another row.
func (m *model) move(by int) { m.choose(m.selected(m.rows()) + by) }

// choose selects the nearest row that exists. The first row is not selected by its key, so that the
// selection stays at the top when the order changes.
func (m *model) choose(at int) {
	rows := m.rows()
	m.at, m.chosen = max(0, min(at, len(rows)-1)), ""
	if m.at > 0 {
		m.chosen = rows[m.at].Key()
	}
}

// selected is the index of the selected row. It is 0 if there are no rows.
func (m *model) selected(rows []serviceRow) int {
	if m.chosen != "" {
		if i := slices.IndexFunc(rows, func(r serviceRow) bool { return r.Key() == m.chosen }); i >= 0 {
			return i
		}
	}
	return max(0, min(m.at, len(rows)-1))
}

// switchNode selects another node. The first node is not selected by its address, because a
// failover changes it.
func (m *model) switchNode(by int) {
	nodes := m.state.Nodes
	if len(nodes) == 0 {
		return
	}
	at := (m.nodeIndex() + len(nodes) + by) % len(nodes)
	m.node, m.details = "", false
	m.choose(0)
	if at > 0 {
		m.node = nodes[at].Addr
	}
}

// nodeIndex is the index of the selected node.
func (m *model) nodeIndex() int {
	for i := range m.state.Nodes {
		if m.node != "" && m.state.Nodes[i].Addr == m.node {
			return i
		}
	}
	return 0
}

// shownNode is the selected node, or nil if there is none.
func (m *model) shownNode() *monitor.NodeState {
	if len(m.state.Nodes) == 0 {
		return nil
	}
	return &m.state.Nodes[m.nodeIndex()]
}

// rows are all rows of the table, including those off the screen.
func (m *model) rows() []serviceRow {
	return selectRows(groupRows(m.shownNode(), m.grouping()), m.filter(), m.column, m.reverse)
}
