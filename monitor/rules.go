package monitor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rule configures when a finding becomes an alert.
type Rule struct {
	Name     string
	Severity Severity
	Limit    float64       // in the unit of the rule; see DefaultRules
	For      time.Duration // how long the finding must last before the alert fires
	Keep     time.Duration // how long the finding must be absent before the alert is resolved
}

// ruleKind is the condition of a rule. find returns the findings of a view that exceed a limit.
type ruleKind struct {
	Rule
	Unit string // unit of the limit; empty: no limit
	Text string // the condition in words
	find func(v *View, limit float64) []Finding
	// upper states that the rule fires below its limit, so values above the limit are calm.
	upper bool
}

// ruleKinds are all rules, with their defaults.
var ruleKinds = []ruleKind{
	{Rule{"down", Page, 0, 15 * time.Second, 15 * time.Second}, "", "a server does not answer", findDown, false},
	{Rule{"blind", Page, 0, 15 * time.Second, 15 * time.Second}, "", "a server answers, but does not show its connections", findBlind, false},
	{Rule{"no-primary", Page, 0, 15 * time.Second, 15 * time.Second}, "", "the sentinels report no primary, or no node reports the cluster", findNoPrimary, false},
	{Rule{"slots", Page, 0, 15 * time.Second, 15 * time.Second}, "slots", "slots of a cluster that no node serves", findUncovered, false},
	{Rule{"no-replica", Ticket, 0, 2 * time.Minute, 2 * time.Minute}, "", "a primary of a cluster has no replica that works", findNoReplica, false},
	{Rule{"full", Page, 0, 0, 30 * time.Second}, "", "a server refuses the monitor because maxclients is reached", findFull, false},
	{Rule{"rejected", Page, 0, 0, time.Minute}, "connections a second", "a server rejects connections", findRejected, false},
	{Rule{"occupancy-critical", Page, 0.85, 2 * time.Minute, time.Minute}, "share", "share of maxclients in use", findOccupancy, false},
	{Rule{"occupancy-high", Ticket, 0.70, 10 * time.Minute, 2 * time.Minute}, "share", "share of maxclients in use", findOccupancy, false},
	{Rule{"exhaustion", Ticket, 4, time.Minute, 2 * time.Minute}, "hours", "time until maxclients is reached, if connections grow at this rate", findExhaustion, true},
	{Rule{"hot-node", Warn, 2, 5 * time.Minute, 2 * time.Minute}, "times the others", "connections of a primary of a cluster compared with the mean of the other primaries", findHotNode, false},
	{Rule{"partly-blind", Warn, 0, time.Minute, time.Minute}, "", "a server refuses a command that some rules need", findPartlyBlind, false},
	{Rule{"new-connections", Warn, 100, 5 * time.Minute, time.Minute}, "connections a second", "rate of new connections", findOpened, false},
	{Rule{"no-reuse", Warn, 0.01, 5 * time.Minute, time.Minute}, "share", "new connections as a share of commands", findNoReuse, false},
	{Rule{"blocked", Warn, 4, 2 * time.Minute, 2 * time.Minute}, "times the usual spread", "distance of blocked clients from their median of two hours", findBlocked, false},
	{Rule{"buffers", Warn, 16, 90 * time.Second, 90 * time.Second}, "MiB", "memory of one client's buffers at the server", findBuffers, false},
	{Rule{"slow-command", Warn, 10, 90 * time.Second, 90 * time.Second}, "ms", "mean time of the calls of a command, during which no other command runs", findSlowCommands, false},
	{Rule{"leak", Warn, 0.5, 2 * time.Minute, 2 * time.Minute}, "share", "share of a service's connections that have been idle for 10 minutes", findLeaks, false},
	{Rule{"abandoned", Warn, 0.5, time.Minute, time.Minute}, "share", "share of a service's connections that were opened one after the other and never used again", findAbandoned, false},
	{Rule{"ceiling", Warn, 1, time.Minute, time.Minute}, "times the plan", "a service's connections compared with its planned ceiling", findCeiling, false},
	{Rule{"budget", Ticket, 1, 0, time.Minute}, "times the budget", "sum of the planned ceilings compared with maxclients less the reserve", findBudget, false},
	{Rule{"pool-timeouts", Page, 0, 0, time.Minute}, "failed waits a second", "callers of a pool wait for a connection and get none, or the server refuses to open one", findTimeouts, false},
	{Rule{"pool-waiting", Warn, 0, time.Minute, 30 * time.Second}, "callers", "callers that wait for a connection of a pool", findWaiting, false},
	{Rule{"pool-dedicated", Warn, 0, time.Minute, time.Minute}, "", "blocking commands of a pool hold a connection each, because the server does not report changes of keys", findDedicated, false},
	{Rule{"pool-lost", Ticket, 0, 0, time.Minute}, "elements a second", "elements that blocking commands of a pool took and did not deliver", findLost, false},
}

// DefaultRules returns all rules with their default limits. The caller owns the list.
func DefaultRules() []Rule {
	list := make([]Rule, len(ruleKinds))
	for i, k := range ruleKinds {
		list[i] = k.Rule
	}
	return list
}

// Crowded reports whether connections use so much of a limit that a rule reports it by default. It is
// false if the limit is 0, unknown.
func Crowded(connections, limit int64) bool {
	_, crowded := OccupancySeverity(float64(connections) / float64(max(1, limit)))
	return limit > 0 && crowded
}

// OccupancySeverity returns the severity of a used share of maxclients by the default rules. ok is
// false if no rule reports it.
func OccupancySeverity(share float64) (severity Severity, ok bool) {
	for _, name := range []string{"occupancy-critical", "occupancy-high"} {
		if kind := kindOf(name); share >= kind.Limit {
			return kind.Severity, true
		}
	}
	return Note, false
}

// RuleNames returns the names of all rules.
func RuleNames() []string {
	var names []string
	for _, k := range ruleKinds {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}

func kindOf(name string) *ruleKind {
	for i := range ruleKinds {
		if ruleKinds[i].Name == name {
			return &ruleKinds[i]
		}
	}
	return nil
}

// check validates a rule.
func (r Rule) check() error {
	kind := kindOf(r.Name)
	switch {
	case kind == nil:
		return fmt.Errorf("monitor: unknown rule %.40q: want one of %s", r.Name, strings.Join(RuleNames(), ", "))
	case !(r.Limit >= 0):
		return fmt.Errorf("monitor: rule %s: the limit is %v: want %s, 0 or more", r.Name, r.Limit, kind.Unit)
	case r.Name == RuleBuffers && r.Limit < heavyLeast>>20:
		return fmt.Errorf("monitor: rule %s: the limit is %v: want %d MiB or more; smaller buffers are not looked at", r.Name, r.Limit, heavyLeast>>20)
	case kind.Unit == "share" && r.Limit > 1:
		return fmt.Errorf("monitor: rule %s: the limit is %v: want a share between 0 and 1, such as 70%%", r.Name, r.Limit)
	case r.For < 0 || r.Keep < 0:
		return fmt.Errorf("monitor: rule %s: for is %v and keep is %v: want 0 or more", r.Name, r.For, r.Keep)
	case r.Severity < Note || r.Severity > Page:
		return fmt.Errorf("monitor: rule %s: the severity is %d: want note, warn, ticket or page", r.Name, r.Severity)
	}
	return nil
}

// calm returns the limit at which a finding ends. It is a tenth away from the limit at which the
// finding begins, so that a value near the limit does not start and end it repeatedly.
func (k *ruleKind) calm(limit float64) float64 {
	if k.upper {
		return limit / 0.9
	}
	return limit * 0.9
}
