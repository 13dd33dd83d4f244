package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Node is one of several servers.
type Node struct {
	Addr        string        `json:"addr"`
	Role        string        `json:"role,omitempty"`
	Primary     string        `json:"primary,omitempty"` // of a replica of a cluster
	Slots       int           `json:"slots,omitempty"`
	Server      string        `json:"server,omitempty"`
	Connections *int64        `json:"connections,omitempty"` // absent if the node was not read
	MaxClients  int64         `json:"maxclients,omitempty"`
	Rates       *report.Rates `json:"a_second,omitempty"`
	Error       string        `json:"error,omitempty"` // why the node was not read
	Blind       string        `json:"blind,omitempty"` // why it cannot be judged, although it answers
}

// severalReport combines what was seen of several servers.
func (d *Config) severalReport(servers *connect.Servers, looks []*look) *Report {
	rep := &Report{Addr: servers.Place}
	st := &monitor.State{At: time.Now(), Service: servers.Name, Cluster: servers.Cluster}
	refused := map[string][]string{}
	var unread []string
	for i, one := range servers.List {
		n := monitor.NodeState{Addr: one.Addr, Since: st.At}
		if one.Err != nil {
			n.Err, n.Full = one.Err, monitor.IsFull(one.Err)
			unread = append(unread, one.Addr)
			st.Nodes = append(st.Nodes, n)
			continue
		}
		l := looks[i]
		n.Up, n.Last, n.List, n.Role = true, l.after, nil, l.after.Role()
		if l.after.Clients != nil {
			n.List = l.after
		}
		n.Rates = monitor.RatesBetween(l.before, l.after)
		if st.Cluster != nil {
			st.Cluster = l.after.Cluster.Better(st.Cluster)
		}
		st.Nodes = append(st.Nodes, n)
		rep.add(l)
		if reason, _ := l.after.Blind(); reason != "" {
			unread = append(unread, one.Addr)
		}
		rep.SecondsRun = max(rep.SecondsRun, l.after.At.Sub(l.before.At).Seconds())
		for _, f := range l.findings {
			f.Node = one.Addr
			rep.Findings = append(rep.Findings, f)
		}
		for what, why := range l.refused {
			refused[what+": "+why] = append(refused[what+": "+why], one.Addr)
		}
	}
	rep.Cluster = report.OfCluster(st)
	for i := range st.Nodes {
		n := nodeOf(&st.Nodes[i], st.Cluster)
		n.Error = servers.List[i].Reason()
		rep.Nodes = append(rep.Nodes, n)
	}
	rep.Findings = append(monitor.DiagnoseNodes(st), rep.Findings...)
	slices.SortStableFunc(rep.Findings, func(a, b monitor.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	for _, what := range slices.Sorted(maps.Keys(refused)) {
		rep.NotAsked = append(rep.NotAsked, what+" ("+strings.Join(refused[what], ", ")+")")
	}
	rep.finish(unread)
	return rep
}

func nodeOf(s *monitor.NodeState, m *monitor.ClusterMap) Node {
	n := Node{Addr: s.Addr, Role: s.Role}
	if member := m.Node(s.Addr); member != nil {
		n.Slots, n.Primary = member.Slots, m.PrimaryOf(member)
		if n.Role == "" { // as the other nodes report it
			n.Role = "primary"
			if n.Primary != "" {
				n.Role = "replica"
			}
		}
	}
	if l := s.Last; l != nil {
		n.Server, n.MaxClients = l.Info.Server(), l.MaxClients
		if !l.Uncounted {
			n.Connections = &l.Connections
		}
		n.Blind, _ = l.Blind()
	}
	if r := s.Rates; r.Known {
		n.Rates = &report.Rates{Opened: r.Opened, Rejected: r.Rejected, Commands: r.Commands}
	}
	return n
}

// printNodes writes a table of the nodes.
func (rep *Report) printNodes() {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "node\trole\t")
	if rep.Cluster != nil {
		fmt.Fprint(t, "slots\t")
	}
	fmt.Fprintln(t, "connections\topened/s\tcommands/s")
	for _, n := range rep.Nodes {
		fmt.Fprintf(t, "%s\t%s\t", output.Printable(n.Addr), cmp.Or(n.Role, "?"))
		if rep.Cluster != nil {
			fmt.Fprintf(t, "%s\t", n.slotsText())
		}
		if n.Connections == nil {
			fmt.Fprintln(t, "NOT READ: "+cmp.Or(n.Error, n.Blind))
			continue
		}
		opened, commands := "-", "-"
		if n.Rates != nil {
			opened, commands = fmt.Sprintf("%.1f", n.Rates.Opened), fmt.Sprintf("%.0f", n.Rates.Commands)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", report.Filled(*n.Connections, n.MaxClients), opened, commands)
	}
	_ = t.Flush()
}

func (n *Node) slotsText() string {
	if n.Slots == 0 {
		return "-"
	}
	return fmt.Sprint(n.Slots)
}

// group is a finding at some nodes.
type group struct {
	monitor.Finding
	nodes []string
}

// grouped joins equal findings at several nodes: of the same rule about the same subject. The text is that of the first
// node. A finding about one client stays apart.
func grouped(findings []monitor.Finding) (list []*group) {
	for _, f := range findings {
		i := slices.IndexFunc(list, func(g *group) bool {
			return len(g.nodes) > 0 && g.Rule == f.Rule && f.Rule != monitor.RuleBuffers && g.Subject == f.Subject && g.Severity == f.Severity
		})
		if i < 0 {
			list = append(list, &group{Finding: f})
			i = len(list) - 1
		}
		if f.Node != "" && !strings.Contains(f.What, f.Node) {
			list[i].nodes = append(list[i].nodes, f.Node)
		}
	}
	return list
}
