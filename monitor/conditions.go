package monitor

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// The conditions of the rules. Each returns the findings of a view that exceed a limit. A server
// that does not answer has only findings about that.

// answering calls find for each node that answers.
func answering(v *View, find func(n *NodeState) (Finding, bool)) (list []Finding) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if !n.Up || n.Last == nil {
			continue
		}
		if f, ok := find(n); ok {
			f.Node = n.Addr
			list = append(list, f)
		}
	}
	return list
}

func findDown(v *View, _ float64) (list []Finding) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.Up || n.Full || n.Err == nil {
			continue
		}
		list = append(list, Finding{
			What:     n.Addr + " does not answer",
			Evidence: fmt.Sprintf("since %s: %v", n.Since.UTC().Format(time.RFC3339), n.Err),
			Remedy:   "check that it runs and that this host can reach it: respool ping URL",
			Node:     n.Addr,
		})
	}
	return list
}

func findNoPrimary(v *View, _ float64) []Finding {
	if v.Err == nil || v.Service == "" {
		return nil
	}
	if v.Cluster != nil {
		return []Finding{{
			What:     "no node reports the " + v.Service,
			Evidence: v.Err.Error(),
			Remedy:   "check that the nodes in the URL run and that this host can reach them: respool ping URL",
		}}
	}
	return []Finding{{
		What:     "the primary of " + v.Service + " is unknown",
		Evidence: v.Err.Error(),
		Remedy:   "query a sentinel: redis-cli -p 26379 SENTINEL MASTER " + v.Service,
	}}
}

func findFull(v *View, _ float64) (list []Finding) {
	for i := range v.Nodes {
		if n := &v.Nodes[i]; n.Full {
			list = append(list, Finding{
				What:     n.Addr + " is full: it refuses new connections, including this monitor's",
				Evidence: fmt.Sprintf("since %s: %v", n.Since.UTC().Format(time.RFC3339), n.Err),
				Remedy:   "stop the largest client, or run CONFIG SET maxclients over an open connection; administrators cannot connect either: " + FullRemedy("", ""),
				Node:     n.Addr,
			})
		}
	}
	return list
}

// FullRemedy returns how to reach a server that is full, or may soon be. pages and socket are the URLs of a process that holds a
// connection to it; empty: unknown.
func FullRemedy(pages, socket string) string {
	return fullRemedy(pages, socket, "--service NAME --idle 10m")
}

// fullRemedy is FullRemedy with the filter of the connections to close.
func fullRemedy(pages, socket, filter string) string {
	if pages == "" && socket == "" {
		return "while it is full, use a connection that a running respool watch or serve holds (respool who http://HOST:8637), or wait for a free one (respool who URL --wait 60s)"
	}
	text := "this works while it is full too: respool who " + cmp.Or(pages, socket)
	if socket != "" {
		text += ", respool kill " + socket + " " + filter
	}
	return text
}

func findRejected(v *View, limit float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		total, _ := n.Last.Info.Int("rejected_connections")
		return Finding{
			What:     fmt.Sprintf("%s connections a second are rejected", rateText(n.Rates.Rejected)),
			Evidence: fmt.Sprintf("rejected_connections is %d and rising; %s", total, filled(n.Last)) + holders(n),
			Remedy:   "maxclients is reached: find the service that holds the most or grows, limit its pool, raise maxclients meanwhile; " + FullRemedy(v.Pages, v.Socket),
		}, n.Rates.Known && n.Rates.Rejected > limit
	})
}

func findOccupancy(v *View, limit float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		share, ok := n.Last.Occupancy()
		return Finding{
			What:     fmt.Sprintf("%.0f%% of maxclients is in use", 100*share),
			Evidence: filled(n.Last) + "; at the limit the server refuses everyone, including administrators" + holders(n),
			Remedy:   "find who holds them, limit the largest pools (respool plan), raise maxclients meanwhile; " + FullRemedy(v.Pages, v.Socket),
		}, ok && share >= limit
	})
}

func findExhaustion(v *View, limit float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		f := n.Forecast
		text := filled(n.Last)
		if grower := growing(n); grower != "" {
			text += "; " + grower + " grows most"
		}
		about := ""
		if f.Rough {
			about = "about "
		}
		return Finding{
			What:     fmt.Sprintf("full in %s%s if connections grow at this rate", about, roughly(f.In)),
			Evidence: fmt.Sprintf("%.1f more a minute during the last %s; the forecast is between %s and %s; %s", f.Growth, roughly(f.Seen), roughly(f.Earliest), roughly(f.Latest), text),
			Remedy:   "connections are opened but not closed: find the service (respool top URL), limit its pool; " + FullRemedy(v.Pages, v.Socket),
		}, f.Trusted() && f.In.Hours() < limit
	})
}

func findOpened(v *View, limit float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		return storm(n), n.Rates.Known && n.Rates.Opened > limit
	})
}

func findNoReuse(v *View, limit float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		r := n.Rates
		return storm(n), r.Known && r.Opened >= stormLeast && r.Opened > limit*r.Commands
	})
}

// findStorm is the way to the service that opens short connections.
const findStorm = "; to find the service: respool doctor URL"

func storm(n *NodeState) Finding {
	f := Finding{
		What:     fmt.Sprintf("%s connections a second are opened", rateText(n.Rates.Opened)),
		Evidence: fmt.Sprintf("%s commands a second, %.1f for each connection opened", rateText(n.Rates.Commands), n.Rates.Commands/max(n.Rates.Opened, math.SmallestNonzeroFloat64)),
		Remedy:   "reuse connections: create one pool in each process, not one for each request",
	}
	service, share, traits := n.churn.most()
	if service == "" {
		f.Evidence += "; no connection ended between two client lists: they stay open, or end sooner"
		f.Remedy += findStorm
	} else {
		f.What += ", most of them by " + service
		f.Evidence += fmt.Sprintf("; %s owns %.0f%% of the short connections seen", service, 100*share)
		if traits != "" {
			f.Evidence += "; they have no names, and end before their process can be found; most have: " + traits
			f.Remedy += "; to see whose they are, " + namingRemedy("", "")
		}
	}
	return f
}

// grown returns the growth of a service since the previous client list.
func grown(n *NodeState, g *Group) int {
	if n.Before == nil {
		return 0
	}
	return g.Clients - n.Before.Clients.Of(g.Key...)
}

// growing returns the service that grew most between the last two client lists.
func growing(n *NodeState) string {
	if n.List == nil || n.Before == nil {
		return ""
	}
	service, most := "", 0
	for _, g := range n.List.Clients.Sorted() {
		if more := grown(n, &g); more > most {
			service, most = g.Key[0], more
		}
	}
	return service
}

const (
	baselineAfter = 5 * time.Minute // a baseline excludes younger points
	baselineLeast = 12              // points
	blockedLeast  = 5.0             // clients: smaller differences do not matter
)

// findBlocked compares with the median of the past, in units of its usual spread.
func findBlocked(v *View, limit float64) []Finding {
	return answering(v, func(n *NodeState) (Finding, bool) {
		var past []float64
		for _, p := range n.Points {
			if n.Last.At.Sub(p.At) >= baselineAfter {
				past = append(past, float64(p.Blocked))
			}
		}
		now, ok := n.Last.Info.Int("blocked_clients")
		if !ok || len(past) < baselineLeast {
			return Finding{}, false
		}
		usual := median(past)
		away := make([]float64, len(past))
		for i, x := range past {
			away[i] = math.Abs(x - usual)
		}
		spread := max(1.48*median(away), 0.1*usual, 1)
		off := math.Abs(float64(now) - usual)
		word := "more"
		if float64(now) < usual {
			word = "fewer"
		}
		filter := "--service NAME --cmd blpop"
		if n.List != nil {
			filter = cmp.Or(n.List.blockedFilter(), filter)
		}
		return Finding{
			What:     fmt.Sprintf("%s blocked, %.0f %s than usual", counted(now, "client"), off, word),
			Evidence: fmt.Sprintf("the median of the last %s is %.0f, the usual spread is %.1f", roughly(n.Last.At.Sub(n.Points[0].At)), usual, spread) + blockedKeys(n.Last),
			Remedy: "more: slow producers or new consumers; fewer: lost consumers; check with respool who URL --by service,cmd; to close their connections: respool kill URL " +
				filter + " --yes; " + fullRemedy(v.Pages, v.Socket, filter),
		}, off >= blockedLeast && off > limit*spread
	})
}

// leakLeast is the minimum number of connections of a leak.
const leakLeast = 10

func findLeaks(v *View, limit float64) (list []Finding) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if !n.Up || n.List == nil {
			continue
		}
		for _, g := range n.List.Clients.Sorted() {
			idle := n.List.LongIdle[g.Key[0]]
			if idle < leakLeast || float64(idle) <= limit*float64(g.Clients) {
				continue
			}
			list = append(list, Finding{
				Subject:  g.Key[0],
				What:     fmt.Sprintf("%s holds %d connections that have been idle for %v or longer", g.Key[0], idle, LeakIdle),
				Evidence: fmt.Sprintf("%d of its %d connections; the longest for %v", idle, g.Clients, g.LongestIdle),
				Remedy:   "its pool is too large, or it does not release connections: size the pool (respool plan), set an idle timeout",
				Node:     n.Addr,
			})
		}
	}
	return list
}

// abandonedSpread is the minimum time between the first and the last opened connection of a leak.
const abandonedSpread = 10 * time.Second

// findAbandoned finds leaks long before their connections are idle for LeakIdle: a service opens
// connections one after the other, and uses each only once.
func findAbandoned(v *View, limit float64) (list []Finding) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if !n.Up || n.List == nil {
			continue
		}
		for _, g := range n.List.Clients.Sorted() {
			spread := g.unused.spread()
			if g.unused.n < leakLeast || float64(g.unused.n) <= limit*float64(g.Clients) || spread < abandonedSpread {
				continue
			}
			list = append(list, Finding{
				Subject:  g.Key[0],
				What:     fmt.Sprintf("%s opens %s connections a minute and never uses them again", g.Key[0], rateText(float64(g.unused.n-1)/spread.Minutes())),
				Evidence: fmt.Sprintf("%d of its %d connections were opened one after the other within %s, and have been idle since", g.unused.n, g.Clients, roughly(spread)),
				Remedy:   "a leak: the service neither closes them nor releases them to a pool; check where it opens connections",
				Node:     n.Addr,
			})
		}
	}
	return list
}

func findCeiling(v *View, limit float64) (list []Finding) {
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if !n.Up || n.List == nil {
			continue
		}
		for _, service := range slices.Sorted(maps.Keys(v.Ceilings)) {
			has, planned := int64(n.List.Clients.Of(service)), v.Ceilings[service]
			if float64(has) <= limit*float64(planned) {
				continue
			}
			list = append(list, Finding{
				Subject:  service,
				What:     fmt.Sprintf("%s has %d connections, %d more than planned", service, has, has-planned),
				Evidence: fmt.Sprintf("its ceiling is %d", planned),
				Remedy:   "its pools are larger than planned, or more processes run: check max_connections, or correct the plan",
				Node:     n.Addr,
			})
		}
	}
	return list
}

func findBudget(v *View, limit float64) []Finding {
	if len(v.Ceilings) == 0 {
		return nil
	}
	sum := int64(0)
	for _, planned := range v.Ceilings {
		sum += planned
	}
	return answering(v, func(n *NodeState) (Finding, bool) {
		budget := n.Last.MaxClients - v.Reserve
		return Finding{
			What:     fmt.Sprintf("the plan adds up to %d connections, %d more than the server allows", sum, sum-budget),
			Evidence: fmt.Sprintf("maxclients is %d, with %d in reserve", n.Last.MaxClients, v.Reserve),
			Remedy:   "lower the ceilings, or raise maxclients: respool check plan.yaml",
		}, n.Role == "primary" && n.Last.MaxClients > 0 && float64(sum) > limit*float64(budget)
	})
}

func findTimeouts(v *View, limit float64) []Finding {
	return pools(v, func(p *PoolView) (Finding, bool) {
		vain := p.Now.FailedWaits - min(p.Before.FailedWaits, p.Now.FailedWaits)
		refused := p.Now.Refused - min(p.Before.Refused, p.Now.Refused)
		f := Finding{
			What:     counted(vain, "caller") + " waited for a connection and got none",
			Evidence: fmt.Sprintf("within %s; %s", roughly(p.Between), p.Now),
			Remedy:   "the pool is too small for its load, or its connections are held for too long: respool plan",
		}
		failed := p.Now.LastDialError != nil && p.Now.DialFailures > p.Before.DialFailures
		if failed {
			f.What = counted(vain, "caller") + " got no connection: none can be opened"
			f.Remedy = "check the server, its address, its maxclients and the password: respool ping URL"
		}
		if refused > 0 {
			f.What = counted(refused, "caller") + " got no connection: the server refuses their user, database or protocol"
			f.Remedy = "check the user's password, state and rights at the server (ACL GETUSER, ACL LOG), and the configured URL: respool ping URL"
		}
		if p.Now.LastDialError != nil && (failed || refused > 0) {
			f.Evidence += "; last dial error: " + strings.TrimPrefix(p.Now.LastDialError.Error(), "respool: ")
		}
		return f, p.Between > 0 && float64(max(vain, refused))/p.Between.Seconds() > limit
	})
}

func findWaiting(v *View, limit float64) []Finding {
	return pools(v, func(p *PoolView) (Finding, bool) {
		return Finding{
			What:     counted(p.Now.Waiting, "caller") + " waiting for a connection",
			Evidence: fmt.Sprint(p.Now),
			Remedy:   "more callers need dedicated connections than there are: raise max_connections, or hold them for less time",
		}, float64(p.Now.Waiting) > limit
	})
}

func pools(v *View, find func(p *PoolView) (Finding, bool)) (list []Finding) {
	for _, name := range slices.Sorted(maps.Keys(v.Pools)) {
		p := v.Pools[name]
		if f, ok := find(&p); ok {
			f.Subject = name
			list = append(list, f)
		}
	}
	return list
}

// filled returns the number of connections and the limit in words.
func filled(s *Snapshot) string {
	if s.Uncounted {
		return "the number of connections is unknown"
	}
	if s.MaxClients == 0 {
		return fmt.Sprintf("%d connections, maxclients is unknown", s.Connections)
	}
	text := fmt.Sprintf("%d connections of %d", s.Connections, s.MaxClients)
	if s.Assumed != "" {
		text += " (assumed: " + s.Assumed + ")"
	}
	return text
}

// holders returns the three services with the most connections.
func holders(n *NodeState) string {
	if n.List == nil || n.List.Clients.Total().Clients == 0 {
		return ""
	}
	var parts []string
	for i, g := range n.List.Clients.Sorted() {
		if i == 3 {
			break
		}
		part := fmt.Sprintf("%s %d", g.Key[0], g.Clients)
		if more := grown(n, &g); more > 0 {
			part += fmt.Sprintf(" (+%d)", more)
		}
		parts = append(parts, part)
	}
	return "; held by " + strings.Join(parts, ", ")
}

// counted formats a number of things. The plural ends in s.
func counted[N int | int64 | uint64](n N, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// rateText formats a number with its significant digits.
func rateText(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// roughly formats a time with two units at most.
func roughly(d time.Duration) string {
	switch {
	case d >= 100*time.Hour:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}
