package monitor

import (
	"maps"
	"slices"
	"strings"
)

// rights are the rights for the commands of a probe, as ACL SETUSER takes them.
var rights = map[string]string{askInfo: "+info", askConfig: "+config|get", askList: "+client|list"}

// Blind returns why the server cannot be judged, and what to do; empty if it can. A server that answers, but whose INFO is
// refused or does not state the number of connections, may be full.
func (s *Snapshot) Blind() (reason, remedy string) {
	switch {
	case s.denies(askInfo):
		return "INFO is refused", s.grant(askInfo)
	case s.Uncounted:
		return "INFO does not state the number of connections (" + s.Info.Server() + ")",
			"the address may lead to a proxy, or to another kind of server: use the address of the Redis server"
	}
	return "", ""
}

// denies reports whether the server refuses a command.
func (s *Snapshot) denies(what string) bool { return strings.HasPrefix(s.Refused[what], refusesIt) }

// grant returns the remedy for refused commands.
func (s *Snapshot) grant(refused ...string) string {
	var list []string
	for _, what := range refused {
		if !strings.Contains(s.Refused[what], "NOPERM") {
			return "the server does not accept " + what + ": check rename-command in its configuration, and whether a proxy answers"
		}
		list = append(list, rights[what])
	}
	slices.Sort(list)
	return "grant " + strings.Join(list, " ") + ": ACL SETUSER " + s.User + " " + strings.Join(list, " ")
}

func findBlind(v *View, _ float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		reason, remedy := n.Last.Blind()
		evidence := n.Last.Refused[askInfo]
		if evidence == "" {
			evidence = "the reply to INFO lacks connected_clients"
		}
		return Finding{What: "the server cannot be judged: " + reason, Evidence: evidence, Remedy: remedy}, reason != ""
	})
}

func findPartlyBlind(v *View, _ float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		if n.Last.Info.Embedded() {
			return Finding{}, false // no right would help
		}
		var refused, why []string
		for _, what := range slices.Sorted(maps.Keys(n.Last.Refused)) {
			settingsOnly := what == askConfig && n.Last.MaxClients > 0 // INFO has the limit
			if what != askInfo && rights[what] != "" && n.Last.denies(what) && !settingsOnly {
				refused, why = append(refused, what), append(why, what+": "+n.Last.Refused[what])
			}
		}
		if len(refused) == 0 {
			return Finding{}, false
		}
		return Finding{
			What:     "the server refuses " + strings.Join(refused, " and ") + ": some problems are not visible",
			Evidence: strings.Join(why, "; "),
			Remedy:   n.Last.grant(refused...),
		}, true
	})
}
