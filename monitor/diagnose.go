package monitor

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	Node     string   `json:"node,omitempty"` // the server's address; empty: not about one of several servers
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
	d.kind()
	d.first("blind")
	d.first("partly-blind")
	d.first("occupancy-critical", "occupancy-high")
	d.first("rejected")
	d.first("new-connections", "no-reuse")
	for i := range d.found {
		d.found[i].Remedy = strings.TrimSuffix(d.found[i].Remedy, findStorm) // this is that diagnosis
	}
	d.first("leak", "abandoned")
	d.rejectedBefore()
	d.growth()
	d.settings()
	d.buffers()
	for _, f := range slowCommands(before, after, 0) {
		d.add(f)
	}
	d.blocked()
	d.libraries()
	d.unnamed()
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
		for _, f := range list {
			f.Rule, f.Severity = name, kind.Severity
			d.add(f)
		}
		if len(list) > 0 {
			return
		}
	}
}

// kind notes that the findings are not about a server of Redis that clients use directly.
func (d *diagnosis) kind() {
	info := d.after.Info
	servers, gateway := info.Gateway()
	if info.Embedded() {
		d.add(Finding{Rule: "embedded", Severity: Note,
			What:     "this is the server embedded in respool: it is for trials, has no connection limit, and loses all data at exit",
			Evidence: "INFO has the field " + fieldEmbedded,
			Remedy:   "use a server of Redis: respool serve URL"})
		return
	}
	if !gateway {
		return
	}
	f := Finding{Rule: "gateway", Severity: Note,
		What:     "this is a gateway of respool: INFO, and all numbers here, are of the server behind it; its own clients are not among them",
		Evidence: "it replies to RESPOOL SERVERS",
		Remedy:   "for the holders of connections examine the server: respool doctor URL-OF-THE-SERVER; for the clients of the gateway: respool who with this URL, RESPOOL POOLS, and its page /metrics"}
	if len(servers) > 0 {
		f.Evidence += ", and names " + strings.Join(servers, ", ")
		f.Remedy = strings.Replace(f.Remedy, "URL-OF-THE-SERVER", "redis://"+servers[0], 1)
	}
	d.add(f)
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
		if free := d.after.MaxClients - d.after.Connections; d.after.MaxClients > 0 && !d.after.Uncounted {
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

// blockedMany is the number of blocked connections of a service that is worth a note.
const blockedMany = 20

// blocked names the services that hold many connections only to wait.
func (d *diagnosis) blocked() {
	if d.after.Clients == nil {
		return
	}
	for _, g := range d.after.Clients.Sorted() {
		if g.Blocked < blockedMany {
			continue
		}
		d.add(Finding{Rule: "blocked", Severity: Note, Subject: g.Key[0],
			What:     fmt.Sprintf("%s holds %d connections that wait in blocking commands", g.Key[0], g.Blocked),
			Evidence: fmt.Sprintf("%d of its %d connections are blocked; the oldest is open for %s", g.Blocked, g.Clients, roughly(g.Oldest)) + blockedKeys(d.after),
			Remedy:   "consumers of empty queues wait so: if there should be work, check the producers; fewer consumers, or a client or gateway of respool, need fewer connections; list them: respool who URL --by service,cmd; to close them: respool kill URL " + d.after.blockedFilter(g.Key[0]) + " --yes"})
	}
}

// blockedFilter returns the flags of respool kill for the blocked connections with the most common service and command, of
// these services or of any; empty if none is blocked. kill --idle spares blocked connections.
func (s *Snapshot) blockedFilter(services ...string) string {
	var most *Group
	list := s.senders.Sorted()
	for i := range list {
		g := &list[i]
		if g.Blocked > 0 && (most == nil || g.Blocked > most.Blocked) && (len(services) == 0 || slices.Contains(services, g.Key[1])) {
			most = g
		}
	}
	if most == nil {
		return ""
	}
	return "--service " + ShellWord(most.Key[1]) + " --cmd " + ShellWord(most.Key[0])
}

// blockedKeys states the number of keys that blocked clients wait for, if the server reports it.
func blockedKeys(s *Snapshot) string {
	if n, ok := s.Info.Int("total_blocking_keys"); ok {
		return "; all blocked clients wait for " + counted(n, "key") + ", as INFO counts them"
	}
	return ""
}

var plainWord = regexp.MustCompile(`^[\w.:/@-]+$`)

// ShellWord quotes a text for a shell, if that is necessary.
func ShellWord(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
