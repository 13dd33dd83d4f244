package live

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// found is a finding, with what to do.
type found struct {
	Level    level  `json:"level"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	State    string `json:"state"` // firing, pending, or seen: no rule sends it
	Where    string `json:"where,omitempty"`
	What     string `json:"what"`
	Seen     string `json:"seen"`
	Do       string `json:"do"`
}

// alert is a row of the alerts.
type alert struct {
	Level    level   `json:"level"`
	Rule     string  `json:"rule"`
	Severity string  `json:"severity"`
	State    string  `json:"state"`
	Where    string  `json:"where,omitempty"`
	What     string  `json:"what"`
	Since    float64 `json:"since"` // seconds since 1970: began, fired or resolved
	Sinks    []sent  `json:"sinks"`
}

// sent is what became of an alert in one sink.
type sent struct {
	Sink  string  `json:"sink"`
	Level level   `json:"level"`
	Text  string  `json:"text"`
	At    float64 `json:"at,omitempty"` // seconds since 1970
}

type sink struct {
	Name      string  `json:"name"`
	Level     level   `json:"level"`
	Waiting   int     `json:"waiting"`
	Delivered uint64  `json:"delivered"`
	Failed    uint64  `json:"failed"`
	Dropped   uint64  `json:"dropped"`
	LastError string  `json:"last_error,omitempty"`
	FailedAt  float64 `json:"failed_at,omitempty"`
}

// extraFindings are the findings of a node that no rule sends. They change with the lists of clients.
type extraFindings struct {
	list     *monitor.Snapshot
	findings []monitor.Finding
}

// growthSpan is the least time between two lists that show growth. Nobody is called for it: a deployment grows too.
const growthSpan = 30 * time.Second

// extraOf returns the findings of a node's last two lists of clients that are not findings of the rules. Those of a gateway's
// clients are all of them, since no rule examines these.
func (p *Page) extraOf(n *monitor.NodeState) []monitor.Finding {
	if n.List == nil || n.Before == nil || !n.Up {
		return nil
	}
	p.mu.Lock()
	known, ok := p.extra[n.Addr]
	p.mu.Unlock()
	if ok && known.list == n.List {
		return known.findings
	}
	before := n.Before
	if n.Addr == GatewayNode && n.Earlier != nil {
		before = n.Earlier
	}
	known = extraFindings{list: n.List}
	for _, f := range monitor.Diagnose(before, n.List) {
		ruled := slices.Contains(monitor.RuleNames(), f.Rule) && f.Severity > monitor.Note && n.Addr != GatewayNode
		if f.Severity = min(f.Severity, monitor.Warn); !ruled && !(f.Rule == "growth" && n.List.At.Sub(before.At) < growthSpan) {
			known.findings = append(known.findings, f)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.extra[n.Addr] = known
	return known.findings
}

// findings are the alerts that fire or are pending, and what the lists of clients show beside.
func (b *builder) findings() []found {
	list := []found{}
	seen := map[string]bool{}
	for i := range b.alerts {
		a := &b.alerts[i]
		if a.State == monitor.Resolved {
			continue
		}
		seen[a.ID()] = true
		list = append(list, b.found(&a.Finding, a.State.String()))
	}
	for _, n := range b.nodes {
		for _, f := range b.p.extraOf(n) {
			f.Node = n.Addr
			if !seen[fmt.Sprintf("%s/%s/%s", f.Rule, f.Node, f.Subject)] {
				list = append(list, b.found(&f, "seen"))
			}
		}
	}
	slices.SortStableFunc(list, func(x, y found) int { return cmp.Compare(rank[y.Level], rank[x.Level]) })
	return list
}

func (b *builder) found(f *monitor.Finding, state string) found {
	return found{Level: levelOfSeverity(f.Severity), Rule: f.Rule, Severity: f.Severity.String(), State: state, Where: b.where(f.Node),
		What: prose(f.What), Seen: prose(f.Evidence), Do: prose(b.remedy(f))}
}

// commandWithURL is a command in a remedy whose URL the reader has to fill in.
var commandWithURL = regexp.MustCompile(`(respool [a-z]+) URL( |;|,|\)|$)`)

// remedy is what to do, with the URL of the node in its commands.
func (b *builder) remedy(f *monitor.Finding) string {
	url := monitor.ShellWord(b.url(f.Node))
	return commandWithURL.ReplaceAllStringFunc(f.Remedy, func(text string) string { return strings.Replace(text, "URL", url, 1) })
}

// url is the address of a node in the commands of a remedy.
func (b *builder) url(node string) string {
	if node == GatewayNode {
		return b.gateway.stats().URL
	}
	if url := b.p.cfg.Source.KillURL(node); url != "" {
		return url
	}
	return "URL"
}

// where names a node, if there are several.
func (b *builder) where(addr string) string {
	n := b.state(addr)
	if n == nil || len(b.nodes) == 1 {
		return cell(addr)
	}
	return nameOf(n)
}

func (b *builder) alertRows() []alert {
	list := []alert{}
	for i := range b.alerts {
		a := &b.alerts[i]
		row := alert{Level: levelOfSeverity(a.Severity), Rule: a.Rule, Severity: a.Severity.String(), State: a.State.String(),
			Where: b.where(a.Node), What: prose(a.What), Since: seconds(a.Began)}
		switch a.State {
		case monitor.Firing:
			row.Since = seconds(a.Fired)
		case monitor.Resolved:
			row.Since, row.Level = seconds(a.Resolved), fine
		}
		row.Sinks = b.sent(a)
		if list = append(list, row); len(list) == alertsShown {
			break
		}
	}
	return list
}

// sent reports what became of an alert in each sink.
func (b *builder) sent(a *monitor.Alert) []sent {
	list := []sent{}
	if a.State == monitor.Pending {
		return append(list, sent{Sink: "all sinks", Level: unknown, Text: "not sent while it is pending"})
	}
	for _, d := range b.p.cfg.Source.Deliveries(a.ID()) {
		list = append(list, sentTo(&d, a.State))
	}
	return list
}

func sentTo(d *notify.Delivery, state monitor.AlertState) sent {
	s := sent{Sink: cell(d.Sink), Level: unknown, Text: "unknown: the sink has not received it from this process", At: seconds(d.At)}
	if d.Outcome == notify.Unknown || d.State != state {
		s.At = 0
		return s
	}
	switch d.Outcome {
	case notify.Waiting:
		s.Text = "not tried yet"
	case notify.Retrying:
		s.Level, s.Text = warning, "not delivered yet after "+output.Count(d.Attempts, "failed attempt")
	case notify.Delivered:
		s.Level, s.Text = fine, "delivered"
	case notify.Failed:
		s.Level, s.Text = critical, "given up"
	case notify.Dropped:
		s.Level, s.Text = critical, "dropped because too many alerts waited"
	case notify.Unsent:
		s.Text = "not sent because the sink does not know that it fired"
	}
	if d.Err != nil && d.Outcome == notify.Delivered {
		s.Level, s.Text, s.At = warning, "delivered, but the last repetition failed: "+output.Error(d.Err), seconds(d.FailedAt)
	} else if d.Err != nil {
		s.Text += ": " + output.Error(d.Err)
	}
	return s
}

// alertsShown limits the alerts of a snapshot: the firing ones come first.
const alertsShown = 60

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func sinksOf(stats []notify.Stats) []sink {
	list := []sink{}
	for _, s := range stats {
		one := sink{Name: cell(s.Name), Level: fine, Waiting: s.Waiting, Delivered: s.Delivered, Failed: s.Failed, Dropped: s.Dropped, FailedAt: seconds(s.FailedAt)}
		if s.LastError != nil {
			one.LastError, one.Level = output.Error(s.LastError), warning
		}
		if s.Failed+s.Dropped > 0 {
			one.Level = critical
		}
		list = append(list, one)
	}
	return list
}

// churn is how fast connections come and go.
type churn struct {
	Known    bool     `json:"known"`
	Opened   float64  `json:"opened"`   // a second
	Rejected float64  `json:"rejected"` // a second
	Commands float64  `json:"commands"` // a second
	Each     *float64 `json:"each,omitempty"`
	Text     string   `json:"text"`
	Who      string   `json:"who"`
}

func churnOf(n *monitor.NodeState) churn {
	c := churn{Text: "unknown: the server does not report the rates, or was read only once", Who: "unknown: CLIENT LIST was not read twice"}
	if n.Rates.Known && n.Up {
		c.Known, c.Opened, c.Rejected, c.Commands = true, n.Rates.Opened, n.Rates.Rejected, n.Rates.Commands
		c.Text = fmt.Sprintf("%s opened, %s rejected and %s commands a second", summary.Rate(c.Opened), summary.Rate(c.Rejected), summary.Rate(c.Commands))
		if c.Opened > 0 {
			each := c.Commands / c.Opened
			c.Each = &each
			c.Text += fmt.Sprintf("; %s commands for each connection opened", summary.Rate(each))
		}
	}
	if n.List == nil || n.Before == nil {
		return c
	}
	c.Who = "no connection was opened and closed between the last lists of clients"
	if service, share, traits := n.ShortConnections(); service != "" {
		c.Who = fmt.Sprintf("%s owns %.0f%% of the connections that were opened and closed lately", cell(n.List.Unnamed.Label(service)), 100*share)
		if traits != "" {
			c.Who += ": " + prose(traits)
		}
	}
	return c
}
