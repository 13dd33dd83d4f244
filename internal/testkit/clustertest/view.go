//go:build unix

package clustertest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// limit limits the wait until the nodes agree.
const limit = 60 * time.Second

// view is the cluster as one node sees it.
type view struct {
	self    member
	members []member // sorted by ID
}

// member is a line of CLUSTER NODES.
type member struct {
	id, addr string
	flags    []string
	primary  string // the ID of the primary of a replica
	epoch    int
	slots    []string // ranges: first-last, or one slot
	moving   []string // [slot->-id] and [slot-<-id]
}

func (m member) is(flag string) bool { return slices.Contains(m.flags, flag) }

// fails reports whether the node considers the member dead or unknown.
func (m member) fails() bool {
	return m.is("fail") || m.is("fail?") || m.is("handshake") || m.is("noaddr")
}

func (m member) owns(slot int) bool {
	for _, r := range m.slots {
		from, to, isRange := strings.Cut(r, "-")
		first, _ := strconv.Atoi(from)
		last := first
		if isRange {
			last, _ = strconv.Atoi(to)
		}
		if first <= slot && slot <= last {
			return true
		}
	}
	return false
}

// view asks a node. A slot that moves does not change the view until the move ends.
func (n *Node) view() (view, error) {
	text, err := n.try("NODES")
	if err != nil {
		return view{}, err
	}
	var v view
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			return view{}, fmt.Errorf("%s: CLUSTER NODES contains %q", n.Addr(), line)
		}
		m := member{id: f[0], flags: strings.Split(f[2], ",")}
		m.addr, _, _ = strings.Cut(f[1], "@")
		m.epoch, _ = strconv.Atoi(f[6])
		if f[3] != "-" {
			m.primary = f[3]
		}
		for _, s := range f[8:] {
			if s[0] == '[' {
				m.moving = append(m.moving, s)
			} else {
				m.slots = append(m.slots, s)
			}
		}
		v.members = append(v.members, m)
		if m.is("myself") {
			v.self = m
		}
	}
	slices.SortFunc(v.members, func(a, b member) int { return strings.Compare(a.id, b.id) })
	return v, nil
}

// shape is what nodes must agree on: the members that work, their roles and their slots.
func (v view) shape() string {
	var b strings.Builder
	for _, m := range v.members {
		if !m.fails() {
			fmt.Fprintln(&b, m.id, m.addr, m.is("master"), m.primary, m.slots)
		}
	}
	return b.String()
}

// agreement returns the view that all reachable nodes share. Each of them must work in it.
func (c *Cluster) agreement() (view, error) {
	var first view
	nodes := c.reachable()
	for i, n := range nodes {
		v, err := n.view()
		if err != nil {
			return view{}, err
		}
		if i == 0 {
			first = v
		}
		if v.shape() != first.shape() {
			return view{}, fmt.Errorf("%s and %s see different clusters:\n%s%s", nodes[0].Addr(), n.Addr(), first.shape(), v.shape())
		}
	}
	alive := map[string]bool{}
	for _, m := range first.members {
		alive[m.id] = !m.fails()
	}
	for _, n := range nodes {
		if !alive[n.ID] {
			return view{}, fmt.Errorf("%s sees %s as failed", nodes[0].Addr(), n.Addr())
		}
		delete(alive, n.ID)
	}
	for id, lives := range alive {
		if lives {
			return view{}, fmt.Errorf("%s does not know yet that node %s is gone", nodes[0].Addr(), id)
		}
	}
	return first, nil
}

// agreedView waits for the agreement.
func (c *Cluster) agreedView() view {
	c.t.Helper()
	var v view
	wait(c.t, limit, "the nodes do not agree", func() error {
		var err error
		v, err = c.agreement()
		return err
	})
	return v
}

// wait waits until problem returns nil.
func wait(t testing.TB, within time.Duration, what string, problem func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		err := problem()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s within %v: %v", what, within, err)
		}
	}
}

// WaitAgreed waits until all nodes that run and are neither paused nor isolated agree: on each other,
// on which other nodes have failed, on the roles, and on the owner of each slot.
func (c *Cluster) WaitAgreed(t testing.TB, within time.Duration) {
	t.Helper()
	wait(t, within, "the nodes do not agree", func() error { _, err := c.agreement(); return err })
}

// WaitHealthy is WaitAgreed, and waits until all slots are served and each of those nodes lists all
// replicas in CLUSTER SLOTS.
func (c *Cluster) WaitHealthy(t testing.TB, within time.Duration) {
	t.Helper()
	wait(t, within, "the cluster is not healthy", c.problem)
}

func (c *Cluster) waitHealthy() {
	c.t.Helper()
	c.WaitHealthy(c.t, limit)
}

// problem returns why the cluster is not healthy, or nil.
func (c *Cluster) problem() error {
	v, err := c.agreement()
	if err != nil {
		return err
	}
	owners := map[string]bool{}
	for _, m := range v.members {
		owners[m.id] = len(m.slots) > 0
	}
	for _, n := range c.reachable() {
		if !n.serves() {
			return fmt.Errorf("%s does not report the state ok", n.Addr())
		}
		slots, err := n.try("SLOTS")
		if err != nil {
			return err
		}
		for _, m := range v.members {
			if listed := strings.Contains(slots, m.id); m.primary != "" && !m.fails() && owners[m.primary] && !listed {
				return fmt.Errorf("%s does not list the replica %s", n.Addr(), m.addr)
			}
		}
	}
	return nil
}

// Primaries are the primaries that all nodes agree on, in order of their start. They include those
// without slots.
func (c *Cluster) Primaries() []*Node {
	c.t.Helper()
	return c.membersThat(func(m member) bool { return m.is("master") })
}

// Replicas are the replicas that all nodes agree on, in order of their start.
func (c *Cluster) Replicas() []*Node {
	c.t.Helper()
	return c.membersThat(func(m member) bool { return m.primary != "" })
}

// ReplicasOf are the replicas of a primary.
func (c *Cluster) ReplicasOf(primary *Node) []*Node {
	c.t.Helper()
	return c.membersThat(func(m member) bool { return m.primary == primary.ID })
}

func (c *Cluster) membersThat(are func(member) bool) []*Node {
	c.t.Helper()
	found := map[string]bool{}
	for _, m := range c.agreedView().members {
		found[m.id] = !m.fails() && are(m)
	}
	return slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return !found[n.ID] })
}

// Owner is the node that owns a slot, as it says itself. The others may not know it yet. Of several,
// it is the one with the highest epoch.
func (c *Cluster) Owner(slot int) *Node {
	c.t.Helper()
	return testkit.AwaitWithin(c.t, limit, fmt.Sprintf("the owner of slot %d", slot), func() *Node { return c.owner(slot) },
		func(n *Node) bool { return n != nil })
}

// OwnerOf is the node that owns the slot of a key.
func (c *Cluster) OwnerOf(key string) *Node {
	c.t.Helper()
	return c.Owner(testkit.KeySlot(key))
}

// WaitOwner waits until a node other than not says that it owns a slot and that it serves commands, and
// returns that node. The others may not know it yet.
func (c *Cluster) WaitOwner(t testing.TB, slot int, not *Node, within time.Duration) *Node {
	t.Helper()
	return testkit.AwaitWithin(t, within, fmt.Sprintf("another owner of slot %d", slot), func() *Node { return c.owner(slot) },
		func(n *Node) bool { return n != nil && n != not && n.serves() })
}

// serves reports whether the node reports the state ok.
func (n *Node) serves() bool {
	info, err := n.try("INFO")
	return err == nil && strings.Contains(info, "cluster_state:ok")
}

func (c *Cluster) owner(slot int) *Node {
	claims := map[int]*Node{}
	for _, n := range c.reachable() {
		if v, err := n.view(); err == nil && v.self.is("master") && v.self.owns(slot) {
			claims[v.self.epoch] = n
		}
	}
	if len(claims) == 0 {
		return nil
	}
	return claims[slices.Max(slices.Collect(maps.Keys(claims)))]
}
