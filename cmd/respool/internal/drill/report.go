package drill

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
)

// Report is the report of a drill, as printed with --json. Times are in milliseconds. Those of the
// timeline count from the trigger.
type Report struct {
	Verdict    string       `json:"verdict"`
	Service    string       `json:"service"`
	Cluster    bool         `json:"cluster,omitempty"`
	How        string       `json:"how"`
	OldPrimary string       `json:"old_primary"` // both are empty without a failover
	NewPrimary string       `json:"new_primary"`
	Moves      []Move       `json:"moves,omitempty"` // of slots
	Callers    []Callers    `json:"callers"`
	Writes     Writes       `json:"writes"`
	Sockets    []Sockets    `json:"sockets"`
	Together   *Together    `json:"sockets_together,omitempty"` // of a cluster
	OldClosed  *float64     `json:"old_connections_closed_ms"`  // null if some are open, or if unknown
	OldDown    bool         `json:"old_primary_down"`
	Course     []Moment     `json:"course"`
	FirstError []FirstError `json:"first_errors,omitempty"`
}

// Callers counts the operations of one kind of caller.
type Callers struct {
	Kind    string           `json:"kind"`
	Ops     int64            `json:"operations"`
	Errors  map[string]int64 `json:"errors"`
	Outage  float64          `json:"outage_ms"`  // the longest time in which none succeeded
	Longest float64          `json:"longest_ms"` // the longest operation that succeeded
	Pause   float64          `json:"pause_ms"`   // the longest time in which one caller had no success
	Gaps    int64            `json:"gaps,omitempty"`
}

// Writes counts writes by their outcome.
type Writes struct {
	Acknowledged int `json:"acknowledged"`
	Lost         int `json:"lost_by_replication"`
	Twice        int `json:"done_twice"`
	Unknown      int `json:"outcome_unknown"`
	UnknownDone  int `json:"outcome_unknown_done"`
}

// Sockets is the peak number of sockets to one server.
type Sockets struct {
	Addr     string `json:"addr"`
	Sentinel bool   `json:"sentinel"`
	Peak     int    `json:"peak"`
	Limit    int    `json:"limit"`
}

// Together is the peak number of sockets to all nodes of a cluster.
type Together struct {
	Peak  int `json:"peak"`
	Limit int `json:"limit"` // max_connections_total; 0: none
}

// Move is a move of slots to another primary and back.
type Move struct {
	Slots  int     `json:"slots"`
	From   string  `json:"from"`
	To     string  `json:"to"`
	Keys   int     `json:"keys"` // that moved, on the way out
	OutMS  float64 `json:"out_ms"`
	BackMS float64 `json:"back_ms"`
}

// Moment is an event of the failover.
type Moment struct {
	At   float64 `json:"at_ms"`
	Who  string  `json:"who"`
	What string  `json:"what"`
}

// FirstError is the first error of one kind.
type FirstError struct {
	Callers string `json:"callers"`
	Kind    string `json:"kind"`
	Error   string `json:"error"`
}

// maxSentinelSockets is the most sockets that a client opens to one sentinel.
const maxSentinelSockets = 2

func (r *drill) report() *Report {
	rep := &Report{Service: r.opt.Service, How: r.cfg.how(), OldPrimary: r.old, NewPrimary: r.new, Moves: r.moves}
	if r.plan != nil {
		rep.Service, rep.Cluster = r.plan.name, true
		rep.Together = &Together{r.watch.together(), r.opt.Cluster.MaxConnectionsTotal}
	}
	for _, s := range []*callerStats{r.load.reads, r.load.writes, r.load.pops, r.load.messages} {
		rep.addCallers(s)
	}
	for _, w := range r.load.writers {
		rep.Writes.Acknowledged += len(w.acked)
		rep.Writes.Lost += w.lost
		rep.Writes.Twice += w.twice
		rep.Writes.Unknown += len(w.unknown)
		rep.Writes.UnknownDone += w.unknownDone
	}
	nodes, events := r.watch.snapshot()
	limit := r.client.Stats().MaxConnections
	for _, n := range nodes {
		s := Sockets{n.addr, n.sentinel, n.peak, limit}
		if n.sentinel {
			s.Limit = maxSentinelSockets
		}
		if n.samples > 0 {
			rep.Sockets = append(rep.Sockets, s)
		}
		rep.OldDown = rep.OldDown || n.addr == r.old && n.down
		if n.addr == r.old && !n.down && n.now == 0 && n.samples > 0 && !n.lastSeen.IsZero() {
			ms := output.Milliseconds(n.lastSeen.Sub(r.trigger))
			rep.OldClosed = &ms
		}
	}
	for _, e := range events {
		if e.at.After(r.trigger.Add(-time.Second)) {
			rep.Course = append(rep.Course, Moment{output.Milliseconds(e.at.Sub(r.trigger)), e.who, e.text})
		}
	}
	rep.Verdict = rep.verdict()
	return rep
}

// how names the trigger of the failover.
func (cfg *Config) how() string {
	if cfg.Trigger {
		return "command"
	}
	return "none"
}

func (rep *Report) addCallers(s *callerStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rep.Callers = append(rep.Callers, Callers{s.kind, s.ops, s.errors, output.Milliseconds(s.outage), output.Milliseconds(s.longest), output.Milliseconds(s.pause), s.gaps})
	for kind, text := range s.first {
		rep.FirstError = append(rep.FirstError, FirstError{s.kind, kind, text})
	}
	slices.SortFunc(rep.FirstError, func(a, b FirstError) int { return strings.Compare(a.Callers+a.Kind, b.Callers+b.Kind) })
}

// Failed reports whether the drill violated a guarantee.
func (rep *Report) Failed() bool {
	over := slices.ContainsFunc(rep.Sockets, func(s Sockets) bool { return s.Peak > s.Limit })
	if t := rep.Together; t != nil && t.Limit > 0 && t.Peak > t.Limit {
		over = true
	}
	// Neither a move of slots nor CLUSTER FAILOVER loses a write: the primary stops writes until the replica has all.
	lost := rep.Cluster && rep.Writes.Lost > 0 && (rep.NewPrimary == "" || rep.How == "command")
	return over || lost || rep.Writes.Twice > 0 || rep.Errors("readers") > 0
}

func (rep *Report) Errors(kind string) (n int64) {
	for _, c := range rep.Callers {
		for _, count := range c.Errors {
			if c.Kind == kind {
				n += count
			}
		}
	}
	return n
}

func (rep *Report) verdict() string {
	word := "passed"
	if rep.Failed() {
		word = "failed"
	}
	var outage float64
	for _, c := range rep.Callers {
		if c.Kind == "writers" {
			outage = c.Outage
			if rep.Cluster {
				outage = c.Pause
			}
		}
	}
	errs := fmt.Sprintf("%d read errors, %d write errors", rep.Errors("readers"), rep.Errors("writers"))
	if !rep.Cluster {
		return fmt.Sprintf("drill %s: %s moved from %s to %s; %s, no writes for %s; %d writes executed twice",
			word, rep.Service, rep.OldPrimary, rep.NewPrimary, errs, secondsText(outage), rep.Writes.Twice)
	}
	text := fmt.Sprintf("drill %s: ", word)
	if rep.NewPrimary != "" {
		text += fmt.Sprintf("a shard moved from %s to %s; ", rep.OldPrimary, rep.NewPrimary)
	}
	for _, m := range rep.Moves {
		text += fmt.Sprintf("%s moved from %s to %s and back; ", output.Count(m.Slots, "slot"), m.From, m.To)
	}
	return text + fmt.Sprintf("%s, no writes to a key for %s; %d writes lost, %d executed twice", errs, secondsText(outage), rep.Writes.Lost, rep.Writes.Twice)
}

func secondsText(ms float64) string { return fmt.Sprintf("%.2f s", ms/1000) }

// Print writes the report for people.
func (rep *Report) Print() error {
	fmt.Println(rep.Verdict)
	fmt.Println()
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	pause := "no success for"
	if rep.Cluster {
		pause = "longest pause" // of one caller, because those of other shards go on
	}
	fmt.Fprintf(t, "callers\toperations\terrors\t%s\tlongest\t\n", pause)
	for _, c := range rep.Callers {
		if c.Ops > 0 || len(c.Errors) > 0 {
			none := c.Outage
			if rep.Cluster && c.Pause > 0 {
				none = c.Pause
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t\n", c.Kind, c.Ops, rep.Errors(c.Kind), secondsText(none), secondsText(c.Longest))
		}
	}
	_ = t.Flush()
	for _, c := range rep.Callers {
		for _, kind := range slices.Sorted(maps.Keys(c.Errors)) {
			fmt.Printf("  %s: %d x %s\n", c.Kind, c.Errors[kind], kind)
		}
		if c.Gaps > 0 {
			fmt.Printf("  %s: %d were notified of a gap\n", c.Kind, c.Gaps)
		}
	}
	w := rep.Writes
	fmt.Printf("\nwrites: %d acknowledged, %d executed twice, %d with unknown outcome (%d of them were executed)\n", w.Acknowledged, w.Twice, w.Unknown, w.UnknownDone)
	if rep.Cluster {
		fmt.Printf("lost: %d acknowledged writes that are missing\n\n", w.Lost)
	} else {
		fmt.Printf("lost by asynchronous replication: %d acknowledged writes that the new primary never received\n\n", w.Lost)
	}
	for _, m := range rep.Moves {
		fmt.Printf("%s with %s moved from %s to %s in %s, and back in %s\n\n", output.Count(m.Slots, "slot"), output.Count(m.Keys, "key"), m.From, m.To,
			secondsText(m.OutMS), secondsText(m.BackMS))
	}
	t = tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "sockets, counted by each server\tpeak\tlimit\t")
	for _, s := range rep.Sockets {
		kind := "node"
		if s.Sentinel {
			kind = "sentinel"
		}
		fmt.Fprintf(t, "%s %s\t%d\t%d\t\n", kind, s.Addr, s.Peak, s.Limit)
	}
	if rep.Together != nil {
		limit := "none"
		if rep.Together.Limit > 0 {
			limit = fmt.Sprint(rep.Together.Limit)
		}
		fmt.Fprintf(t, "all nodes at one time\t%d\t%s\t\n", rep.Together.Peak, limit)
	}
	_ = t.Flush()
	switch {
	case rep.NewPrimary == "":
	case rep.OldClosed != nil:
		fmt.Printf("the last connection to %s closed %s after the trigger\n", rep.OldPrimary, secondsText(*rep.OldClosed))
	case rep.OldDown:
		fmt.Printf("%s no longer answers\n", rep.OldPrimary)
	default:
		fmt.Printf("the time at which the last connection to %s closed is unknown\n", rep.OldPrimary)
	}
	fmt.Println("\ntimeline, in seconds from the trigger")
	for _, m := range rep.Course {
		fmt.Printf("%8.3f  %s: %s\n", m.At/1000, m.Who, m.What)
	}
	for _, e := range rep.FirstError {
		fmt.Printf("\nfirst error of %s, %s: %s\n", e.Callers, e.Kind, e.Error)
	}
	return nil
}
