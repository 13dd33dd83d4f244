package clients

import (
	"cmp"
	"context"
	"fmt"
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

// HoldersReport is what who prints with --json. Times are in seconds.
type HoldersReport struct {
	Verdict     string   `json:"verdict"`
	Addr        string   `json:"addr"`
	Server      string   `json:"server"`
	Connections int      `json:"connections"`
	MaxClients  int64    `json:"maxclients,omitempty"` // absent if unknown
	Matching    int      `json:"matching"`
	By          []string `json:"by"`
	Groups      []Group  `json:"groups"`
	Left        int      `json:"groups_left_out"`
	Nodes       []Node   `json:"nodes,omitempty"`   // the servers of a service or a cluster: the other numbers are sums
	Held        string   `json:"through,omitempty"` // the process whose connections were used
	multiplexed bool     // clients of respool are among the connections
	gateway     bool     // the connections are those of a gateway's clients
	Sort        string   `json:"sort"` // an order of Sorts
	longIdle    bool     // only idle connections are listed
}

// Node is one of several servers.
type Node struct {
	Addr        string `json:"addr"`
	Role        string `json:"role,omitempty"`
	Connections *int   `json:"connections,omitempty"` // absent if the node was not read
	MaxClients  int64  `json:"maxclients,omitempty"`
	Matching    *int   `json:"matching,omitempty"` // absent if the node was not read
	Error       string `json:"error,omitempty"`    // why the node was not read
}

// Incomplete reports whether a server was not read.
func (r *HoldersReport) Incomplete() bool {
	return slices.ContainsFunc(r.Nodes, func(n Node) bool { return n.Connections == nil })
}

// Unseen states which blocking commands a server does not report.
const Unseen = "blocking commands that wait inside respool clients and gateways: servers do not see them (metric respool_pool_blocked)"

// Group is a group of connections. Blocked counts those that block on the server: see Unseen.
type Group struct {
	Key        []string `json:"key"`
	Clients    int      `json:"connections"`
	Active     int      `json:"active"`
	Blocked    int      `json:"blocked"`
	Subscribed int      `json:"subscribed"`
	Idle       int      `json:"idle"`
	OldestS    float64  `json:"oldest_s"`
	IdleS      float64  `json:"longest_idle_s"`
	Memory     int64    `json:"memory_bytes"`
	Nodes      []*int   `json:"connections_of_nodes,omitempty"` // in the order of the report's nodes; null if the node was not read
}

// HoldersConfig selects and groups connections.
type HoldersConfig struct {
	By     []string // the names of the fields to group by, as monitor.NewGroups takes them
	Filter Filter
	Top    int    // how many groups are listed; 0: all
	Sort   string // one of Sorts
}

// SortConnections is the default order of groups.
const SortConnections = "connections"

// sorts are the values of a group by which groups are sorted, the largest first, and what a verdict says about the first
// group.
var sorts = map[string]struct {
	of   func(*monitor.Group) int64
	text func(*monitor.Group) string
}{
	SortConnections: {func(g *monitor.Group) int64 { return int64(g.Clients) },
		func(g *monitor.Group) string { return fmt.Sprintf("holds the most: %d", g.Clients) }},
	"memory": {func(g *monitor.Group) int64 { return g.Memory },
		func(g *monitor.Group) string { return "uses the most memory of the server: " + output.Bytes(g.Memory) }},
	"idle": {func(g *monitor.Group) int64 { return int64(g.LongestIdle) },
		func(g *monitor.Group) string { return "has been idle longest: " + g.LongestIdle.String() }},
	"age": {func(g *monitor.Group) int64 { return int64(g.Oldest) },
		func(g *monitor.Group) string { return "is the oldest: " + g.Oldest.String() }},
}

// Holders reports who holds the connections of a server, or of all servers of a service or a cluster.
func Holders(ctx context.Context, target connect.Target, w HoldersConfig) (*HoldersReport, error) {
	if _, err := monitor.NewGroups(w.By...); err != nil {
		return nil, err
	}
	servers, err := connect.Open(ctx, target, "who", 0, true)
	if err != nil {
		return nil, err
	}
	defer servers.Close()
	looks := make([]*holdersLook, len(servers.List))
	servers.Each(func(one *connect.Server) error {
		l, err := w.look(ctx, one.Source, servers.Held != "")
		looks[slices.Index(servers.List, one)] = l
		return err
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if unread := servers.Unread(); len(unread) == len(servers.List) {
		return nil, unread[0].Err
	}
	return w.report(servers, looks), nil
}

// holdersLook is the list of a server's connections.
type holdersLook struct {
	info        monitor.Info
	connections int
	multiplexed bool            // some belong to clients of respool
	groups      *monitor.Groups // of those that match
}

// look lists the connections, without that of this process. held: another process has the connection, which counts like any
// other.
func (w *HoldersConfig) look(ctx context.Context, source connect.Source, held bool) (*holdersLook, error) {
	text, err := source.Info(ctx) // empty if it is refused; the list is enough
	if err != nil {
		return nil, err
	}
	l := &holdersLook{info: monitor.ParseInfo(text)}
	if l.groups, err = monitor.NewGroups(w.By...); err != nil {
		return nil, err
	}
	var own monitor.Client
	var matching []monitor.Client // only to name their processes
	byProcess := slices.Contains(w.By, "process")
	err = source.EachClient(ctx, func(one monitor.Client) error {
		if one.Name == source.Own() {
			own = one
		}
		if !held && one.Name == source.Own() {
			return nil
		}
		l.connections++
		l.multiplexed = l.multiplexed || one.Multiplexes()
		switch {
		case !w.Filter.Matches(&one):
		case byProcess:
			matching = append(matching, one)
		default:
			l.groups.Add(&one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the server's connections: %w", err)
	}
	monitor.NameProcesses(&own, matching)
	for i := range matching {
		l.groups.Add(&matching[i])
	}
	return l, nil
}

func (w *HoldersConfig) report(servers *connect.Servers, looks []*holdersLook) *HoldersReport {
	r := &HoldersReport{Addr: servers.Place, Held: servers.Held, By: w.By, Sort: cmp.Or(w.Sort, SortConnections), Groups: []Group{}}
	sum, _ := monitor.NewGroups(w.By...)
	var unread []string
	for i, one := range servers.List {
		n := Node{Addr: one.Addr}
		if one.Err != nil {
			n.Error = one.Reason()
			unread = append(unread, one.Addr)
			r.Nodes = append(r.Nodes, n)
			continue
		}
		l := looks[i]
		limit, _ := l.info.MaxClients()
		if _, gateway := l.info.Gateway(); gateway { // the limit is of its server, and the connections are its own
			limit, r.gateway = 0, true
		}
		matching := l.groups.Total().Clients
		n.Connections, n.MaxClients, n.Matching = &l.connections, limit, &matching
		n.Role = role(l.info)
		r.Nodes = append(r.Nodes, n)
		r.Server = l.info.Server()
		r.Connections += l.connections
		r.MaxClients += limit
		r.Matching += matching
		r.multiplexed = r.multiplexed || l.multiplexed
		sum.Merge(l.groups)
	}
	groups := slices.Clone(sum.Sorted())
	order := sorts[r.Sort].of
	slices.SortStableFunc(groups, func(a, b monitor.Group) int { return cmp.Compare(order(&b), order(&a)) })
	for i, g := range groups {
		if w.Top > 0 && i >= w.Top {
			r.Left++
			continue
		}
		one := Group{g.Key, g.Clients, g.Active, g.Blocked, g.Subscribed, g.Idle,
			g.Oldest.Seconds(), g.LongestIdle.Seconds(), g.Memory, nil}
		for _, l := range looks {
			var connections *int
			if l != nil {
				connections = new(l.groups.Of(g.Key...))
			}
			one.Nodes = append(one.Nodes, connections)
		}
		r.Groups = append(r.Groups, one)
	}
	if !servers.Several() {
		r.Addr, r.Nodes = servers.List[0].Addr, nil
		for i := range r.Groups {
			r.Groups[i].Nodes = nil
		}
	}
	r.Verdict = r.verdict(&w.Filter)
	if len(groups) > 0 {
		r.Verdict += "; " + output.Printable(strings.Join(groups[0].Key, " ")) + " " + sorts[r.Sort].text(&groups[0])
	}
	r.Verdict += connect.UnreadText(unread)
	r.longIdle = w.Filter.Idle > 0
	return r
}

// role returns the role in INFO; empty if it was refused.
func role(info monitor.Info) string {
	switch info.Text("role") {
	case "master":
		return "primary"
	case "slave":
		return "replica"
	}
	return ""
}

func (r *HoldersReport) verdict(f *Filter) string {
	text := output.Count(r.Connections, "connection")
	if r.gateway {
		text = "this is a gateway: " + output.Count(r.Connections, "connection") + " of its clients, not of its server"
	}
	if r.MaxClients > 0 {
		text += fmt.Sprintf(" of %d (%.0f%%)", r.MaxClients, 100*float64(r.Connections)/float64(r.MaxClients))
	}
	if len(r.Nodes) > 0 {
		read := 0
		for _, n := range r.Nodes {
			if n.Connections != nil {
				read++
			}
		}
		text += fmt.Sprintf(" on %d of %d nodes", read, len(r.Nodes))
	}
	if f.IsSet() {
		text += fmt.Sprintf(", %d match %s", r.Matching, f.String())
	}
	return text
}

// Print writes the report for people.
func (r *HoldersReport) Print() error {
	without := "without this connection"
	switch {
	case r.Held != "":
		without = "through " + r.Held
	case len(r.Nodes) > 0:
		without = "without the connections of this command"
	}
	fmt.Printf("%s\n%s, %s, %s\n\n", r.Verdict, r.Addr, r.Server, without)
	if len(r.Nodes) > 0 {
		r.printNodes()
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	if len(r.Nodes) > 0 {
		t = tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0) // the split takes room
		fmt.Fprintf(t, "%s\tall\t%s\tactive\tblocked\tidle 60s+\toldest\n", strings.Join(r.By, "\t"), r.splitTitle())
		for _, g := range r.Groups {
			fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%d\t%v\n", columns(g.Key), g.Clients, r.split(&g), g.Active, g.Blocked, g.Idle, time.Duration(g.OldestS)*time.Second)
		}
	} else {
		fmt.Fprintf(t, "%s\tconnections\tactive\tblocked\tsubscribed\tidle 60s+\toldest\tlongest idle\tmemory\n", strings.Join(r.By, "\t"))
		for _, g := range r.Groups {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%s\n", columns(g.Key), g.Clients, g.Active, g.Blocked, g.Subscribed, g.Idle,
				time.Duration(g.OldestS)*time.Second, time.Duration(g.IdleS)*time.Second, output.Bytes(g.Memory))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Left > 0 {
		fmt.Printf("and %d more groups: --top 0 shows all\n", r.Left)
	}
	if r.multiplexed && !r.gateway {
		fmt.Printf("\nnot in blocked: %s\n", Unseen)
	}
	fmt.Printf("\nnext: %s\n", r.next())
	return nil
}

// next returns the next step: the connections that nobody seems to need, a closer look, or a diagnosis.
func (r *HoldersReport) next() string {
	switch {
	case !r.longIdle && slices.ContainsFunc(r.Groups, func(g Group) bool { return g.Idle > 0 && g.IdleS >= (10*time.Minute).Seconds() }):
		return "the same command with --idle 10m"
	case len(r.By) == 1:
		return "the same command with --by service,addr,cmd"
	}
	return "respool doctor with the same URL"
}

// columns joins foreign text as the cells of a table row.
func columns(key []string) string {
	cells := make([]string, len(key))
	for i, k := range key {
		cells[i] = output.Printable(k)
	}
	return strings.Join(cells, "\t")
}

// printNodes writes a table of the nodes. The numbers are the titles of the columns of the groups.
func (r *HoldersReport) printNodes() {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tnode\trole\tconnections")
	for i, n := range r.Nodes {
		text := "NOT READ: " + n.Error
		if n.Connections != nil {
			text = report.Filled(int64(*n.Connections), n.MaxClients)
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\n", i+1, output.Printable(n.Addr), cmp.Or(n.Role, "?"), text)
	}
	_ = t.Flush()
	fmt.Println()
}

// maxSplit is the number of nodes up to which a table has a column for each.
const maxSplit = 8

func (r *HoldersReport) splitTitle() string {
	if len(r.Nodes) > maxSplit {
		return "most on one node"
	}
	var titles []string
	for i := range r.Nodes {
		titles = append(titles, fmt.Sprintf("@%d", i+1))
	}
	return strings.Join(titles, "\t")
}

// split shows the connections of a group on each node, or the node with the most. A node that was not read has a ?.
func (r *HoldersReport) split(g *Group) string {
	if len(r.Nodes) > maxSplit {
		most, at := 0, 0
		for i, n := range g.Nodes {
			if n != nil && *n > most {
				most, at = *n, i
			}
		}
		return fmt.Sprintf("%d @%d", most, at+1)
	}
	var cells []string
	for _, n := range g.Nodes {
		if n == nil {
			cells = append(cells, "?")
			continue
		}
		cells = append(cells, fmt.Sprint(*n))
	}
	return strings.Join(cells, "\t")
}
