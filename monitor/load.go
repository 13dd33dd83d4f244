package monitor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor/internal/commands"
)

// The costs of commands and of clients: SLOWLOG, INFO commandstats, and buffers.

// load is what commands cost, by a server's counts. stats is nil if they were not read.
type load struct {
	at      time.Time // of stats
	stats   map[string]commands.Stat
	slow    []commands.Slow // the newest entries of the slow log, without those of the monitor
	newest  int64           // the newest entry; -1: none
	refused bool            // the slow log was not read
}

// slowEntries limits how much of the slow log is read. Its usual length is 128.
const slowEntries = 128

// lookAtLoad returns a snapshot with the clients and what commands cost.
func (p *Probe) lookAtLoad(ctx context.Context) (*Snapshot, error) {
	snap, err := p.Look(ctx, true)
	if err != nil {
		return nil, err
	}
	return snap, p.addLoad(ctx, snap)
}

// addLoad adds what commands cost to a snapshot.
func (p *Probe) addLoad(ctx context.Context, snap *Snapshot) error {
	at, stats, slow, err := p.askLoad(ctx, snap.Config, p.own)
	if err == nil {
		snap.load, snap.Refused = newLoad(at, stats, slow, p.refused), p.Refused()
	}
	return err
}

// askLoad returns the text of INFO commandstats, and the newest entries of the slow log. own is the name of connections that
// only the caller uses, whose entries it leaves out; empty: none.
func (p *Probe) askLoad(ctx context.Context, config map[string]string, own string) (at time.Time, stats string, slow []commands.Slow, err error) {
	text, err := p.ask(ctx, askStats, "INFO", "commandstats")
	if err != nil {
		return at, "", nil, err
	}
	at, stats = time.Now(), string(text)
	if p.refused[askStats] == "" && commands.ParseStats(stats) == nil {
		p.refused[askStats] = "the server does not report what its commands cost"
	}
	slow, err = commands.ParseSlow(p.c.Do(ctx, "SLOWLOG", "GET", slowEntries))
	if err := p.note(askSlow, err); err != nil {
		return at, "", nil, err
	}
	if reason := p.refused[askSlow]; reason != "" {
		p.refused[askSlow] = reason + ": slow commands and their senders are not visible; grant +slowlog|get"
	} else if config["slowlog-log-slower-than"] == "-1" || config["slowlog-max-len"] == "0" {
		p.refused[askSlow] = "the server keeps no slow log: CONFIG SET slowlog-log-slower-than 10000, slowlog-max-len 128"
	}
	slow = slices.DeleteFunc(slow, func(s commands.Slow) bool { return own != "" && s.Name == own })
	return at, stats, slow, nil
}

// newLoad parses what askLoad returned. refused are the refused commands.
func newLoad(at time.Time, stats string, slow []commands.Slow, refused map[string]string) *load {
	l := &load{at: at, stats: commands.ParseStats(stats), slow: slow, newest: -1, refused: refused[askSlow] != ""}
	for _, s := range slow {
		l.newest = max(l.newest, s.ID)
	}
	return l
}

// RuleBuffers is the rule of findings about the memory of clients. Each of them is about one client.
const RuleBuffers = "buffers"

const (
	heavyLeast = 16 << 20 // bytes in the buffers of a client
	heavyMost  = 3        // clients that are named
)

// Buffered returns the memory that the server holds for a client's commands and replies, in bytes.
func (c *Client) Buffered() int64 { return max(0, c.OutputMemory) + max(0, c.QueryBuffer) }

// findBuffers names the clients that hold most memory in their buffers, one of each service.
func findBuffers(v *View, limit float64) (list []Finding) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if !n.Up || n.List == nil {
			continue
		}
		var here []Finding
		for i := range n.List.Heavy {
			if c := &n.List.Heavy[i]; float64(c.Buffered()) >= limit*(1<<20) {
				here = append(here, heavy(c))
			}
		}
		list = append(list, onePerSubject(here, n.Addr)...)
	}
	return list
}

// findSlowCommands names the commands that delayed all others between the last two readings of what commands cost.
func findSlowCommands(v *View, limit float64) (list []Finding) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if before, after := n.loads[0], n.loads[1]; n.Up && before != nil {
			list = append(list, onePerSubject(slowCommands(before, after, limit), n.Addr)...)
		}
	}
	return list
}

// SlowCommands returns the commands that delayed all others between the last two readings of what commands cost, and those that
// the slow log shows before. known is false while there are no two readings of the same run.
func (s *NodeState) SlowCommands() (list []Finding, known bool) {
	if s.loads[0] == nil || s.loads[1] == nil {
		return nil, false
	}
	return slowCommands(s.loads[0], s.loads[1], 0), true
}

// onePerSubject sets the node of findings, and joins those about the same subject: alerts are by rule, node and subject.
func onePerSubject(findings []Finding, node string) (list []Finding) {
	for _, f := range findings {
		f.Node = node
		i := slices.IndexFunc(list, func(one Finding) bool { return one.Subject == f.Subject })
		if i < 0 {
			list = append(list, f)
			continue
		}
		list[i].Evidence += "; also: " + f.What
	}
	return list
}

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

// slowCommands names the commands that delayed all others between two snapshots, and who sends them. With a limit, in
// milliseconds for each call, it leaves out those that took less, and those before the first snapshot.
func slowCommands(before, after *Snapshot, limit float64) (list []Finding) {
	was, is := before.load, after.load
	if was == nil || is == nil || !before.SameRun(after) {
		return nil
	}
	now := after.At
	if micros, ok := after.Info.Int("server_time_usec"); ok {
		now = time.UnixMicro(micros)
	}
	log := slices.DeleteFunc(slices.Clone(is.slow), func(s commands.Slow) bool {
		return s.ID <= was.newest && now.Sub(s.At) > recentSlow
	})
	took := max(is.at.Sub(was.at), time.Millisecond)
	for _, c := range commands.Costly(was.stats, is.stats, log, was.newest, took) {
		if limit == 0 || c.Recent && c.Average().Seconds()*1000 >= limit {
			list = append(list, slowCommand(&c, before, after, now))
		}
	}
	return list
}

func slowCommand(c *commands.Cost, before, after *Snapshot, now time.Time) Finding {
	took := max(after.load.at.Sub(before.load.at), time.Millisecond)
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
	senders, source := sendersOf(c, before, after)
	if len(senders) > 0 {
		f.Subject = senders[0]
		f.What += "; sent by " + strings.Join(senders, ", ")
	}
	if source != "" {
		f.Evidence += "; " + source
	}
	f.Remedy = commands.Remedy(c.Command) + "; who sends it: respool who URL --cmd " + ShellWord(c.Command) + " --by service,addr"
	return f
}

// sendersMost limits how many senders of a command are named.
const sendersMost = 3

// sendersOf returns the services that send a command, those with the most slow calls first, and how
// that is known. Without the slow log, they are those whose last command it was.
func sendersOf(c *commands.Cost, before, after *Snapshot) (services []string, source string) {
	calls := map[string]int{}
	for _, s := range c.Slow {
		if s.Addr != "" {
			calls[(&Client{Addr: s.Addr, Name: s.Name}).Service()]++
		}
	}
	if len(calls) == 0 {
		last := 0
		for _, snap := range []*Snapshot{before, after} {
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
		if after.Clients == nil {
			source = "CLIENT LIST was not read"
		}
		if after.load.refused {
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
