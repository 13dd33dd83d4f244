package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

type doctorCmd struct {
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
	Findings    []monitor.Finding `json:"findings"`
	NotAsked    []string          `json:"not_asked,omitempty"`
}

// mostListed is up to how many connections CLIENT LIST is asked for unasked.
const mostListed = 5000

// doctor is one run.
type doctor struct {
	cmd  *doctorCmd
	c    *respool.Client
	own  string
	left map[string]string // what could not be asked, and why
}

func (d *doctorCmd) Run(ctx context.Context) error {
	switch {
	case d.For < 100*time.Millisecond || d.For > time.Hour:
		return fmt.Errorf("--for is %v: want 100ms to 1h", d.For)
	case d.Maxclients < 0:
		return fmt.Errorf("--maxclients is %d: want 1 or more", d.Maxclients)
	}
	opt, err := respool.ParseURL(d.URL)
	if err != nil {
		return err
	}
	opt.MaxConnections, opt.Lanes, opt.MinIdle = 1, 1, 0
	opt.ClientName = fmt.Sprintf("respool:doctor:%08x", rand.Uint32()) // by which it knows itself
	c, err := respool.New(opt)
	if err != nil {
		return err
	}
	defer closeClient(c)
	if err := c.Warm(ctx); err != nil {
		return err
	}
	run := &doctor{cmd: d, c: c, own: opt.ClientName, left: map[string]string{}}
	report, err := run.report(ctx)
	if err != nil {
		return err
	}
	if d.JSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
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

func (r *doctor) report(ctx context.Context) (*doctorReport, error) {
	before, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	bar := newProgress("looking for "+r.cmd.For.String(), r.cmd.For)
	for end := time.Now().Add(r.cmd.For); time.Now().Before(end); {
		if err := pause(ctx, min(100*time.Millisecond, time.Until(end))); err != nil {
			bar.clear()
			return nil, err
		}
		bar.update(0)
	}
	bar.clear()
	after, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	rep := &doctorReport{Addr: r.c.Stats().Addr, Server: after.Info.Server(), Connections: after.Connections, MaxClients: after.MaxClients,
		SecondsRun: after.At.Sub(before.At).Seconds(), Findings: monitor.Diagnose(before, after)}
	if rep.Findings == nil {
		rep.Findings = []monitor.Finding{}
	}
	for _, what := range []string{"INFO", "CONFIG GET", "CLIENT LIST"} {
		if why := r.left[what]; why != "" {
			rep.NotAsked = append(rep.NotAsked, what+": "+why)
		}
	}
	rep.Verdict = fmt.Sprintf("%s: %d connections", monitor.Summary(rep.Findings), after.Connections)
	if share, ok := after.Occupancy(); ok {
		rep.Verdict += fmt.Sprintf(" of %d (%.0f%%)", after.MaxClients, 100*share)
	}
	return rep, nil
}

// look takes a snapshot. What the server refuses is left out.
func (r *doctor) look(ctx context.Context) (*monitor.Snapshot, error) {
	s := monitor.Source{Own: r.own, Limit: r.cmd.Maxclients, Config: map[string]string{}}
	var err error
	if s.Info, err = r.ask(ctx, "INFO", "INFO"); err != nil {
		return nil, err
	}
	for _, name := range []string{"maxclients", "timeout", "tcp-keepalive"} {
		m, err := r.c.Do(ctx, "CONFIG", "GET", name).Map()
		if err := r.refused("CONFIG GET", err); err != nil {
			return nil, err
		}
		if value, err := m[name].Text(); err == nil {
			s.Config[name] = value
		}
	}
	n, _ := monitor.ParseInfo(s.Info).Connections()
	if n > mostListed && !r.cmd.Large {
		r.left["CLIENT LIST"] = fmt.Sprintf("there are %d connections, and it would hold the server up: --large asks all the same", n)
	} else {
		list, err := r.ask(ctx, "CLIENT LIST", "CLIENT", "LIST")
		if err != nil {
			return nil, err
		}
		if list != "" {
			s.List = strings.NewReader(list)
		}
	}
	s.At = time.Now()
	snap, err := monitor.NewSnapshot(s)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return snap, nil
}

// ask gives the text of a reply, and nothing where the server refuses.
func (r *doctor) ask(ctx context.Context, what string, args ...any) (string, error) {
	text, err := r.c.Do(ctx, args...).Text()
	return text, r.refused(what, err)
}

// refused keeps in mind what the server does not let us ask; other errors it returns.
func (r *doctor) refused(what string, err error) error {
	var se *respool.ServerError
	if errors.As(err, &se) {
		r.left[what] = "the server refuses it (" + se.Code + ")"
		return nil
	}
	return err
}

func (rep *doctorReport) print() {
	fmt.Printf("%s\n%s, %s, two looks %.1f s apart\n", rep.Verdict, rep.Addr, rep.Server, rep.SecondsRun)
	for _, f := range rep.Findings {
		fmt.Printf("\n%s: %s\n  seen: %s\n  do:   %s\n", strings.ToUpper(f.Severity.String()), f.What, f.Evidence, f.Remedy)
	}
	for _, what := range rep.NotAsked {
		fmt.Printf("\nnot asked: %s\n", what)
	}
	fmt.Printf("\nnext: respool who URL --by service,addr, with this URL\n")
}
