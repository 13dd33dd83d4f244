package monitor

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor/internal/commands"
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
	d.first("leak", "abandoned")
	d.rejectedBefore()
	d.growth()
	d.settings()
	d.buffers()
	d.slowCommands()
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
			Evidence: fmt.Sprintf("%d of its %d connections are blocked; the oldest is open for %s", g.Blocked, g.Clients, roughly(g.Oldest)),
			Remedy:   "consumers of empty queues wait so: if there should be work, check the producers; fewer consumers, or a client or gateway of respool, need fewer connections; list them: respool who URL --by service,cmd"})
	}
}

// RuleBuffers is the rule of findings about the memory of clients. Each of them is about one client.
const RuleBuffers = "buffers"

const (
	heavyLeast = 16 << 20 // bytes in the buffers of a client
	heavyMost  = 3        // clients that are named
)

// Buffered returns the memory that the server holds for a client's commands and replies, in bytes.
func (c *Client) Buffered() int64 { return max(0, c.OutputMemory) + max(0, c.QueryBuffer) }

// weigh keeps a client if it is one of the heaviest.
func (s *Snapshot) weigh(c *Client) {
	if c.Buffered() < heavyLeast {
		return
	}
	at, _ := slices.BinarySearchFunc(s.Heavy, c, func(a Client, b *Client) int { return cmp.Compare(b.Buffered(), a.Buffered()) })
	s.Heavy = slices.Insert(s.Heavy, at, *c)
	s.Heavy = s.Heavy[:min(len(s.Heavy), heavyMost)]
}

// buffers names the clients that hold memory in their buffers. Without a list of clients, only the
// sum is known.
func (d *diagnosis) buffers() {
	for i := range d.after.Heavy {
		d.add(heavy(&d.after.Heavy[i]))
	}
	clients, okC := d.after.Info.Int("mem_clients_normal")
	used, okU := d.after.Info.Int("used_memory")
	if len(d.after.Heavy) > 0 || !okC || !okU || clients < buffersLeast || float64(clients) < buffersShare*float64(used) {
		return
	}
	f := Finding{Rule: RuleBuffers, Severity: Warn,
		What:     fmt.Sprintf("clients use %d MiB of the server's memory", clients>>20),
		Evidence: fmt.Sprintf("mem_clients_normal is %d, used_memory is %d", clients, used),
		Remedy:   "many clients hold some each: respool who URL --sort memory; reduce their number, or the size of their replies"}
	if d.after.Clients == nil {
		f.Evidence += "; CLIENT LIST was not read, so the clients are unknown"
		f.Remedy = "some clients may read replies too slowly: permit CLIENT LIST to see which, and set client-output-buffer-limit"
	}
	d.add(f)
}

func heavy(c *Client) Finding {
	where, cause := "replies that it does not read", "it reads replies too slowly"
	switch {
	case c.QueryBuffer > c.OutputMemory:
		where, cause = "a command that it has not sent completely", "it sends very large commands"
	case c.Subscribed():
		where, cause = "messages that it does not read", "the subscriber reads messages too slowly"
	case strings.Contains(c.Flags, "O"):
		where, cause = "the output of MONITOR that it does not read", "stop MONITOR there"
	}
	f := Finding{Rule: RuleBuffers, Severity: Warn, Subject: c.Service(),
		What: fmt.Sprintf("client %d (%s) of %s holds %d MiB of %s", c.ID, c.Addr, c.Service(), c.Buffered()>>20, where),
		Evidence: fmt.Sprintf("CLIENT LIST: output %d MiB (omem), input %d MiB (qbuf), last command %s, connected for %s, idle for %s",
			c.OutputMemory>>20, c.QueryBuffer>>20, cmp.Or(strings.ToUpper(c.Command), "none"), roughly(c.Age), roughly(c.Idle)),
		Remedy: fmt.Sprintf("%s: correct that, or set client-output-buffer-limit; to free the memory now, if it may reconnect: respool kill URL --addr %s --id %d --yes", cause, c.Addr, c.ID)}
	if c.Name != "" {
		f.Evidence = "its name is " + c.Name + "; " + f.Evidence
	}
	if strings.Contains(c.Flags, "O") { // respool kill spares MONITOR
		f.Remedy = fmt.Sprintf("%s, or run CLIENT KILL ID %d", cause, c.ID)
	}
	return f
}

// recentSlow is the maximum age of a slow command that ended before the first look.
const recentSlow = 10 * time.Minute

// slowCommands names the commands that delay all others, and who sends them.
func (d *diagnosis) slowCommands() {
	before, after := d.before.load, d.after.load
	if before == nil || after == nil || !d.before.SameRun(d.after) {
		return
	}
	now := d.after.At
	if micros, ok := d.after.Info.Int("server_time_usec"); ok {
		now = time.UnixMicro(micros)
	}
	log := slices.DeleteFunc(slices.Clone(after.slow), func(s commands.Slow) bool {
		return s.ID <= before.newest && now.Sub(s.At) > recentSlow
	})
	took := max(after.at.Sub(before.at), time.Millisecond)
	for _, c := range commands.Costly(before.stats, after.stats, log, before.newest, took) {
		d.add(d.slowCommand(&c, took, now))
	}
}

func (d *diagnosis) slowCommand(c *commands.Cost, took time.Duration, now time.Time) Finding {
	name := strings.ToUpper(strings.ReplaceAll(c.Command, "|", " "))
	f := Finding{Rule: "slow-command", Severity: Warn,
		What: fmt.Sprintf("%s takes %s a call, and no other command runs meanwhile", name, millis(c.Average())),
		Evidence: fmt.Sprintf("%s in %s, %s in total (%.0f%% of the time)",
			counted(c.Calls, "call"), roughly(took), millis(c.Time), 100*c.Time.Seconds()/took.Seconds())}
	if !c.Recent {
		f.Severity = Note
		f.What = fmt.Sprintf("%s took %s, and no other command ran meanwhile", name, millis(c.Slow[0].Took))
		last := slices.MaxFunc(c.Slow, func(a, b commands.Slow) int { return cmp.Compare(a.ID, b.ID) })
		f.Evidence = fmt.Sprintf("%s in SLOWLOG in the last %.0f min, the newest %s ago; none between the two looks",
			counted(len(c.Slow), "call"), recentSlow.Minutes(), roughly(max(0, now.Sub(last.At))))
	}
	if len(c.Slow) > 0 {
		s := &c.Slow[0]
		f.Evidence += fmt.Sprintf("; the longest in SLOWLOG took %s", millis(s.Took))
		if s.Key != "" {
			f.Evidence += ": " + name + " " + s.Key
		}
		if s.Addr != "" {
			f.Evidence += " from " + s.Addr
		}
		if s.Name != "" {
			f.Evidence += ", named " + s.Name
		}
	}
	senders, source := d.senders(c)
	if len(senders) > 0 {
		f.Subject = senders[0]
		f.What += "; sent by " + strings.Join(senders, ", ")
	}
	if source != "" {
		f.Evidence += "; " + source
	}
	f.Remedy = commands.Remedy(c.Command) + "; who sends it: respool who URL --cmd '" + c.Command + "' --by service,addr"
	return f
}

// sendersMost limits how many senders of a command are named.
const sendersMost = 3

// senders returns the services that send a command, those with the most slow calls first, and how
// that is known. Without the slow log, they are those whose last command it was.
func (d *diagnosis) senders(c *commands.Cost) (services []string, source string) {
	calls := map[string]int{}
	for _, s := range c.Slow {
		if s.Addr != "" {
			calls[(&Client{Addr: s.Addr, Name: s.Name}).Service()]++
		}
	}
	if len(calls) == 0 {
		last := 0
		for _, snap := range []*Snapshot{d.before, d.after} {
			if snap.senders == nil {
				continue
			}
			for _, g := range snap.senders.Sorted() {
				if g.Key[0] == c.Command {
					calls[g.Key[1]] = max(calls[g.Key[1]], g.Clients)
				}
			}
		}
		for _, n := range calls {
			last += n
		}
		source = fmt.Sprintf("in CLIENT LIST it is the last command of %s", counted(last, "client"))
		if last == 0 {
			source = "no client in CLIENT LIST sent it last"
		}
		if d.after.Clients == nil {
			source = "CLIENT LIST was not read"
		}
		if d.after.load.refused {
			source += "; SLOWLOG was not read"
		}
	}
	services = slices.SortedFunc(maps.Keys(calls), func(a, b string) int {
		return cmp.Or(cmp.Compare(calls[b], calls[a]), cmp.Compare(a, b))
	})
	return services[:min(len(services), sendersMost)], source
}

// millis formats the time of a command.
func millis(d time.Duration) string {
	if d >= 10*time.Second {
		return roughly(d)
	}
	return rateText(float64(d.Microseconds())/1000) + " ms"
}
