package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// drillReport is what a drill prints with --json. Times are in milliseconds;
// those of the course count from the trigger.
type drillReport struct {
	Verdict    string          `json:"verdict"`
	Service    string          `json:"service"`
	How        string          `json:"how"`
	OldPrimary string          `json:"old_primary"`
	NewPrimary string          `json:"new_primary"`
	Callers    []drillCallers  `json:"callers"`
	Writes     drillWrites     `json:"writes"`
	Sockets    []drillSockets  `json:"sockets"`
	OldClosed  *float64        `json:"old_connections_closed_ms"` // null if some are still there, or nobody could tell
	OldDown    bool            `json:"old_primary_down"`
	Course     []drillMoment   `json:"course"`
	FirstError []drillFirstErr `json:"first_errors,omitempty"`
}

type drillCallers struct {
	Kind    string           `json:"kind"`
	Ops     int64            `json:"operations"`
	Errors  map[string]int64 `json:"errors"`
	Outage  float64          `json:"outage_ms"`  // the longest time in which none succeeded
	Longest float64          `json:"longest_ms"` // the longest operation that succeeded
	Gaps    int64            `json:"gaps,omitempty"`
}

type drillWrites struct {
	Acknowledged int `json:"acknowledged"`
	Lost         int `json:"lost_by_replication"`
	Twice        int `json:"done_twice"`
	Unknown      int `json:"outcome_unknown"`
	UnknownDone  int `json:"outcome_unknown_done"`
}

type drillSockets struct {
	Addr     string `json:"addr"`
	Sentinel bool   `json:"sentinel"`
	Peak     int    `json:"peak"`
	Limit    int    `json:"limit"`
}

type drillMoment struct {
	At   float64 `json:"at_ms"`
	Who  string  `json:"who"`
	What string  `json:"what"`
}

type drillFirstErr struct {
	Callers string `json:"callers"`
	Kind    string `json:"kind"`
	Error   string `json:"error"`
}

// sentinelSockets is the most that a client has to one sentinel.
const sentinelSockets = 2

func (r *drill) report() *drillReport {
	rep := &drillReport{Service: r.opt.Service, How: r.cmd.How, OldPrimary: r.old, NewPrimary: r.new}
	for _, s := range []*seen{r.load.reads, r.load.writes, r.load.pops, r.load.messages} {
		rep.addCallers(s)
	}
	for _, w := range r.load.writers {
		rep.Writes.Acknowledged += len(w.acked)
		rep.Writes.Lost += w.lost
		rep.Writes.Twice += w.twice
		rep.Writes.Unknown += len(w.unknown)
		rep.Writes.UnknownDone += w.came
	}
	nodes, events := r.watch.snapshot()
	limit := r.client.Stats().MaxConnections
	for _, n := range nodes {
		s := drillSockets{n.addr, n.sentinel, n.peak, limit}
		if n.sentinel {
			s.Limit = sentinelSockets
		}
		if n.samples > 0 {
			rep.Sockets = append(rep.Sockets, s)
		}
		rep.OldDown = rep.OldDown || n.addr == r.old && n.down
		if n.addr == r.old && !n.down && n.now == 0 && n.samples > 0 && !n.lastSeen.IsZero() {
			ms := milliseconds(n.lastSeen.Sub(r.trigger))
			rep.OldClosed = &ms
		}
	}
	for _, e := range events {
		if e.at.After(r.trigger.Add(-time.Second)) {
			rep.Course = append(rep.Course, drillMoment{milliseconds(e.at.Sub(r.trigger)), e.who, e.text})
		}
	}
	rep.Verdict = rep.verdict()
	return rep
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (rep *drillReport) addCallers(s *seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rep.Callers = append(rep.Callers, drillCallers{s.kind, s.ops, s.errors, milliseconds(s.outage), milliseconds(s.longest), s.gaps})
	for kind, text := range s.first {
		rep.FirstError = append(rep.FirstError, drillFirstErr{s.kind, kind, text})
	}
	slices.SortFunc(rep.FirstError, func(a, b drillFirstErr) int { return strings.Compare(a.Callers+a.Kind, b.Callers+b.Kind) })
}

// failed reports whether something happened that must not.
func (rep *drillReport) failed() bool {
	over := slices.ContainsFunc(rep.Sockets, func(s drillSockets) bool { return s.Peak > s.Limit })
	return over || rep.Writes.Twice > 0 || rep.errors("readers") > 0
}

func (rep *drillReport) errors(kind string) (n int64) {
	for _, c := range rep.Callers {
		for _, count := range c.Errors {
			if c.Kind == kind {
				n += count
			}
		}
	}
	return n
}

func (rep *drillReport) verdict() string {
	word := "passed"
	if rep.failed() {
		word = "failed"
	}
	var outage float64
	for _, c := range rep.Callers {
		if c.Kind == "writers" {
			outage = c.Outage
		}
	}
	return fmt.Sprintf("drill %s: %s moved from %s to %s; %d errors of readers, %d of writers, which stood still for %s; %d writes done twice",
		word, rep.Service, rep.OldPrimary, rep.NewPrimary, rep.errors("readers"), rep.errors("writers"), seconds(outage), rep.Writes.Twice)
}

func seconds(ms float64) string { return fmt.Sprintf("%.2f s", ms/1000) }

func (rep *drillReport) printJSON() error { return printJSON(rep) }

func (rep *drillReport) print() {
	fmt.Println(rep.Verdict)
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "callers\toperations\terrors\tnone succeeded for\tlongest\t")
	for _, c := range rep.Callers {
		if c.Ops > 0 || len(c.Errors) > 0 {
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t\n", c.Kind, c.Ops, rep.errors(c.Kind), seconds(c.Outage), seconds(c.Longest))
		}
	}
	_ = t.Flush()
	for _, c := range rep.Callers {
		for _, kind := range slices.Sorted(maps.Keys(c.Errors)) {
			fmt.Printf("  %s: %d x %s\n", c.Kind, c.Errors[kind], kind)
		}
		if c.Gaps > 0 {
			fmt.Printf("  %s: %d were told of a gap\n", c.Kind, c.Gaps)
		}
	}
	w := rep.Writes
	fmt.Printf("\nwrites: %d acknowledged, %d done twice, %d with unknown outcome (%d of them were done)\n", w.Acknowledged, w.Twice, w.Unknown, w.UnknownDone)
	fmt.Printf("lost by asynchronous replication: %d acknowledged writes that the new primary never got\n\n", w.Lost)
	t = tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "sockets, as each server counts\tat peak\tlimit\t")
	for _, s := range rep.Sockets {
		kind := "node"
		if s.Sentinel {
			kind = "sentinel"
		}
		fmt.Fprintf(t, "%s %s\t%d\t%d\t\n", kind, s.Addr, s.Peak, s.Limit)
	}
	_ = t.Flush()
	switch {
	case rep.OldClosed != nil:
		fmt.Printf("the last connection to %s was gone %s after the trigger\n", rep.OldPrimary, seconds(*rep.OldClosed))
	case rep.OldDown:
		fmt.Printf("%s does not answer any more\n", rep.OldPrimary)
	default:
		fmt.Printf("when the last connection to %s was gone could not be seen\n", rep.OldPrimary)
	}
	fmt.Println("\nthe course, in seconds from the trigger")
	for _, m := range rep.Course {
		fmt.Printf("%8.3f  %s: %s\n", m.At/1000, m.Who, m.What)
	}
	for _, e := range rep.FirstError {
		fmt.Printf("\nfirst error of %s, %s: %s\n", e.Callers, e.Kind, e.Error)
	}
}
