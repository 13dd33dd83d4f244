package monitor

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Finding is something about a server's connections that is not as it should be.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Subject  string   `json:"subject,omitempty"` // the service it is about; empty: the server
	What     string   `json:"what"`
	Evidence string   `json:"evidence"`
	Remedy   string   `json:"remedy"`
}

// Thresholds of the rules.
const (
	occupancyWarning  = 0.70
	occupancyCritical = 0.85
	exhaustionSoon    = 4 * time.Hour
	stormRate         = 100.0 // new connections a second
	stormShare        = 0.01  // of all commands
	stormLeast        = 1.0   // a second: fewer are nobody's fault
	growthLeast       = 10    // connections between two snapshots: fewer are chance
	leakShare         = 0.5   // of a service's connections
	leakLeast         = 10
	buffersShare      = 0.10 // of the memory in use
	buffersLeast      = 64 << 20
)

// Diagnose judges two snapshots of a server, some seconds or more apart. The
// worst findings come first. It finds nothing where a server does not tell.
func Diagnose(before, after *Snapshot) []Finding {
	d := &diagnosis{before: before, after: after}
	d.occupancy()
	d.rejected()
	d.storm()
	d.growth()
	d.leaks()
	d.settings()
	d.buffers()
	slices.SortStableFunc(d.found, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	return d.found
}

type diagnosis struct {
	before, after *Snapshot
	found         []Finding
}

func (d *diagnosis) add(f Finding) { d.found = append(d.found, f) }

func (d *diagnosis) took() time.Duration { return d.after.At.Sub(d.before.At) }

func (d *diagnosis) occupancy() {
	share, ok := d.after.Occupancy()
	if !ok || share < occupancyWarning {
		return
	}
	severity := Ticket
	if share >= occupancyCritical {
		severity = Page
	}
	d.add(Finding{Rule: "occupancy", Severity: severity,
		What:     fmt.Sprintf("%.0f%% of maxclients are taken", 100*share),
		Evidence: fmt.Sprintf("%d connections of %d; past the limit nobody gets in, administrators neither", d.after.Connections, d.after.MaxClients),
		Remedy:   "see who holds them (respool who), bound the largest pools (respool plan), raise maxclients meanwhile"})
}

func (d *diagnosis) rejected() {
	const counter = "rejected_connections"
	if rate, ok := d.after.Rate(d.before, counter); ok && rate > 0 {
		d.add(Finding{Rule: "rejected", Severity: Page,
			What:     fmt.Sprintf("%.1f connections a second are turned away", rate),
			Evidence: "rejected_connections rose from " + d.before.Info.Text(counter) + " to " + d.after.Info.Text(counter),
			Remedy:   "the limit is reached: find the service that grows (respool who), and bound its pool"})
		return
	}
	if n, ok := d.after.Info.Int(counter); ok && n > 0 {
		d.add(Finding{Rule: "rejected", Severity: Note,
			What:     fmt.Sprintf("%d connections were turned away since the server started", n),
			Evidence: fmt.Sprintf("rejected_connections is %d after %s s", n, d.after.Info.Text("uptime_in_seconds")),
			Remedy:   "the limit was reached before: watch occupancy"})
	}
}

// storm finds connections that are opened for few commands each.
func (d *diagnosis) storm() {
	opened, ok := d.after.Rate(d.before, "total_connections_received")
	if !ok || opened < stormLeast {
		return
	}
	commands, ok := d.after.Rate(d.before, "total_commands_processed")
	share := 0.0
	if ok && commands > 0 {
		share = opened / commands
	}
	if opened < stormRate && share < stormShare {
		return
	}
	f := Finding{Rule: "no reuse", Severity: Warn,
		What:     fmt.Sprintf("%.0f connections a second are opened", opened),
		Evidence: fmt.Sprintf("%.0f commands a second, so %.1f for each connection", commands, commands/opened),
		Remedy:   "keep connections: one pool for a process, made once, not one for each request"}
	if service, n := d.youngest(); service != "" {
		f.Subject = service
		f.Evidence += fmt.Sprintf("; %d of those that are younger than that are %s's", n, service)
	}
	d.add(f)
}

// youngest is the service with the most connections that were opened since the
// first snapshot in the place of others.
func (d *diagnosis) youngest() (service string, n int) {
	if d.after.Clients == nil {
		return "", 0
	}
	for _, g := range d.after.Clients.Sorted() {
		young := g.Younger(d.took()+time.Second) - max(0, d.grown(&g))
		if young > n {
			service, n = g.Key[0], young
		}
	}
	return service, n
}

// grown is by how many connections a service has more than in the first snapshot.
func (d *diagnosis) grown(g *Group) int {
	if d.before.Clients == nil {
		return g.Clients
	}
	return g.Clients - d.before.Clients.Of(g.Key...)
}

// growth finds services whose connections became more, and when that fills the server.
func (d *diagnosis) growth() {
	if d.before.Clients == nil || d.after.Clients == nil || d.took() <= 0 {
		return
	}
	for _, g := range d.after.Clients.Sorted() {
		grown := d.grown(&g)
		// What came and went by chance is as much as the root of what there is.
		if grown < growthLeast || float64(grown) < 2*math.Sqrt(float64(g.Clients)) && grown < g.Clients/2 {
			continue
		}
		minute := float64(grown) / d.took().Minutes()
		f := Finding{Rule: "growth", Severity: Warn, Subject: g.Key[0],
			What:     fmt.Sprintf("%s opens %.0f connections a minute more than it closes", g.Key[0], minute),
			Evidence: fmt.Sprintf("%d, %v later %d", g.Clients-grown, d.took().Round(time.Second), g.Clients),
			Remedy:   "look again in a minute; if it goes on, connections are not given back or the pool has no bound"}
		if free := d.after.MaxClients - d.after.Connections; d.after.MaxClients > 0 {
			if left := time.Duration(float64(max(0, free)) / minute * float64(time.Minute)); left < exhaustionSoon {
				f.Severity = Page
				f.What += fmt.Sprintf("; at that rate the server is full in %v", left.Round(time.Second))
			}
		}
		d.add(f)
	}
}

// leaks finds services that hold connections and do nothing with them.
func (d *diagnosis) leaks() {
	if d.after.Clients == nil {
		return
	}
	for _, g := range d.after.Clients.Sorted() {
		idle := d.after.LongIdle[g.Key[0]]
		if idle < leakLeast || float64(idle) < leakShare*float64(g.Clients) {
			continue
		}
		d.add(Finding{Rule: "idle", Severity: Warn, Subject: g.Key[0],
			What:     fmt.Sprintf("%s holds %d connections that did nothing for %v or longer", g.Key[0], idle, LeakIdle),
			Evidence: fmt.Sprintf("%d of its %d; the longest for %v", idle, g.Clients, g.LongestIdle),
			Remedy:   "its pool is too large or connections are not given back: size it (respool plan), set an idle timeout"})
	}
}

func (d *diagnosis) settings() {
	if value, ok := d.after.Config["tcp-keepalive"]; ok && value == "0" {
		d.add(Finding{Rule: "tcp-keepalive", Severity: Warn,
			What:     "the server never looks whether its clients still live",
			Evidence: "tcp-keepalive is 0",
			Remedy:   "CONFIG SET tcp-keepalive 300: connections of hosts that are gone are closed then"})
	}
	seconds, err := strconv.Atoi(d.after.Config["timeout"])
	if err == nil && seconds > 0 && seconds < 60 {
		d.add(Finding{Rule: "timeout", Severity: Note,
			What:     fmt.Sprintf("the server closes connections that are idle for %d s", seconds),
			Evidence: fmt.Sprintf("timeout is %d", seconds),
			Remedy:   "pools open them again and again: let the clients' idle timeout be shorter, or this one longer"})
	}
}

// buffers finds memory that waits for clients that read slowly.
func (d *diagnosis) buffers() {
	clients, okC := d.after.Info.Int("mem_clients_normal")
	used, okU := d.after.Info.Int("used_memory")
	if !okC || !okU || clients < buffersLeast || float64(clients) < buffersShare*float64(used) {
		return
	}
	d.add(Finding{Rule: "buffers", Severity: Warn,
		What:     fmt.Sprintf("clients take %d MiB of the server's memory", clients>>20),
		Evidence: fmt.Sprintf("mem_clients_normal is %d of %d in use", clients, used),
		Remedy:   "some read slower than they ask: look for large omem in CLIENT LIST, and bound client-output-buffer-limit"})
}
