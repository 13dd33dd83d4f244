package live

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

const (
	historyKept   = 2 * time.Hour
	historyPoints = 1440            // of one node
	historySpread = 5 * time.Second // of the points once they cover historyKept
	marksKept     = 200
)

// point is one moment of a node. Its values are the largest of the moments in its spread; NaN: unknown.
type point struct {
	at                                             int64 // milliseconds since 1970, a multiple of the spread
	connections, limit, opened, rejected, commands float64
}

// MarshalJSON writes an array: time in seconds, connections, limit, then opened, rejected and commands a second. Unknown values
// are null.
func (p point) MarshalJSON() ([]byte, error) {
	b := append([]byte{'['}, strconv.FormatFloat(float64(p.at)/1000, 'f', -1, 64)...)
	for _, v := range []float64{p.connections, p.limit, p.opened, p.rejected, p.commands} {
		b = append(b, ',')
		if math.IsNaN(v) {
			b = append(b, "null"...)
			continue
		}
		b = strconv.AppendFloat(b, math.Round(v*100)/100, 'f', -1, 64)
	}
	return append(b, ']'), nil
}

// pointOf converts the state of a node. The values of one that does not answer, or cannot be judged, are unknown.
func pointOf(n *monitor.NodeState, at time.Time) point {
	unknown := math.NaN()
	p := point{at.UnixMilli(), unknown, unknown, unknown, unknown, unknown}
	if n.Last == nil {
		return p
	}
	if n.Last.MaxClients > 0 {
		p.limit = float64(n.Last.MaxClients)
	}
	if !n.Up {
		return p
	}
	p.at = n.Last.At.UnixMilli()
	if !n.Last.Uncounted {
		p.connections = float64(n.Last.Connections)
	}
	if n.Rates.Known {
		p.opened, p.rejected, p.commands = n.Rates.Opened, n.Rates.Rejected, n.Rates.Commands
	}
	return p
}

// larger returns the larger value. An unknown one is the smallest.
func larger(a, b float64) float64 {
	if math.IsNaN(a) || b > a {
		return b
	}
	return a
}

func (p point) merge(o point) point {
	return point{p.at, larger(p.connections, o.connections), larger(p.limit, o.limit), larger(p.opened, o.opened),
		larger(p.rejected, o.rejected), larger(p.commands, o.commands)}
}

// series are the points of one node, oldest first. While they cover less than historyKept, each full series is thinned to
// half of its points, so that a short interval shows detail at first.
type series struct {
	spread   int64 // milliseconds
	points   []point
	restarts int // seen so far
}

func newSeries(every time.Duration, restarts int) *series {
	return &series{spread: max(every.Milliseconds(), 1), restarts: restarts}
}

// add adds a moment, and returns the point that contains it.
func (s *series) add(p point) point {
	if len(s.points) == historyPoints && s.spread < historySpread.Milliseconds() {
		s.thin()
	}
	p.at -= p.at % s.spread
	if n := len(s.points); n > 0 && s.points[n-1].at >= p.at {
		s.points[n-1] = s.points[n-1].merge(p)
		return s.points[n-1]
	}
	old := 0
	for old < len(s.points) && (p.at-s.points[old].at > historyKept.Milliseconds() || len(s.points)-old >= historyPoints) {
		old++
	}
	s.points = append(s.points[:copy(s.points, s.points[old:])], p)
	return p
}

// thin doubles the spread, and joins the points that now belong together.
func (s *series) thin() {
	s.spread *= 2
	var kept []point
	for _, p := range s.points {
		p.at -= p.at % s.spread
		if n := len(kept); n > 0 && kept[n-1].at == p.at {
			kept[n-1] = kept[n-1].merge(p)
			continue
		}
		kept = append(kept, p)
	}
	s.points = append(make([]point, 0, historyPoints), kept...)
}

// after returns the points from a time in milliseconds on.
func (s *series) after(at int64) []point {
	from := len(s.points)
	for from > 0 && s.points[from-1].at >= at {
		from--
	}
	return s.points[from:]
}

// mark is an event in the charts.
type mark struct {
	At   float64 `json:"at"`   // seconds since 1970
	Kind string  `json:"kind"` // restart, alert or resolved
	Text string  `json:"text"`
	Node string  `json:"node,omitempty"` // empty: all nodes
}

// marks are the last events, oldest first.
type marks []mark

func (m marks) add(at time.Time, kind, text, node string) marks {
	if len(m) >= marksKept {
		m = m[1:]
	}
	return append(m, mark{float64(at.UnixMilli()) / 1000, kind, text, node})
}

// of returns the events of a node and of all nodes, newer than a time in seconds.
func (m marks) of(node string, after float64) []mark {
	list := []mark{}
	for _, one := range m {
		if (one.Node == "" || one.Node == node) && one.At > after {
			list = append(list, one)
		}
	}
	return list
}

// historyOf is the event that a tab receives when it opens.
type historyOf struct {
	Node   string          `json:"node"`
	Points json.RawMessage `json:"points"`
	Marks  []mark          `json:"marks"`
}
