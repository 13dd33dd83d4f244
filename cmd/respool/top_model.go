package main

import (
	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// topModel is the screen: a state of the servers, and what the keys chose of
// it. It knows no clock: what it shows follows from the states alone.
type topModel struct {
	state  *monitor.State // what is shown
	newest *monitor.State // what came since, while it stands still
	paused bool

	node    string // the address that was chosen; empty: the first one, whichever that is
	column  int    // what the table is sorted by
	reverse bool
	from    int // how many rows are above the first one shown
	help    bool
	input   textinput.Model // the filter

	width, height int
}

// stateMsg is a new state.
type stateMsg struct{ *monitor.State }

// longestFilter bounds what is typed, in characters.
const longestFilter = 64

func newTopModel(st *monitor.State) topModel {
	m := topModel{state: st, newest: st, column: columnConnections, input: textinput.New()}
	m.input.Prompt, m.input.CharLimit = "/", longestFilter
	m.input.SetVirtualCursor(false)
	m.input.SetStyles(textinput.Styles{})
	m.input.KeyMap.Paste = key.NewBinding() // it would run other programs to get at the clipboard
	return m
}

func (m topModel) Init() tea.Cmd { return nil }

func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.input.SetWidth(max(1, msg.Width-2))
	case stateMsg:
		m.newest = msg.State
		if !m.paused {
			m.state = msg.State
		}
	case tea.KeyPressMsg:
		switch {
		case msg.String() == "ctrl+c":
			return m, tea.Quit
		case msg.String() == "ctrl+z":
			return m, tea.Suspend
		case m.input.Focused():
			return m.typed(msg), nil
		case msg.String() == "q":
			return m, tea.Quit
		}
		m.pressed(msg.String())
	case tea.PasteMsg:
		if m.input.Focused() {
			return m.typed(msg), nil
		}
	}
	return m, nil
}

// filter is the text that services have to contain.
func (m *topModel) filter() string { return m.input.Value() }

// typed works on the filter.
func (m topModel) typed(msg tea.Msg) topModel {
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
	m.input, _ = m.input.Update(msg) // a cursor that does not blink gives nothing to do
	m.from = 0
	return m
}

func (m *topModel) pressed(key string) {
	switch key {
	case "s", "right":
		m.column = (m.column + 1) % len(topColumns)
	case "left":
		m.column = (m.column + len(topColumns) - 1) % len(topColumns)
	case "r":
		m.reverse = !m.reverse
	case "up":
		m.from = m.first(m.from - 1)
	case "down":
		m.from = m.first(m.from + 1)
	case "p", "space":
		m.paused = !m.paused
		m.state = m.newest
	case "/":
		m.input.Focus()
	case "esc":
		m.input.Reset()
	case "tab":
		m.switchNode(1)
	case "shift+tab":
		m.switchNode(-1)
	case "?":
		m.help = !m.help
	}
}

// first is the row nearest to at that there is.
func (m *topModel) first(at int) int { return max(0, min(at, len(m.rows())-1)) }

// switchNode goes to another node. The first one is not held by its address:
// after a failover that is another one.
func (m *topModel) switchNode(by int) {
	nodes := m.state.Nodes
	if len(nodes) == 0 {
		return
	}
	at := (m.at() + len(nodes) + by) % len(nodes)
	m.node, m.from = "", 0
	if at > 0 {
		m.node = nodes[at].Addr
	}
}

// at is which node is shown.
func (m *topModel) at() int {
	for i := range m.state.Nodes {
		if m.node != "" && m.state.Nodes[i].Addr == m.node {
			return i
		}
	}
	return 0
}

// shown is the node that is shown, or nil if there is none.
func (m *topModel) shown() *monitor.NodeState {
	if len(m.state.Nodes) == 0 {
		return nil
	}
	return &m.state.Nodes[m.at()]
}

// rows are the rows of the table, above and below the screen too.
func (m *topModel) rows() []topRow {
	return pickRows(topRows(m.shown()), m.filter(), m.column, m.reverse)
}
