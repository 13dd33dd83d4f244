package respoolprom

import (
	"strings"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// owner is the key of a group of clients.
type owner struct{ service, lib, user string }

// others is the group of all clients without a group in the export.
var others = owner{"other", "other", "other"}

// clientStates are the states of clients, in the order of clientNumbers. A client in state other
// ran its last command more than a second and less than a minute ago.
var clientStates = [...]string{"active", "idle", "blocked", "subscribed", "other"}

// clientNumbers counts clients by state. Each client counts once.
type clientNumbers [len(clientStates)]int

// largest returns the top groups with the most clients, and all others as one group.
func largest(owners *monitor.Groups, top int) map[owner]clientNumbers {
	found := map[owner]clientNumbers{}
	if owners == nil {
		return found
	}
	for i, g := range owners.Sorted() {
		who := others
		if i < top {
			who = ownerOf(g.Key)
		}
		// Truncated names of two owners may be equal, or equal others. They count together, because
		// a series may exist only once.
		sum := found[who]
		for state, n := range numbersOf(&g) {
			sum[state] += n
		}
		found[who] = sum
	}
	return found
}

func ownerOf(key []string) owner {
	at := func(i int) string {
		if i < len(key) {
			return shown(key[i])
		}
		return ""
	}
	return owner{at(0), at(1), at(2)}
}

// labelLimit is the maximum length of a label value that a client chose, in bytes.
const labelLimit = 100

func shown(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), labelLimit)], "?")
}

func numbersOf(g *monitor.Group) clientNumbers {
	rest := g.Clients - g.Active - g.Idle - g.Blocked - g.Subscribed
	return clientNumbers{g.Active, g.Idle, g.Blocked, g.Subscribed, max(0, rest)}
}
