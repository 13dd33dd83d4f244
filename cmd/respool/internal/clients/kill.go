package clients

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/progress"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// KillReport is what kill prints with --json. Times are in seconds.
type KillReport struct {
	Verdict  string         `json:"verdict"`
	Addr     string         `json:"addr"`
	Held     string         `json:"through,omitempty"` // the process whose connections were used
	Nodes    []KilledNode   `json:"nodes,omitempty"`   // the servers of a service or a cluster
	DryRun   bool           `json:"dry_run"`
	Matching int            `json:"matching"`
	Closed   int            `json:"closed"`
	Changed  int            `json:"left_since_they_changed"` // they no longer matched, or were closed already
	Left     int            `json:"left_beyond_max"`
	Clients  []KilledClient `json:"connections"` // at most MaxListed
}

// KilledNode is one of several servers.
type KilledNode struct {
	Addr     string `json:"addr"`
	Matching *int   `json:"matching,omitempty"` // absent if the node was not read
	Closed   int    `json:"closed"`
	Error    string `json:"error,omitempty"` // why the node was not read, or why not all were closed
}

// Incomplete reports whether a server was not read, or not all connections on it were closed.
func (r *KillReport) Incomplete() bool {
	return slices.ContainsFunc(r.Nodes, func(n KilledNode) bool { return n.Error != "" })
}

// KilledClient is a connection that matches.
type KilledClient struct {
	Node    string  `json:"node,omitempty"` // of several
	ID      int64   `json:"id"`
	Addr    string  `json:"addr"`
	Name    string  `json:"name"`
	Service string  `json:"service"`
	AgeS    float64 `json:"age_s"`
	IdleS   float64 `json:"idle_s"`
	Command string  `json:"cmd"`
}

// MaxListed is how many connections a report lists one by one.
const MaxListed = 20

// KillConfig selects connections and limits how they are closed.
type KillConfig struct {
	Filter Filter
	group  *GroupKey // in addition to the filter; nil: any
	Close  bool      // close them; otherwise only list them
	Rate   float64   // connections a second
	Max    int       // how many are closed at most
}

// errAmbiguousID reports an id that several servers may have.
var errAmbiguousID = errors.New("--id may be of several connections, because each node has its own ids: add --addr HOST:PORT of the client")

// match is a connection that matches, and its server.
type match struct {
	monitor.Client
	on *connect.Server
}

// Kill closes the connections that match on a server, or on all servers of a service or a cluster. It returns a report
// together with an error if it stopped halfway on a single server. With several, it continues on the others, and the
// report has the errors.
func Kill(ctx context.Context, target connect.Target, k KillConfig) (*KillReport, error) {
	if target.Held != nil && !target.Held.MayKill() {
		return nil, target.NoKill(ctx)
	}
	servers, err := connect.Open(ctx, target, "kill", 0, true)
	if err != nil {
		return nil, err
	}
	defer servers.Close()
	if _, _, err := net.SplitHostPort(k.Filter.Addr); err != nil && servers.Several() && k.Filter.ID != 0 {
		return nil, errAmbiguousID
	}
	found := k.find(ctx, servers)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	unread := servers.Unread()
	if len(unread) == len(servers.List) {
		return nil, unread[0].Err
	}
	r := &KillReport{Addr: servers.Place, Held: servers.Held, DryRun: !k.Close, Matching: len(found), Clients: []KilledClient{}}
	if !servers.Several() {
		r.Addr = servers.List[0].Addr
	}
	for _, c := range found[:min(MaxListed, len(found))] {
		one := KilledClient{c.on.Addr, c.ID, c.Addr, c.Name, c.Service(), c.Age.Seconds(), c.Idle.Seconds(), c.Command}
		if !servers.Several() {
			one.Node = ""
		}
		r.Clients = append(r.Clients, one)
	}
	r.Left = max(0, len(found)-k.Max)
	closed := map[*connect.Server]int{}
	if k.Close {
		err = k.closeAll(ctx, servers, found[:len(found)-r.Left], r, closed)
	}
	var names []string
	for _, one := range unread {
		names = append(names, one.Addr)
	}
	r.Verdict = r.verdict(&k)
	if servers.Several() {
		r.addNodes(servers, found, closed, names)
		r.Verdict += connect.UnreadText(names)
	}
	return r, err
}

// addNodes adds the split by servers.
func (r *KillReport) addNodes(servers *connect.Servers, found []match, closed map[*connect.Server]int, unread []string) {
	matching := map[*connect.Server]int{}
	for _, c := range found {
		matching[c.on]++
	}
	for _, one := range servers.List {
		n := KilledNode{Addr: one.Addr, Closed: closed[one]}
		if one.Err != nil {
			n.Error = one.Reason()
		}
		if m := matching[one]; !slices.Contains(unread, one.Addr) {
			n.Matching = &m
		}
		r.Nodes = append(r.Nodes, n)
	}
}

// find lists the connections that match, in descending order of idle time.
func (k *KillConfig) find(ctx context.Context, servers *connect.Servers) (found []match) {
	var mu sync.Mutex
	servers.Each(func(one *connect.Server) error {
		var here []match
		err := one.Source.EachClient(ctx, func(c monitor.Client) error {
			if !protected(&c, one.Source.Own()) && k.matches(&c) {
				here = append(here, match{c, one})
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("list the server's connections: %w", err)
		}
		mu.Lock()
		defer mu.Unlock()
		found = append(found, here...)
		return nil
	})
	slices.SortStableFunc(found, func(a, b match) int {
		return cmp.Or(closeFirst(&a.Client, &b.Client), cmp.Compare(a.on.Addr, b.on.Addr), cmp.Compare(a.ID, b.ID))
	})
	return found
}

// closeAll closes connections one after the other, at the configured rate. After a failure, it leaves the other
// connections of that server alone. It returns the failure of a single server.
func (k *KillConfig) closeAll(ctx context.Context, servers *connect.Servers, list []match, r *KillReport, closed map[*connect.Server]int) error {
	each := time.Duration(float64(time.Second) / k.Rate)
	bar := progress.Start("closing connections", each*time.Duration(len(list)))
	defer bar.Clear()
	next := time.Now()
	for i := range list {
		c := &list[i]
		if c.on.Err != nil {
			continue
		}
		if err := pause.For(ctx, time.Until(next)); err != nil {
			return err
		}
		next = next.Add(each)
		gone, err := k.closeOne(ctx, c.on.Source, &c.Client)
		switch {
		case err != nil:
			c.on.Err = fmt.Errorf("after %d connections: %w", closed[c.on], err)
			if !servers.Several() || ctx.Err() != nil {
				return c.on.Err
			}
		case gone:
			r.Closed++
			closed[c.on]++
		default:
			r.Changed++
		}
		bar.Update(int64(r.Closed))
	}
	return nil
}

// closeOne looks at a connection again and closes it if it is the same one and still matches.
func (k *KillConfig) closeOne(ctx context.Context, source connect.ClientSource, was *monitor.Client) (bool, error) {
	now, err := source.ListClient(ctx, was.ID)
	if err != nil {
		return false, err
	}
	same := false
	err = monitor.EachClient(strings.NewReader(now), func(one monitor.Client) error {
		same = one.ID == was.ID && one.Addr == was.Addr && !protected(&one, source.Own()) && k.matches(&one)
		return nil
	})
	if err != nil || !same {
		return false, err
	}
	return source.KillClient(ctx, was.ID)
}

// matches reports whether a connection is selected.
func (k *KillConfig) matches(c *monitor.Client) bool {
	return k.Filter.Matches(c) && (k.group == nil || k.group.has(c))
}

// closeFirst sorts connections in the order in which they are closed: in descending order of idle time.
func closeFirst(a, b *monitor.Client) int {
	return cmp.Or(cmp.Compare(b.Idle, a.Idle), cmp.Compare(b.Age, a.Age))
}

func (r *KillReport) verdict(k *KillConfig) string {
	if r.DryRun {
		return fmt.Sprintf("%s matching %s; none closed", output.Count(r.Matching, "connection"), k.Filter.String())
	}
	text := fmt.Sprintf("closed %d of %d connections that matched %s", r.Closed, r.Matching, k.Filter.String())
	if r.Changed > 0 {
		text += fmt.Sprintf("; %d closed by themselves or no longer matched", r.Changed)
	}
	if r.Left > 0 {
		text += fmt.Sprintf("; %d not closed because of --max %d", r.Left, k.Max)
	}
	return text
}

// Print writes the report for people.
func (r *KillReport) Print() error {
	fmt.Printf("%s\n%s\n\n", r.Verdict, r.Addr)
	if len(r.Nodes) > 0 {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "node\tmatching\tclosed")
		for _, n := range r.Nodes {
			matching, text := "?", fmt.Sprint(n.Closed)
			if n.Matching != nil {
				matching = fmt.Sprint(*n.Matching)
			}
			switch {
			case n.Error != "" && n.Matching == nil:
				text = "NOT READ: " + n.Error
			case n.Error != "":
				text += ", STOPPED: " + n.Error
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", output.Printable(n.Addr), matching, text)
		}
		_ = t.Flush()
		fmt.Println()
	}
	if len(r.Clients) > 0 {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		if len(r.Nodes) > 0 {
			fmt.Fprint(t, "node\t")
		}
		fmt.Fprintln(t, "id\taddr\tservice\tname\tage\tidle\tlast command")
		for _, c := range r.Clients {
			if len(r.Nodes) > 0 {
				fmt.Fprint(t, output.Printable(c.Node), "\t")
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%v\t%v\t%s\n", c.ID, c.Addr, output.Printable(c.Service), output.Printable(c.Name),
				time.Duration(c.AgeS)*time.Second, time.Duration(c.IdleS)*time.Second, output.Printable(c.Command))
		}
		_ = t.Flush()
	}
	if more := r.Matching - len(r.Clients); more > 0 {
		fmt.Printf("and %d more\n", more)
	}
	url := cmp.Or(r.Held, "URL")
	switch {
	case r.Matching == 0:
		fmt.Printf("next: list the connections: respool who %s\n", url)
	case r.DryRun:
		fmt.Println("\nnext: close them: the same command with --yes")
	default:
		fmt.Printf("\nnext: check whether they return: respool who %s\n", url)
	}
	return nil
}
