package monitor

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Finding is a problem of a server's connections.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject,omitempty"` // the service that it concerns; empty: the server
	What     string   `json:"what"`
	Evidence string   `json:"evidence"`
	Remedy   string   `json:"remedy"`
}

// Thresholds of findings that need only two snapshots.
const (
	exhaustionSoon = 4 * time.Hour
	growthLeast    = 10   // connections between two snapshots: smaller growth is random
	buffersShare   = 0.10 // of the memory in use
	buffersLeast   = 64 << 20
)

// Diagnose returns the findings of two snapshots of a server, taken some seconds or more apart. It
// applies the rules that need one snapshot, and compares the two. The snapshots between them, in
// order, show the owners of short connections. The worst findings come first. It skips checks for
// which the server does not report the data.
func Diagnose(before, after *Snapshot, between ...*Snapshot) []Finding {
	d := &diagnosis{before: before, after: after}
	d.node = NodeState{Up: true, Last: after, Rates: RatesBetween(before, after)}
	if after.Clients != nil {
		d.node.List = after
		if before.Clients != nil && before.SameRun(after) {
			d.node.Before = before
		}
	}
	last := before
	for _, s := range append(between, after) {
		if s.Clients != nil && last.Clients != nil {
			d.node.churn = d.node.churn.between(last, s)
		}
		last = s
	}
	d.first("occupancy-critical", "occupancy-high")
	d.first("rejected")
	d.first("new-connections", "no-reuse")
	d.first("leak", "abandoned")
	d.rejectedBefore()
	d.growth()
	d.settings()
	d.buffers()
	d.libraries()
	slices.SortStableFunc(d.found, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return d.found
}

type diagnosis struct {
	before, after *Snapshot
	node          NodeState
	found         []Finding
}

func (d *diagnosis) add(f Finding) { d.found = append(d.found, f) }

// first adds the finding of the first rule that has one.
func (d *diagnosis) first(rules ...string) {
	v := &View{State: &State{At: d.after.At, Nodes: []NodeState{d.node}}}
	for _, name := range rules {
		kind := kindOf(name)
		list := kind.find(v, kind.Limit)
		for _, s := range list {
			s.Rule, s.Severity = name, kind.Severity
			d.add(s.Finding)
		}
		if len(list) > 0 {
			return
		}
	}
}

func (d *diagnosis) rejectedBefore() {
	n, ok := d.after.Info.Int("rejected_connections")
	if !ok || n == 0 || d.node.Rates.Rejected > 0 {
		return
	}
	uptime := "; the server does not report its uptime"
	if s := d.after.Info.Text("uptime_in_seconds"); s != "" {
		uptime = " after an uptime of " + s + " s"
	}
	d.add(Finding{Rule: "rejected", Severity: Note,
		What:     fmt.Sprintf("%d connections were rejected since the server started", n),
		Evidence: fmt.Sprintf("rejected_connections is %d%s", n, uptime),
		Remedy:   "maxclients was reached before: watch the occupancy (respool watch URL)"})
}

// growth finds services whose connections increased, and when that fills the server.
func (d *diagnosis) growth() {
	took := d.after.At.Sub(d.before.At)
	if d.node.Before == nil || took <= 0 {
		return
	}
	for _, g := range d.after.Clients.Sorted() {
		more := grown(&d.node, &g)
		// Random changes are about the square root of the number of connections.
		if more < growthLeast || float64(more) < 2*math.Sqrt(float64(g.Clients)) && more < g.Clients/2 {
			continue
		}
		minute := float64(more) / took.Minutes()
		f := Finding{Rule: "growth", Severity: Warn, Subject: g.Key[0],
			What:     fmt.Sprintf("%s opens %.0f connections a minute more than it closes", g.Key[0], minute),
			Evidence: fmt.Sprintf("%d connections, %v later %d", g.Clients-more, took.Round(time.Second), g.Clients),
			Remedy:   "check again in a minute; if it continues, the service does not release connections, or its pool has no limit"}
		if free := d.after.MaxClients - d.after.Connections; d.after.MaxClients > 0 {
			if left := time.Duration(float64(max(0, free)) / minute * float64(time.Minute)); left < exhaustionSoon {
				f.Severity = Page
				f.What += fmt.Sprintf("; at that rate the server is full in %v", left.Round(time.Second))
			}
		}
		d.add(f)
	}
}

func (d *diagnosis) settings() {
	if value, ok := d.after.Config["tcp-keepalive"]; ok && value == "0" {
		d.add(Finding{Rule: "tcp-keepalive", Severity: Warn,
			What:     "the server never checks whether its clients are alive",
			Evidence: "tcp-keepalive is 0",
			Remedy:   "CONFIG SET tcp-keepalive 300, so that the server closes connections of dead hosts"})
	}
	seconds, err := strconv.Atoi(d.after.Config["timeout"])
	if err == nil && seconds > 0 && seconds < 60 {
		d.add(Finding{Rule: "timeout", Severity: Note,
			What:     fmt.Sprintf("the server closes connections that are idle for %d s", seconds),
			Evidence: fmt.Sprintf("timeout is %d", seconds),
			Remedy:   "pools reopen them repeatedly: set a shorter idle timeout in the clients, or a longer timeout in the server"})
	}
}

// buffers finds memory of output buffers for clients that read slowly.
func (d *diagnosis) buffers() {
	clients, okC := d.after.Info.Int("mem_clients_normal")
	used, okU := d.after.Info.Int("used_memory")
	if !okC || !okU || clients < buffersLeast || float64(clients) < buffersShare*float64(used) {
		return
	}
	d.add(Finding{Rule: "buffers", Severity: Warn,
		What:     fmt.Sprintf("clients use %d MiB of the server's memory", clients>>20),
		Evidence: fmt.Sprintf("mem_clients_normal is %d, used_memory is %d", clients, used),
		Remedy:   "some clients read replies too slowly: look for a large omem in CLIENT LIST, and set client-output-buffer-limit"})
}
