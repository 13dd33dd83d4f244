package top

import (
	"context"
	"errors"
	"fmt"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// target is a group whose connections the user wants to close.
type target struct {
	node  string // address
	key   clients.GroupKey
	name  string // as safe text
	count int    // connections when the user was asked
	alone bool   // there are no other nodes
}

func (t *target) question() string {
	where := ""
	if !t.alone {
		where = " on the node " + output.Cell(t.node) + " only"
	}
	return fmt.Sprintf("close %s of %s%s? y closes them, any other key does not", output.Count(t.count, "connection"), t.name, where)
}

// closedMsg reports that the connections of a target were closed, or why not.
type closedMsg struct {
	target
	clients.ClosedGroup
	err error
}

// text describes the outcome.
func (c *closedMsg) text() string {
	if c.err != nil {
		return fmt.Sprintf("closed %d of %d of %s: %s", c.Closed, c.count, c.name, output.Error(c.err))
	}
	return c.Text(c.count)
}

// askToKill asks whether to close the connections of the selected row.
func (m *model) askToKill() {
	rows, n := m.rows(), m.shownNode()
	switch {
	case m.height < 2: // no room for the question
	case m.closing != nil:
		m.notice = "connections of " + m.closing.name + " are still being closed"
	case n == nil || len(rows) == 0:
		m.notice = "no row is selected"
	default:
		r := &rows[m.selected(rows)]
		name := r.Name
		if by := m.grouping(); by.Field != "service" {
			name = by.One + " " + name
		}
		t := &target{n.Addr, clients.GroupKey{Field: m.grouping().Field, Key: r.Key()}, name, r.Group.Clients, len(m.state.Nodes) == 1}
		if t.count == 0 {
			m.notice = name + " has no connections"
			return
		}
		m.asked = t
	}
}

// answer handles the key after the question.
func (m *model) answer(key string) tea.Cmd {
	t := m.asked
	m.asked = nil
	if key != "y" || m.kill == nil {
		return nil
	}
	m.closing = t
	kill := m.kill
	return func() tea.Msg { return kill(*t) }
}

// noticeText is the question or a message; empty: none.
func (m *model) noticeText() string {
	switch {
	case m.asked != nil:
		return m.asked.question()
	case m.notice == "" && m.closing != nil:
		return fmt.Sprintf("closing %s of %s, %d a second", output.Count(m.closing.count, "connection"), m.closing.name, clients.GroupRate)
	}
	return m.notice
}

// killer closes connections over those of a sampler. stop ends all calls of kill, and waits for them.
type killer struct {
	ctx     context.Context
	cancel  context.CancelFunc
	sampler *monitor.Sampler

	mu      sync.Mutex
	stopped bool
	calls   sync.WaitGroup
}

func newKiller(ctx context.Context, s *monitor.Sampler) *killer {
	k := &killer{sampler: s}
	k.ctx, k.cancel = context.WithCancel(ctx)
	return k
}

func (k *killer) stop() {
	k.mu.Lock()
	k.stopped = true
	k.mu.Unlock()
	k.cancel()
	k.calls.Wait()
}

// kill closes the connections of a target. It blocks until they are closed, or stop is called.
func (k *killer) kill(t target) tea.Msg {
	k.mu.Lock()
	if k.stopped {
		k.mu.Unlock()
		return nil
	}
	k.calls.Add(1)
	k.mu.Unlock()
	defer k.calls.Done()
	msg := closedMsg{target: t}
	c := k.sampler.Clients()[t.node]
	if c == nil {
		msg.err = errors.New("there is no connection to " + t.node)
		return msg
	}
	msg.ClosedGroup, msg.err = clients.CloseGroup(k.ctx, connect.Shared(c, k.sampler.Own()), t.key, t.count)
	return msg
}
