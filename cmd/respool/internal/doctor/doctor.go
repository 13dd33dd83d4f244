// Package doctor examines the connections of servers twice and reports findings. The
// rules are those of package monitor. Examine waits for its goroutines.
package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/progress"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Config configures an examination.
type Config struct {
	For        time.Duration // between the two looks
	MaxClients int64         // the server's limit, if the server does not report one
	Large      bool          // read CLIENT LIST however many connections there are
}

// Examine looks at the connections of a server, or of all servers of a service or a cluster, twice and diagnoses them.
func Examine(ctx context.Context, target connect.Target, d Config) (*Report, error) {
	servers, err := connect.Open(ctx, target, "doctor", d.MaxClients, d.Large)
	if err != nil {
		return nil, err
	}
	defer servers.Close()
	var mu sync.Mutex
	bar := progress.Start("watching for "+d.For.String(), d.For)
	step := func() {
		mu.Lock()
		defer mu.Unlock()
		bar.Update(0)
	}
	looks := make([]*look, len(servers.List))
	servers.Each(func(one *connect.Server) (err error) {
		l, err := d.look(ctx, one.Source, step)
		looks[slices.Index(servers.List, one)] = l
		return err
	})
	bar.Clear()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := servers.List[0].Err; err != nil && !servers.Several() {
		return nil, err
	}
	var rep *Report
	if servers.Several() {
		rep = d.severalReport(servers, looks)
	} else {
		rep = d.report(servers.List[0].Addr, looks[0])
	}
	rep.Held = servers.Held
	return rep, nil
}

// look is what two looks at a server have shown.
type look struct {
	before, after *monitor.Snapshot
	findings      []monitor.Finding
	refused       map[string]string
}

func (d *Config) look(ctx context.Context, source connect.Source, step func()) (*look, error) {
	before, after, between, err := source.Between(ctx, d.For, step)
	if err != nil {
		return nil, err
	}
	l := &look{before: before, after: after, findings: monitor.Diagnose(before, after, between...)}
	if after.Info.Embedded() { // it knows no rights and no CLIENT TRACKING
		l.refused = source.Refused()
		return l, nil
	}
	unwatched, err := source.KeyChanges(ctx)
	switch {
	case err != nil:
		return nil, err
	case unwatched != nil:
		l.findings = append(l.findings, *unwatched) // a note, after the others
	}
	l.refused = source.Refused()
	return l, nil
}

func (d *Config) report(addr string, l *look) *Report {
	rep := &Report{Addr: addr, Findings: l.findings, SecondsRun: l.after.At.Sub(l.before.At).Seconds()}
	rep.add(l)
	for _, what := range slices.Sorted(maps.Keys(l.refused)) {
		rep.NotAsked = append(rep.NotAsked, what+": "+l.refused[what])
	}
	rep.finish(nil)
	if reason, remedy := l.after.Blind(); reason != "" {
		rep.Verdict, rep.incomplete = "cannot judge: "+reason+": "+remedy, true
	}
	return rep
}

// add adds the numbers of a server.
func (rep *Report) add(l *look) {
	rep.Server = l.after.Info.Server()
	servers, gateway := l.after.Info.Gateway()
	rep.gateway = rep.gateway || gateway
	rep.other = rep.other || gateway || l.after.Info.Embedded()
	if len(servers) > 0 && !l.after.Info.Embedded() {
		rep.behind = servers[0]
	}
	if !l.after.Uncounted {
		if rep.Connections == nil {
			rep.Connections = new(int64)
		}
		*rep.Connections += l.after.Connections
	}
	rep.MaxClients += l.after.MaxClients
	if r := monitor.RatesBetween(l.before, l.after); r.Known {
		if rep.Rates == nil {
			rep.Rates = &report.Rates{}
		}
		rep.Rates.Opened += r.Opened
		rep.Rates.Rejected += r.Rejected
		rep.Rates.Commands += r.Commands
	}
	rep.multiplexed = rep.multiplexed || l.after.Multiplexed
	if l.after.Clients != nil {
		if rep.Clients == nil {
			rep.Clients = &Clients{}
		}
		g := l.after.Clients.Total()
		rep.Clients.Active += g.Active
		rep.Clients.Blocked += g.Blocked
		rep.Clients.Subscribed += g.Subscribed
		rep.Clients.Idle += g.Idle
		rep.Holders = addHolders(rep.Holders, l.before, l.after)
	}
}

// finish completes the report after all servers were added. unread are the servers that were not read.
func (rep *Report) finish(unread []string) {
	if rep.Findings == nil {
		rep.Findings = []monitor.Finding{}
	}
	rep.Holders = largest(rep.Holders)
	rep.Verdict = monitor.Summary(rep.Findings)
	if rep.Connections != nil {
		rep.Verdict += ": " + output.Count(int(*rep.Connections), "connection")
	} else {
		rep.Verdict += ": the number of connections is unknown"
	}
	if rep.MaxClients > 0 && rep.Connections != nil {
		rep.Verdict += fmt.Sprintf(" of %d (%.0f%%)", rep.MaxClients, 100*float64(*rep.Connections)/float64(rep.MaxClients))
	}
	if n := len(rep.Nodes); n > 0 {
		rep.Verdict += fmt.Sprintf(" on %d of %d nodes", n-len(unread), n)
	}
	rep.Verdict += connect.UnreadText(unread)
	rep.incomplete = len(unread) > 0
	if len(rep.NotAsked) > 0 {
		rep.Verdict += "; not everything was read"
	}
	if rep.other {
		rep.Verdict = "this is " + rep.Server + ": " + rep.Verdict
	}
}
