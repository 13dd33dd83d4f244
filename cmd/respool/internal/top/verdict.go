package top

import (
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// level is the urgency of a fact on the screen.
type level int

const (
	levelNormal level = iota
	levelWarning
	levelCritical
)

func shareLevel(share float64) level {
	switch severity, ok := monitor.OccupancySeverity(share); {
	case !ok:
		return levelNormal
	case severity == monitor.Page:
		return levelCritical
	}
	return levelWarning
}

// nodeLevel is the urgency of a node's state.
func nodeLevel(n *monitor.NodeState) level {
	if !n.Up && n.Err != nil || n.Rates.Rejected > 0 {
		return levelCritical
	}
	if n.Last == nil {
		return levelNormal
	}
	share, _ := n.Last.Occupancy()
	return shareLevel(share)
}

// nodeName is the address of a node, its role and optionally its server.
func nodeName(n *monitor.NodeState, server bool) string {
	text := output.Cell(n.Addr)
	if n.Role != "" {
		text += " " + n.Role
	}
	if server && n.Last != nil {
		text += ", " + output.Cell(n.Last.Info.Server())
	}
	return text
}

// verdict describes a node's state, optionally in short form.
func verdict(n *monitor.NodeState, now time.Time, short bool) string {
	switch {
	case n.Full && !n.Up:
		return "full: refuses new connections"
	case !n.Up && n.Err != nil:
		return "not reachable since " + roughly(max(0, now.Sub(n.Since))) + ": " + output.Error(n.Err)
	case n.Last == nil:
		return "not read yet"
	}
	if reason, remedy := n.Last.Blind(); reason != "" {
		if short {
			return "cannot judge: " + output.Cell(reason)
		}
		return "cannot judge: " + output.Cell(reason) + ": " + output.Cell(remedy)
	}
	text := occupancyText(n.Last, short)
	switch {
	case n.Rates.Rejected > 0:
		return text + ", rejects " + rateText(n.Rates.Rejected) + " a second"
	case n.Forecast.Exists:
		return text + ", " + forecastText(&n.Forecast, short)
	}
	if short {
		return text + ", " + n.Forecast.Missing.String()
	}
	return text + ", no forecast: " + n.Forecast.Missing.String()
}

func occupancyText(s *monitor.Snapshot, short bool) string {
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

// forecastText formats a forecast with all times in one unit. A rough one has no range.
func forecastText(f *monitor.Forecast, short bool) string {
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
