package monitor

import "time"

const (
	historyKept   = 2 * time.Hour
	historyPoints = 720
	recentKept    = 2 * time.Minute
	recentSpread  = time.Second / 2 // minimum time between two recent points
)

// history contains the recent past of one run of a server: a ring of points at even intervals,
// independent of the interval of the snapshots.
type history struct {
	points []Point
	first  int // index of the oldest point, once the ring is full
	spread time.Duration
	recent []Point // of the last two minutes, oldest first
}

func newHistory(every time.Duration) *history {
	return &history{spread: max(every, historyKept/historyPoints)}
}

// add stores a point, and reports whether it is a new one. Of several points within one interval,
// the ring keeps the one with the most connections.
func (h *history) add(p Point) bool {
	h.addRecent(p)
	if n := len(h.points); n > 0 {
		last := &h.points[(h.first+n-1)%n]
		if begun := last.At.Truncate(h.spread); p.At.Before(begun.Add(h.spread)) {
			if p.Connections >= last.Connections {
				*last = p
			}
			return false
		}
	}
	if len(h.points) < historyPoints {
		h.points = append(h.points, p)
		return true
	}
	h.points[h.first] = p
	h.first = (h.first + 1) % historyPoints
	return true
}

// list returns a copy, oldest first.
func (h *history) list() []Point {
	return append(append(make([]Point, 0, len(h.points)), h.points[h.first:]...), h.points[:h.first]...)
}

// addRecent stores a point of the last two minutes.
func (h *history) addRecent(p Point) {
	if n := len(h.recent); n > 0 && p.At.Sub(h.recent[n-1].At) < recentSpread {
		return
	}
	old := since(h.recent, p.At.Add(-recentKept))
	h.recent = append(h.recent[old:], p)
}
