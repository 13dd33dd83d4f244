package respoolprom

import (
	"strings"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// owner is whose clients are counted together.
type owner struct{ service, lib, user string }

// others stands for all that are not shown by themselves.
var others = owner{"other", "other", "other"}

// clientStates are what clients do, in the order of clientNumbers. Other is
// what ran its last command more than a second and less than a minute ago.
var clientStates = [...]string{"active", "idle", "blocked", "subscribed", "other"}

// clientNumbers counts clients by what they do. Each counts once.
type clientNumbers [len(clientStates)]int

// largest gives the top groups with the most clients, and all others as one.
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
		// Two owners may look the same once their names are cut, or be called as
		// the others are: they count together, since a series may be there once.
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

// labelLimit is how many bytes of what a client calls itself are shown.
const labelLimit = 100

func shown(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), labelLimit)], "?")
}

func numbersOf(g *monitor.Group) clientNumbers {
	rest := g.Clients - g.Active - g.Idle - g.Blocked - g.Subscribed
	return clientNumbers{g.Active, g.Idle, g.Blocked, g.Subscribed, max(0, rest)}
}
