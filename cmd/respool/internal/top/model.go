package top

import (
	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// model is the screen: a state of the servers, and what the keys chose of
// it. It knows no clock: what it shows follows from the states alone.
type model struct {
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

// maxFilter bounds what is typed, in characters.
const maxFilter = 64

func newModel(st *monitor.State) model {
	m := model{state: st, newest: st, column: columnConnections, input: textinput.New()}
	m.input.Prompt, m.input.CharLimit = "/", maxFilter
	m.input.SetVirtualCursor(false)
	m.input.SetStyles(textinput.Styles{})
	m.input.KeyMap.Paste = key.NewBinding() // it would run other programs to get at the clipboard
	return m
}

func (m model) Init() tea.Cmd { return nil }

func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
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

// filter is the text that services have to contain.
func (m *model) filter() string { return m.input.Value() }

// updateFilter works on the filter.
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
	m.input, _ = m.input.Update(msg) // a cursor that does not blink gives nothing to do
	m.from = 0
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
func (m *model) first(at int) int { return max(0, min(at, len(m.rows())-1)) }

// switchNode goes to another node. The first one is not held by its address:
// after a failover that is another one.
func (m *model) switchNode(by int) {
	nodes := m.state.Nodes
	if len(nodes) == 0 {
		return
	}
	at := (m.nodeIndex() + len(nodes) + by) % len(nodes)
	m.node, m.from = "", 0
	if at > 0 {
		m.node = nodes[at].Addr
	}
}

// nodeIndex is which node is shown.
func (m *model) nodeIndex() int {
	for i := range m.state.Nodes {
		if m.node != "" && m.state.Nodes[i].Addr == m.node {
			return i
		}
	}
	return 0
}

// shownNode is the node that is shown, or nil if there is none.
func (m *model) shownNode() *monitor.NodeState {
	if len(m.state.Nodes) == 0 {
		return nil
	}
	return &m.state.Nodes[m.nodeIndex()]
}

// rows are the rows of the table, above and below the screen too.
func (m *model) rows() []serviceRow {
	return selectRows(serviceRows(m.shownNode()), m.filter(), m.column, m.reverse)
}
