package report

import (
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Cluster is the state of a cluster, as the best informed of its nodes reports it.
type Cluster struct {
	Primaries      int      `json:"primaries"` // that own slots
	Replicas       int      `json:"replicas"`
	Failed         []string `json:"failed,omitempty"` // nodes that the cluster considers failed
	Covered        int      `json:"slots_covered"`
	Uncovered      int      `json:"slots_uncovered"`
	UncoveredSlots string   `json:"uncovered_slots,omitempty"` // such as 0-99, 500
	Unreachable    int      `json:"slots_unreachable"`         // covered by nodes that do not answer this host
	WithoutReplica []string `json:"without_replica,omitempty"` // primaries
	Hottest        *Hottest `json:"hottest,omitempty"`
}

// Hottest is the primary with the most connections.
type Hottest struct {
	Addr  string  `json:"addr"`
	Ratio float64 `json:"ratio"` // its connections compared with the mean of the other primaries
}

// OfCluster converts the state of a cluster. It returns nil if there is none, or if nothing is known about it.
func OfCluster(st *monitor.State) *Cluster {
	m := st.Cluster
	if !m.Known() {
		return nil
	}
	c := &Cluster{Primaries: len(m.Primaries()), WithoutReplica: m.WithoutReplica()}
	for i := range m.Nodes {
		switch n := &m.Nodes[i]; {
		case n.Failed:
			c.Failed = append(c.Failed, n.Name())
		case n.Primary != "":
			c.Replicas++
		}
	}
	c.Uncovered, c.UncoveredSlots = m.Uncovered()
	for _, p := range m.Primaries() {
		if n := st.Node(p.Name()); n != nil && !n.Up && n.Err != nil {
			c.Unreachable += p.Slots
		}
	}
	c.Covered = monitor.ClusterSlots - c.Uncovered
	if n, ratio, _ := st.Hottest(); n != nil {
		c.Hottest = &Hottest{n.Addr, ratio}
	}
	return c
}

// Problem reports whether slots have no node, or a primary has no replica, or nodes with slots do not answer.
func (c *Cluster) Problem() bool {
	return c.Uncovered > 0 || c.Unreachable > 0 || len(c.WithoutReplica) > 0
}

// String describes the cluster in one line.
func (c *Cluster) String() string {
	text := counted(c.Primaries, "primary", "primaries") + ", " + counted(c.Replicas, "replica", "replicas")
	switch {
	case c.Uncovered > 0:
		text += fmt.Sprintf("; NO NODE for %s: %s", counted(c.Uncovered, "slot", "slots"), c.UncoveredSlots)
	case c.Unreachable == 0:
		text += "; all slots served"
	}
	if c.Unreachable > 0 {
		text += fmt.Sprintf("; %s at nodes that DO NOT ANSWER", counted(c.Unreachable, "slot", "slots"))
	}
	if n := len(c.WithoutReplica); n > 0 {
		text += "; without a replica: " + strings.Join(c.WithoutReplica, ", ")
	}
	return text
}

func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", several)
}

// Filled formats connections and their limit; 0: unknown.
func Filled(connections, limit int64) string {
	if limit <= 0 {
		return fmt.Sprint(connections)
	}
	return fmt.Sprintf("%d of %d (%.0f%%)", connections, limit, 100*float64(connections)/float64(limit))
}
