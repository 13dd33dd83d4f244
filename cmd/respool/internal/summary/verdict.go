// Package summary describes a node in words and groups, as top and the page show it: its verdict, its level, and who
// holds its connections. It starts no goroutines.
package summary

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Level is the urgency of a fact.
type Level int

// The levels.
const (
	Normal Level = iota
	Warning
	Critical
)

// LevelOfShare is the urgency of a used share of maxclients, by the default rules.
func LevelOfShare(share float64) Level {
	switch severity, ok := monitor.OccupancySeverity(share); {
	case !ok:
		return Normal
	case severity == monitor.Page:
		return Critical
	}
	return Warning
}

// LevelOf is the urgency of a node's state.
func LevelOf(n *monitor.NodeState) Level {
	if !n.Up && n.Err != nil || n.Rates.Rejected > 0 {
		return Critical
	}
	if n.Last == nil {
		return Normal
	}
	share, _ := n.Last.Occupancy()
	return LevelOfShare(share)
}

// NodeName is the address of a node, its role and optionally its server.
func NodeName(n *monitor.NodeState, server bool) string {
	text := output.Cell(n.Addr)
	if n.Role != "" {
		text += " " + n.Role
	}
	if server && n.Last != nil {
		text += ", " + output.Cell(n.Last.Info.Server())
	}
	return text
}

// Verdict describes a node's state, optionally in short form.
func Verdict(n *monitor.NodeState, now time.Time, short bool) string {
	switch {
	case n.Full && !n.Up:
		return "full: refuses new connections"
	case !n.Up && n.Err != nil:
		return "not reachable since " + Roughly(max(0, now.Sub(n.Since))) + ": " + output.Error(n.Err)
	case n.Last == nil:
		return "not read yet"
	}
	if reason, remedy := n.Last.Blind(); reason != "" {
		if short {
			return "cannot judge: " + output.Cell(reason)
		}
		return "cannot judge: " + output.Cell(reason) + ": " + output.Cell(remedy)
	}
	text := Occupancy(n.Last, short)
	switch {
	case n.Rates.Rejected > 0:
		return text + ", rejects " + Rate(n.Rates.Rejected) + " a second"
	case n.Forecast.Exists:
		return text + ", " + Forecast(&n.Forecast, short)
	}
	if short {
		return text + ", " + n.Forecast.Missing.String()
	}
	return text + ", no forecast: " + n.Forecast.Missing.String()
}

// Occupancy formats the connections of a snapshot and their limit, optionally in short form.
func Occupancy(s *monitor.Snapshot, short bool) string {
	share, ok := s.Occupancy()
	noun := " connections"
	if short {
		noun = ""
	}
	if !ok {
		return fmt.Sprintf("%d connections, limit unknown", s.Connections)
	}
	text := fmt.Sprintf("%d of %d%s (%.0f%%)", s.Connections, s.MaxClients, noun, 100*share)
	if s.Assumed != "" && !short {
		text += ", limit assumed: " + output.Cell(s.Assumed)
	}
	return text
}

// Forecast formats a forecast with all times in one unit. A rough one has no range.
func Forecast(f *monitor.Forecast, short bool) string {
	unit, name := time.Minute, "min"
	switch {
	case f.In < 2*time.Minute:
		unit, name = time.Second, "s"
	case f.In >= 2*time.Hour:
		unit, name = time.Hour, "h"
	}
	in := func(d time.Duration) int64 { return int64(d.Round(unit) / unit) }
	switch {
	case f.Rough:
		return fmt.Sprintf("full in about %d %s", in(f.In), name)
	case short:
		return fmt.Sprintf("full in %d %s", in(f.In), name)
	}
	return fmt.Sprintf("full in %d %s (%d to %d)", in(f.In), name, in(f.Earliest), in(f.Latest))
}
