package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

type doctorCmd struct {
	credentialsFlag

	URL        string        `arg:"" help:"The server, or the service whose primary is looked at: a URL with the keys of docs/options.md."`
	For        time.Duration `default:"5s" help:"How far apart the two looks are."`
	Maxclients int64         `help:"The server's limit, where it does not tell."`
	Large      bool          `help:"Ask for CLIENT LIST above 5,000 connections too: 10 ms of the server's time at 10,000."`
	JSON       bool          `help:"Print one JSON object."`
}

func (doctorCmd) Help() string {
	return `Looks at a server's connections twice, some seconds apart, and tells what is wrong, with
the evidence and what to do: occupancy, rejected connections, growth, storms of short connections,
idle ones that nobody gives back, settings, memory held for clients.

It holds one connection and needs few rights: +ping +hello +info +client|list, and
+config|get for the settings. What it may not ask it leaves out, and says so.

Exits with 0 if all is well, 1 on warnings, 2 on something critical.

Examples:
  respool doctor redis://localhost:6379
  respool doctor 'rediss://:secret@cache.example:6380?ssl_ca_certs=ca.pem' --for 30s
  respool doctor redis+sentinel://s1,s2,s3/mymaster --json`
}

// doctorReport is what doctor prints with --json.
type doctorReport struct {
	Verdict     string            `json:"verdict"`
	Addr        string            `json:"addr"`
	Server      string            `json:"server"`
	Connections int64             `json:"connections"`
	MaxClients  int64             `json:"maxclients"` // 0: not known
	SecondsRun  float64           `json:"seconds_between_looks"`
	Rates       *ratesReport      `json:"a_second,omitempty"` // not there where the server does not tell
	Clients     *clientsReport    `json:"clients,omitempty"`  // not there where CLIENT LIST was not asked
	Holders     []holderReport    `json:"holders,omitempty"`  // the largest services
	Findings    []monitor.Finding `json:"findings"`
	NotAsked    []string          `json:"not_asked,omitempty"`
}

func (d *doctorCmd) Run(ctx context.Context) error {
	switch {
	case d.For < 100*time.Millisecond || d.For > time.Hour:
		return fmt.Errorf("--for is %v: want 100ms to 1h", d.For)
	case d.Maxclients < 0:
		return fmt.Errorf("--maxclients is %d: want 1 or more", d.Maxclients)
	}
	probe, err := d.probe(ctx, d.URL, "doctor", d.Maxclients, d.Large)
	if err != nil {
		return err
	}
	defer closeClient(probe.Client())
	report, err := d.report(ctx, probe)
	if err != nil {
		return err
	}
	if d.JSON {
		err = printJSON(report)
	} else {
		report.print()
	}
	if err != nil {
		return err
	}
	switch worst, _ := monitor.Worst(report.Findings); worst {
	case monitor.Page:
		return exitCode(exitFailed)
	case monitor.Ticket, monitor.Warn:
		return exitCode(exitWarning)
	}
	return nil
}

func (d *doctorCmd) report(ctx context.Context, probe *monitor.Probe) (*doctorReport, error) {
	bar := newProgress("looking for "+d.For.String(), d.For)
	before, after, between, err := probe.Between(ctx, d.For, func() { bar.update(0) })
	bar.clear()
	if err != nil {
		return nil, err
	}
	rep := &doctorReport{Addr: probe.Client().Stats().Addr, Server: after.Info.Server(), Connections: after.Connections, MaxClients: after.MaxClients,
		SecondsRun: after.At.Sub(before.At).Seconds(), Findings: monitor.Diagnose(before, after, between...)}
	if rep.Findings == nil {
		rep.Findings = []monitor.Finding{}
	}
	if r := monitor.RatesBetween(before, after); r.Known {
		rep.Rates = &ratesReport{r.Opened, r.Rejected, r.Commands}
	}
	if after.Clients != nil {
		g := after.Clients.Total()
		rep.Clients = &clientsReport{g.Active, g.Blocked, g.Subscribed, g.Idle}
		rep.Holders = holdersBetween(before, after)
	}
	refused := probe.Refused()
	for _, what := range slices.Sorted(maps.Keys(refused)) {
		rep.NotAsked = append(rep.NotAsked, what+": "+refused[what])
	}
	rep.Verdict = fmt.Sprintf("%s: %d connections", monitor.Summary(rep.Findings), after.Connections)
	if share, ok := after.Occupancy(); ok {
		rep.Verdict += fmt.Sprintf(" of %d (%.0f%%)", after.MaxClients, 100*share)
	}
	return rep, nil
}

// clientsReport counts connections by what they do.
type clientsReport struct {
	Active     int `json:"active"`
	Blocked    int `json:"blocked"`
	Subscribed int `json:"subscribed"`
	Idle       int `json:"idle"`
}

// holderReport is a service with its connections.
type holderReport struct {
	Service string   `json:"service"`
	Clients int      `json:"connections"`
	Change  *float64 `json:"change_per_minute,omitempty"` // not there where it is not known
}

// mostHeld is how many services are named.
const mostHeld = 5

func holdersBetween(before, after *monitor.Snapshot) (list []holderReport) {
	for _, g := range after.Clients.Sorted() {
		if len(list) == mostHeld {
			break
		}
		h := holderReport{Service: g.Key[0], Clients: g.Clients}
		if took := after.At.Sub(before.At).Minutes(); before.Clients != nil && before.SameRun(after) && took > 0 {
			change := float64(g.Clients-before.Clients.Of(g.Key...)) / took
			h.Change = &change
		}
		list = append(list, h)
	}
	return list
}

// held tells in a line who holds the connections.
func (rep *doctorReport) held() string {
	var parts []string
	for _, h := range rep.Holders {
		part := fmt.Sprintf("%s %d", printable(h.Service), h.Clients)
		if h.Change != nil && *h.Change != 0 {
			part += fmt.Sprintf(" (%+.0f a minute)", *h.Change)
		}
		parts = append(parts, part)
	}
	return "held by " + strings.Join(parts, ", ")
}

// facts are what was seen, in a line.
func (rep *doctorReport) facts() string {
	var parts []string
	if r := rep.Rates; r != nil {
		parts = append(parts, fmt.Sprintf("a second: %.0f commands, %.1f connections opened, %.1f rejected", r.Commands, r.Opened, r.Rejected))
	}
	if c := rep.Clients; c != nil {
		parts = append(parts, fmt.Sprintf("now: %d active, %d blocked, %d subscribed, %d idle for a minute", c.Active, c.Blocked, c.Subscribed, c.Idle))
	}
	return strings.Join(parts, "; ")
}

func (rep *doctorReport) print() {
	fmt.Printf("%s\n%s, %s, two looks %.1f s apart\n", rep.Verdict, rep.Addr, rep.Server, rep.SecondsRun)
	if facts := rep.facts(); facts != "" {
		fmt.Println(facts)
	}
	if len(rep.Holders) > 0 {
		fmt.Println(rep.held())
	}
	for _, f := range rep.Findings {
		fmt.Printf("\n%s: %s\n  seen: %s\n  do:   %s\n", strings.ToUpper(f.Severity.String()), printable(f.What), printable(f.Evidence), f.Remedy)
	}
	for _, what := range rep.NotAsked {
		fmt.Printf("\nnot asked: %s\n", what)
	}
	fmt.Printf("\nnext: respool who URL --by service,addr, with this URL\n")
}
