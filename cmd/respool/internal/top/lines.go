package top

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// linePrinter prints one line for each look at a node.
type linePrinter struct {
	out   io.Writer
	json  bool // JSON instead of text
	every time.Duration
	seen  map[string]printedNode // by address
}

// printedNode is the last printed look at a node.
type printedNode struct {
	last *monitor.Snapshot
	up   bool
	at   time.Time
}

func newLinePrinter(out io.Writer, asJSON bool, every time.Duration) *linePrinter {
	return &linePrinter{out: out, json: asJSON, every: every, seen: map[string]printedNode{}}
}

// print prints the nodes of a state that have a new look.
func (p *linePrinter) print(st *monitor.State) error {
	for i := range st.Nodes {
		n := &st.Nodes[i]
		if !p.fresh(n, st.At) {
			continue
		}
		p.seen[n.Addr] = printedNode{n.Last, n.Up, st.At}
		if err := p.write(n, st); err != nil {
			return err
		}
	}
	return nil
}

// fresh reports whether there was a new look at a node. Failed looks leave no snapshot; the time
// tells them apart.
func (p *linePrinter) fresh(n *monitor.NodeState, now time.Time) bool {
	before, there := p.seen[n.Addr]
	switch {
	case !n.Up && n.Err == nil:
		return false // not read yet
	case !there || n.Up != before.up:
		return true
	case n.Up:
		return n.Last != before.last
	}
	return now.Sub(before.at) >= p.every/2
}

// Report is what top prints with --json. Times are in seconds.
type Report struct {
	At      time.Time `json:"at"`
	Service string    `json:"sentinel_service,omitempty"`
	Verdict string    `json:"verdict"`
	report.Node
}

func (p *linePrinter) write(n *monitor.NodeState, st *monitor.State) error {
	text := plainLine(n, st.At)
	if p.json {
		object, err := json.Marshal(output.Versioned{Object: Report{st.At, st.Service, summary.Verdict(n, st.At, false), report.OfNode(n)}})
		if err != nil {
			return err
		}
		text = string(output.EscapeJSON(object))
	}
	_, err := fmt.Fprintln(p.out, text)
	return err
}

// maxHolders is how many services a line names.
const maxHolders = 3

func plainLine(n *monitor.NodeState, now time.Time) string {
	text := now.Format(time.RFC3339) + " " + summary.NodeName(n, false) + ": "
	if !n.Up || n.Last == nil {
		return text + summary.Verdict(n, now, false)
	}
	if _, gateway := n.Last.Info.Gateway(); gateway || n.Last.Info.Embedded() {
		text += "this is " + output.Cell(n.Last.Info.Server()) + ": "
	}
	text += summary.Occupancy(n.Last, false)
	opened, rejected, commands := "-", "-", "-"
	if r := &n.Rates; r.Known {
		opened, rejected, commands = summary.Rate(r.Opened), summary.Rate(r.Rejected), summary.Rate(r.Commands)
	}
	text += fmt.Sprintf(", opened %s/s, rejected %s/s, commands %s/s", opened, rejected, commands)
	if n.List == nil || n.List.Clients == nil {
		return text
	}
	var holders []string
	for i, g := range n.List.Clients.Sorted() {
		if i < maxHolders {
			text := fmt.Sprintf("%s %d", output.Cell(g.Key[0]), g.Clients)
			if u := n.List.Unnamed; u != nil && u.Service == g.Key[0] {
				text += fmt.Sprintf(" [%s: %d; %s]", output.Cell(u.Culprit), u.Size, u.Naming())
			}
			holders = append(holders, text)
		}
	}
	if len(holders) == 0 {
		return text
	}
	return text + "; " + strings.Join(holders, ", ")
}
