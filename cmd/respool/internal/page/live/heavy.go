package live

import (
	"maps"
	"slices"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// heavy is what costs a server much.
type heavy struct {
	Buffers      []buffer `json:"buffers"`
	BuffersText  string   `json:"buffers_text"`
	Commands     []found  `json:"commands"`
	CommandsText string   `json:"commands_text"`
	Blocked      []count  `json:"blocked"` // by service
	BlockedText  string   `json:"blocked_text"`
}

// buffer is a client with much memory in its buffers.
type buffer struct {
	ID      int64  `json:"id"`
	Service string `json:"service"`
	Name    string `json:"name"`
	Addr    string `json:"addr"`
	Output  string `json:"output"`
	Input   string `json:"input"`
	Command string `json:"command"`
	Kill    string `json:"kill"`
}

// count is a number with a name.
type count struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

// blockedShown is how many services with blocked connections are listed.
const blockedShown = 5

func (b *builder) heavy(n *monitor.NodeState) heavy {
	h := heavy{Buffers: []buffer{}, Commands: []found{}, Blocked: []count{},
		BuffersText: "unknown: CLIENT LIST was not read", CommandsText: "unknown: INFO commandstats and SLOWLOG were not read twice yet", BlockedText: "unknown"}
	if n.Last != nil && n.Up {
		if blocked, ok := n.Last.Info.Int("blocked_clients"); ok {
			h.BlockedText = output.Count(int(blocked), "connection") + " blocked on the server"
		}
	}
	if n.List != nil {
		h.BuffersText = "no client held 16 MiB or more in its buffers at " + n.List.At.Format("15:04:05")
		if len(n.List.Heavy) > 0 {
			h.BuffersText = "the largest buffers of clients at " + n.List.At.Format("15:04:05")
		}
		if sum, ok := n.Last.Info.Int("mem_clients_normal"); ok {
			h.BuffersText += "; all clients together use " + output.Bytes(sum)
		}
		for i := range n.List.Heavy {
			c := &n.List.Heavy[i]
			h.Buffers = append(h.Buffers, buffer{c.ID, cell(c.Service()), cell(c.Name), cell(c.Addr),
				output.Bytes(c.OutputMemory), output.Bytes(c.QueryBuffer), cell(c.Command), b.killOne(n.Addr, c)})
		}
		for _, g := range n.List.Clients.Sorted() {
			if g.Blocked > 0 {
				h.Blocked = append(h.Blocked, count{cell(n.List.Unnamed.Label(g.Key[0])), g.Blocked})
			}
		}
		slices.SortStableFunc(h.Blocked, func(a, b count) int { return b.N - a.N })
		h.Blocked = h.Blocked[:min(len(h.Blocked), blockedShown)]
	}
	if n.Addr == GatewayNode {
		s := b.gateway.stats()
		h.BuffersText = output.Bytes(s.Buffered) + " of replies wait for clients that have not read them; " +
			output.Count(int(s.SlowClosed), "client") + " disconnected because they did not read"
		h.CommandsText = "the server's own list shows slow commands: choose the server"
		h.BlockedText = output.Count(s.Blocked, "client") + " in blocking commands"
	}
	if slow, known := n.SlowCommands(); known {
		h.CommandsText = "no command delayed the others between the last two readings"
		for i := range slow {
			slow[i].Node = n.Addr
			h.Commands = append(h.Commands, b.found(&slow[i], "seen"))
		}
		if len(slow) > 0 {
			h.CommandsText = "no other command runs while one of these does"
		}
	}
	return h
}

// plan compares the planned connections with the actual ones.
type plan struct {
	Planned bool      `json:"planned"`
	Text    string    `json:"text"`
	Rows    []planned `json:"rows"`
}

type planned struct {
	Service string `json:"service"`
	Ceiling int64  `json:"ceiling"`
	Actual  *int   `json:"actual,omitempty"`
	Level   level  `json:"level"`
}

func (b *builder) plan(n *monitor.NodeState) plan {
	p := plan{Rows: []planned{}, Text: "there is no plan: the key plan names a file of respool check"}
	if b.settings.Ceilings == nil {
		return p
	}
	p.Planned = true
	sum := int64(0)
	for _, service := range slices.Sorted(maps.Keys(b.settings.Ceilings)) {
		row := planned{Service: cell(service), Ceiling: b.settings.Ceilings[service], Level: unknown}
		sum += row.Ceiling
		if n != nil && n.List != nil && n.Up {
			actual := n.List.Clients.Of(service)
			row.Actual, row.Level = &actual, fine
			if int64(actual) > row.Ceiling {
				row.Level = warning
			}
		}
		p.Rows = append(p.Rows, row)
	}
	p.Text = "the plan adds up to " + output.Count(int(sum), "connection")
	if n != nil && n.Last != nil && n.Last.MaxClients > 0 {
		p.Text += " of " + output.Grouped(int(n.Last.MaxClients-b.settings.Reserve)) + " (maxclients less the reserve)"
	}
	if n != nil && n.List != nil {
		for _, g := range n.List.Clients.Sorted() {
			if _, ok := b.settings.Ceilings[g.Key[0]]; !ok && len(p.Rows) < 2*rowsShown {
				actual := g.Clients
				p.Rows = append(p.Rows, planned{Service: cell(g.Key[0]) + " (not planned)", Actual: &actual, Level: fine})
			}
		}
	}
	return p
}
