package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// level is the urgency of a text, by its color.
type level string

const (
	unknown  level = "unknown" // nothing is known: never shown as fine
	fine     level = "fine"
	warning  level = "warning"
	critical level = "critical"
)

// rank orders levels. Nothing is known: that needs more attention than what is fine.
var rank = map[level]int{fine: 0, unknown: 1, warning: 2, critical: 3}

func worse(a, b level) level {
	if rank[b] > rank[a] {
		return b
	}
	return a
}

func levelOfSeverity(s monitor.Severity) level {
	switch {
	case s == monitor.Page:
		return critical
	case s >= monitor.Warn:
		return warning
	}
	return fine
}

// levelOfNode is the urgency of a node's state, without its alerts.
func levelOfNode(n *monitor.NodeState) level {
	switch {
	case n.Last == nil && n.Err == nil:
		return unknown
	case n.Last != nil && n.Up:
		if reason, _ := n.Last.Blind(); reason != "" {
			return critical
		}
	}
	switch summary.LevelOf(n) {
	case summary.Critical:
		return critical
	case summary.Warning:
		return warning
	}
	return fine
}

// view is a snapshot. Unknown values are absent.
type view struct {
	At        float64   `json:"at"`            // of the state, in seconds since 1970
	Age       *float64  `json:"age,omitempty"` // of the data of the node at the time of the snapshot, in seconds; absent: there are none
	Every     float64   `json:"every"`         // seconds
	Command   string    `json:"command"`
	Node      string    `json:"node"`
	Title     string    `json:"title"` // of the node
	Verdict   verdict   `json:"verdict"`
	Point     *point    `json:"point,omitempty"`
	Marks     []mark    `json:"marks"`
	Occupancy occupied  `json:"occupancy"`
	Findings  []found   `json:"findings"`
	Churn     churn     `json:"churn"`
	Heavy     heavy     `json:"heavy"`
	Observed  *observed `json:"observed,omitempty"` // absent: there is no gateway
	Alerts    []alert   `json:"alerts"`
	Sinks     []sink    `json:"sinks"`
	Plan      plan      `json:"plan"`
	Nodes     []node    `json:"nodes"`
	Cluster   string    `json:"cluster,omitempty"`
	Gateway   *picture  `json:"gateway,omitempty"`
}

type verdict struct {
	Level  level    `json:"level"`
	Text   string   `json:"text"`
	Alerts string   `json:"alerts"` // the worst alerts in words
	Rights []string `json:"rights"` // missing rights, and what cannot be seen
}

type occupied struct {
	Text     string           `json:"text"`
	Level    level            `json:"level"`
	Limit    int64            `json:"limit,omitempty"`
	Lines    []line           `json:"lines"` // at which alerts begin
	Forecast *report.Forecast `json:"forecast,omitempty"`
	Outlook  string           `json:"outlook"` // the forecast in words, or why there is none
	Restarts int              `json:"restarts"`
}

// line is the limit of an alert.
type line struct {
	Share float64 `json:"share"` // of the limit
	Rule  string  `json:"rule"`
	Level level   `json:"level"`
}

type node struct {
	Addr     string   `json:"addr"`
	Title    string   `json:"title"`
	Role     string   `json:"role"`
	Level    level    `json:"level"`
	Text     string   `json:"text"`
	Server   string   `json:"server"`
	Filled   string   `json:"filled"` // connections of the limit
	Opened   *float64 `json:"opened,omitempty"`
	Rejected *float64 `json:"rejected,omitempty"`
	Commands *float64 `json:"commands,omitempty"`
	Restarts int      `json:"restarts"`
}

// builder makes views of one state.
type builder struct {
	p        *Page
	st       *monitor.State
	now      time.Time
	settings Settings
	alerts   []monitor.Alert
	nodes    []*monitor.NodeState
	levels   map[string]level // by node, with the alerts
	gateway  *gatewayWatch
}

func (p *Page) build(st *monitor.State) *builder {
	b := &builder{p: p, st: st, now: time.Now(), settings: p.cfg.Source.Settings(), alerts: p.cfg.Source.Alerts(), levels: map[string]level{}, gateway: p.gateway}
	for i := range st.Nodes {
		b.nodes = append(b.nodes, &st.Nodes[i])
	}
	if p.gateway != nil {
		b.nodes = append(b.nodes, p.gateway.node())
	}
	for _, n := range b.nodes {
		b.levels[n.Addr] = levelOfNode(n)
		for _, f := range p.extraOf(n) {
			b.levels[n.Addr] = worse(b.levels[n.Addr], levelOfSeverity(f.Severity))
		}
	}
	for _, a := range b.alerts {
		if l, ok := b.levels[a.Node]; ok && a.State == monitor.Firing {
			b.levels[a.Node] = worse(l, levelOfSeverity(a.Severity))
		}
	}
	return b
}

// worst returns the node that needs attention most: by its level, then by its share of the limit.
func (b *builder) worst() string {
	if len(b.nodes) == 0 {
		return ""
	}
	share := func(n *monitor.NodeState) float64 {
		if n.Last == nil {
			return 0
		}
		of, _ := n.Last.Occupancy()
		return of
	}
	return slices.MaxFunc(b.nodes, func(x, y *monitor.NodeState) int { // the first one of equals
		return cmp.Or(cmp.Compare(rank[b.levels[x.Addr]], rank[b.levels[y.Addr]]), cmp.Compare(share(x), share(y)))
	}).Addr
}

func (b *builder) state(addr string) *monitor.NodeState {
	for _, n := range b.nodes {
		if n.Addr == addr {
			return n
		}
	}
	return nil
}

// nameOf is the name of a node for people.
func nameOf(n *monitor.NodeState) string {
	if n.Addr == GatewayNode {
		return "clients of this gateway"
	}
	return summary.NodeName(n, false)
}

func (b *builder) view(addr string) *view {
	v := &view{At: float64(b.st.At.UnixMilli()) / 1000, Every: b.p.cfg.Source.Every().Seconds(), Command: b.p.cfg.Command, Node: addr,
		Verdict: b.verdict(), Findings: b.findings(), Sinks: sinksOf(b.p.cfg.Source.QueueStats()), Nodes: b.nodeRows(), Gateway: b.picture(), Observed: b.observed()}
	v.Alerts = b.alertRows()
	if c := report.OfCluster(b.st); c != nil {
		v.Cluster = prose(c.String())
	}
	n := b.state(addr)
	v.Plan = b.plan(n)
	if n == nil {
		v.Occupancy = occupied{Text: "no server was read yet", Level: unknown, Lines: []line{}, Outlook: ""}
		return v
	}
	v.Title = nameOf(n)
	if n.Last != nil {
		v.Age = new(b.now.Sub(n.Last.At).Seconds())
	}
	v.Occupancy, v.Churn, v.Heavy = b.occupancy(n), churnOf(n), b.heavy(n)
	return v
}

func (b *builder) verdict() verdict {
	v := verdict{Level: unknown, Text: "no server was read yet", Alerts: prose(monitor.SummaryOfAlerts(b.alerts)), Rights: b.rights()}
	if b.st.Err != nil {
		v.Level, v.Text = critical, output.Error(b.st.Err)
		return v
	}
	n := b.state(b.worst())
	if n == nil {
		return v
	}
	v.Level, v.Text = b.levels[n.Addr], output.Shorten(b.verdictOf(n), longestText)
	for _, a := range b.alerts {
		if a.State == monitor.Firing {
			v.Level = worse(v.Level, levelOfSeverity(a.Severity))
		}
	}
	if len(v.Rights) > 0 {
		v.Level = worse(v.Level, critical)
	}
	if len(b.nodes) == 1 {
		return v
	}
	v.Text = nameOf(n) + ": " + v.Text
	count := map[level]int{}
	for _, other := range b.nodes {
		if other != n {
			count[b.levels[other.Addr]]++
		}
	}
	for _, one := range []struct {
		level level
		text  string
	}{{critical, "critical"}, {warning, "with a warning"}, {unknown, "unknown"}, {fine, "fine"}} {
		if count[one.level] > 0 {
			v.Text += fmt.Sprintf("; %d other %s", count[one.level], one.text)
		}
	}
	return v
}

// verdictOf is the state of a node in one sentence.
func (b *builder) verdictOf(n *monitor.NodeState) string {
	if n.Addr != GatewayNode {
		return summary.Verdict(n, b.now, false)
	}
	if n.Last == nil {
		return "not read yet"
	}
	text := strings.Replace(summary.Occupancy(n.Last, false), " connections", " clients", 1)
	for _, f := range b.p.extraOf(n) {
		if f.Severity > monitor.Note { // the worst one comes first
			return text + ", " + prose(f.What)
		}
	}
	return text
}

// rights lists what the watch may not see, with what to do.
func (b *builder) rights() []string {
	list := []string{}
	for _, n := range b.nodes {
		where := ""
		if len(b.nodes) > 1 {
			where = nameOf(n) + ": "
		}
		if n.Last != nil && n.Up {
			if reason, remedy := n.Last.Blind(); reason != "" {
				list = append(list, where+"cannot judge: "+prose(reason)+": "+prose(remedy))
			}
			if n.Last.Info.Embedded() {
				continue // no right would help
			}
		}
		for _, what := range slices.Sorted(maps.Keys(n.Refused)) {
			list = append(list, where+cell(what)+" is not read: "+prose(n.Refused[what]))
		}
	}
	return list
}

func (b *builder) occupancy(n *monitor.NodeState) occupied {
	r := report.OfNode(n)
	o := occupied{Text: output.Shorten(b.verdictOf(n), longestText), Level: b.levels[n.Addr], Limit: r.MaxClients, Forecast: r.Forecast, Restarts: n.Restarts, Lines: []line{}}
	switch {
	case n.Addr == GatewayNode:
		o.Outlook = ""
	case n.Forecast.Exists:
		o.Outlook = summary.Forecast(&n.Forecast, false)
	default:
		o.Outlook = "no forecast: " + n.Forecast.Missing.String()
	}
	if n.Addr == GatewayNode {
		return o
	}
	for _, rule := range b.settings.Rules {
		if rule.Name == "occupancy-high" || rule.Name == "occupancy-critical" {
			o.Lines = append(o.Lines, line{rule.Limit, rule.Name, levelOfSeverity(rule.Severity)})
		}
	}
	slices.SortFunc(o.Lines, func(a, b line) int { return cmp.Compare(a.Share, b.Share) })
	return o
}

func (b *builder) nodeRows() []node {
	rows := []node{}
	for _, n := range b.nodes {
		row := node{Addr: n.Addr, Title: nameOf(n), Role: cmp.Or(n.Role, "unknown"), Level: b.levels[n.Addr], Text: prose(b.verdictOf(n)), Restarts: n.Restarts, Filled: "unknown"}
		if n.Last != nil {
			if n.Addr != GatewayNode {
				row.Server = cell(n.Last.Info.Server())
			}
			if n.Up && !n.Last.Uncounted {
				row.Filled = report.Filled(n.Last.Connections, n.Last.MaxClients)
			}
		}
		if n.Rates.Known && n.Up {
			row.Opened, row.Rejected, row.Commands = &n.Rates.Opened, &n.Rates.Rejected, &n.Rates.Commands
		}
		rows = append(rows, row)
	}
	return rows
}
