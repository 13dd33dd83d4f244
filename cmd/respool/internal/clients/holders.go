package clients

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// HoldersReport is what who prints with --json. Times are in seconds.
type HoldersReport struct {
	Verdict     string   `json:"verdict"`
	Addr        string   `json:"addr"`
	Server      string   `json:"server"`
	Connections int      `json:"connections"`
	MaxClients  int64    `json:"maxclients"` // 0: unknown
	Matching    int      `json:"matching"`
	By          []string `json:"by"`
	Groups      []Group  `json:"groups"`
	Left        int      `json:"groups_left_out"`
	longIdle    bool     // only idle connections are listed
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
}

// HoldersConfig selects and groups connections.
type HoldersConfig struct {
	By     []string        // the names of the fields that Groups groups by
	Groups *monitor.Groups // empty, and filled in by Holders
	Filter Filter
	Top    int // how many groups are listed; 0: all
}

// Holders reports who holds a server's connections.
func Holders(ctx context.Context, opt respool.Options, w HoldersConfig) (*HoldersReport, error) {
	probe, err := connect.Probe(ctx, opt, "who", 0, true)
	if err != nil {
		return nil, err
	}
	defer connect.Close(probe.Client())
	return w.look(ctx, probe)
}

func (w *HoldersConfig) look(ctx context.Context, probe *monitor.Probe) (*HoldersReport, error) {
	text, err := probe.Client().Do(ctx, "INFO").Text()
	var se *respool.ServerError
	if err != nil && !errors.As(err, &se) { // an ACL may forbid INFO; the list is enough
		return nil, err
	}
	info := monitor.ParseInfo(text)
	r := &HoldersReport{Addr: probe.Client().Stats().Addr, Server: info.Server(), By: w.By, Groups: []Group{}}
	r.MaxClients, _ = info.MaxClients()
	err = probe.EachClient(ctx, func(one monitor.Client) error {
		if one.Name == probe.Own() {
			return nil
		}
		r.Connections++
		if w.Filter.Matches(&one) {
			w.Groups.Add(&one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the server's connections: %w", err)
	}
	r.Matching = w.Groups.Total().Clients
	for i, g := range w.Groups.Sorted() {
		if w.Top > 0 && i >= w.Top {
			r.Left++
			continue
		}
		r.Groups = append(r.Groups, Group{g.Key, g.Clients, g.Active, g.Blocked, g.Subscribed, g.Idle,
			g.Oldest.Seconds(), g.LongestIdle.Seconds(), g.Memory})
	}
	r.Verdict = r.verdict(&w.Filter)
	r.longIdle = w.Filter.Idle > 0
	return r, nil
}

func (r *HoldersReport) verdict(f *Filter) string {
	text := output.Count(r.Connections, "connection")
	if r.MaxClients > 0 {
		text += fmt.Sprintf(" of %d (%.0f%%)", r.MaxClients, 100*float64(r.Connections)/float64(r.MaxClients))
	}
	if f.IsSet() {
		text += fmt.Sprintf(", %d match %s", r.Matching, f.String())
	}
	if len(r.Groups) > 0 {
		g := r.Groups[0]
		text += fmt.Sprintf("; %s holds the most: %d", output.Printable(strings.Join(g.Key, " ")), g.Clients)
	}
	return text
}

// Print writes the report for people.
func (r *HoldersReport) Print() error {
	fmt.Printf("%s\n%s, %s, without this connection\n\n", r.Verdict, r.Addr, r.Server)
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%s\tconnections\tactive\tblocked\tsubscribed\tidle 60s+\toldest\tlongest idle\tmemory\n", strings.Join(r.By, "\t"))
	for _, g := range r.Groups {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t%s\n", columns(g.Key), g.Clients, g.Active, g.Blocked, g.Subscribed, g.Idle,
			time.Duration(g.OldestS)*time.Second, time.Duration(g.IdleS)*time.Second, output.Bytes(g.Memory))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Left > 0 {
		fmt.Printf("and %d more groups: --top 0 shows all\n", r.Left)
	}
	fmt.Printf("\nnot in blocked: %s\n", Unseen)
	next := "--by service,addr,cmd"
	if !r.longIdle {
		next = "--idle 10m"
	}
	fmt.Printf("\nnext: the same command with %s\n", next)
	return nil
}

// columns joins foreign text as the cells of a table row.
func columns(key []string) string {
	cells := make([]string, len(key))
	for i, k := range key {
		cells[i] = output.Printable(k)
	}
	return strings.Join(cells, "\t")
}
