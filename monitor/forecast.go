package monitor

import (
	"math"
	"slices"
	"time"
)

// trendWindows are the time spans in which forecast looks for a trend, the shortest first. The
// shortest window with a reliable trend counts. The number of connections oscillates, so a short
// window predicts only the near future: reach is the maximum ratio of the forecast to the observed
// time.
var trendWindows = []struct {
	span  time.Duration
	reach float64
}{{2 * time.Minute, 5}, {10 * time.Minute, 8}, {40 * time.Minute, 12}, {historyKept, 24}}

const (
	trendPoints = 60  // points of a window after thinning
	trendLeast  = 12  // minimum number of points
	trendRise   = 5.0 // connections: minimum rise
	trendNoise  = 3.0 // minimum ratio of the rise to the noise around the trend
	trendSteady = 0.3 // minimum share of the rise in each third of the window
)

// forecast returns when the connections of points reach the limit, if they rise steadily. It uses
// the median of the slopes between any two points (Theil and Sen), which ignores a few outliers. A
// step is not a trend: each third of a window must rise.
func forecast(points []Point) Forecast {
	if len(points) == 0 {
		return Forecast{Missing: noSamples}
	}
	last := points[len(points)-1]
	if last.MaxClients <= 0 {
		return Forecast{Missing: noLimit}
	}
	missing := noSamples
	for _, window := range trendWindows {
		from := since(points, last.At.Add(-window.span))
		f, ok := trendOf(points[from:], trendLeast, last.free())
		switch {
		case !ok:
			missing = max(missing, f.Missing)
		case f.In.Seconds() > window.reach*f.Seen.Seconds():
			missing = max(missing, tooFar)
		case !unusual(points, from):
			missing = max(missing, notSteady)
		default:
			return f
		}
	}
	return Forecast{Missing: missing}
}

// roughSpans are the time spans in which roughForecast looks for a trend, the longest first.
var roughSpans = []time.Duration{recentKept, recentKept / 2, recentKept / 4}

const (
	roughAfter   = 29 * time.Second // 30 s of samples, less their jitter
	roughLeast   = 4                // minimum number of points
	roughRise    = 10.0             // connections: minimum rise
	roughReach   = 240.0            // maximum ratio of a rough forecast to the observed time
	roughTrusted = 10.0             // the same, for alerts
)

// roughForecast returns a forecast of the last two minutes, long before forecast does. recent are
// all points of that time, and points are the history.
func roughForecast(recent, points []Point) Forecast {
	if len(recent) == 0 {
		return Forecast{Missing: noSamples}
	}
	last := recent[len(recent)-1]
	if last.MaxClients <= 0 {
		return Forecast{Missing: noLimit}
	}
	if last.At.Sub(recent[0].At) < roughAfter {
		return Forecast{Missing: noSamples}
	}
	missing := noSamples
	for _, span := range roughSpans {
		part := recent[since(recent, last.At.Add(-span)):]
		f, ok := trendOf(part, roughLeast, last.free())
		switch {
		case !ok:
			missing = max(missing, f.Missing)
		case f.Seen < roughAfter:
		case f.Growth*f.Seen.Minutes() < roughRise:
			missing = max(missing, notGrowing)
		case f.In.Seconds() > roughReach*f.Seen.Seconds():
			missing = max(missing, tooFar)
		case !roughlyUnusual(points, since(points, part[0].At)):
			missing = max(missing, notSteady)
		default:
			f.Rough = true
			return f
		}
	}
	return Forecast{Missing: missing}
}

// since returns the index of the first point at a time or later.
func since(points []Point, at time.Time) int {
	i, _ := slices.BinarySearchFunc(points, at, func(p Point, t time.Time) int { return p.At.Compare(t) })
	return i
}

// free returns the number of connections up to the limit.
func (p *Point) free() float64 { return float64(max(0, p.MaxClients-p.Connections)) }

// unusual reports whether the rise since point from is clearly larger than the earlier rises of the
// same length, with 95% confidence. With fewer earlier rises than points since, it returns false,
// and a longer window decides.
func unusual(points []Point, from int) bool {
	if from == 0 {
		return true
	}
	now, before := risesTo(points, from)
	return len(before) >= len(points)-1-from && exceeds(now, before)
}

// roughlyUnusual is unusual for a history that may be short: it compares with the earlier rises that
// there are.
func roughlyUnusual(points []Point, from int) bool {
	if from >= len(points)-1 {
		return true
	}
	now, before := risesTo(points, from)
	return len(before) == 0 || exceeds(now, before)
}

// risesTo returns the rise since point from, and the earlier rises of the same length.
func risesTo(points []Point, from int) (now float64, before []float64) {
	n := len(points) - 1 - from
	rise := func(i int) float64 { return float64(points[i+n].Connections - points[i].Connections) }
	for i := 0; i+n <= from; i++ {
		before = append(before, rise(i))
	}
	return rise(from), before
}

// exceeds reports whether a rise is clearly larger than earlier ones. It sorts them.
func exceeds(now float64, before []float64) bool {
	slices.Sort(before)
	return now > 1.3*before[len(before)*19/20]
}

// trendOf returns the forecast of a window with at least this many points, or why there is none.
func trendOf(points []Point, least int, free float64) (Forecast, bool) {
	seen := points[len(points)-1].At.Sub(points[0].At)
	if len(points) < least || seen <= 0 {
		return Forecast{Missing: noSamples}, false
	}
	all := sampled(points)
	slope, low, high := theilSen(all)
	if slope*seen.Seconds() < trendRise {
		return Forecast{Missing: notGrowing}, false
	}
	if low <= 0 || slope*seen.Seconds() < trendNoise*noise(all, slope) {
		return Forecast{Missing: notSteady}, false
	}
	for i := range 3 {
		part := all[i*len(all)/3 : min((i+1)*len(all)/3+1, len(all))]
		if s, _, _ := theilSen(part); s < trendSteady*slope {
			return Forecast{Missing: notSteady}, false
		}
	}
	in := func(perSecond float64) time.Duration {
		return time.Duration(min(free/perSecond, (1000*time.Hour).Seconds()) * float64(time.Second))
	}
	return Forecast{Exists: true, Growth: 60 * slope, In: in(slope), Earliest: in(high), Latest: in(low), Seen: seen}, true
}

// xy is a point of a trend: seconds and connections.
type xy struct{ x, y float64 }

// sampled returns an evenly thinned list of points.
func sampled(points []Point) []xy {
	n := min(trendPoints, len(points))
	list := make([]xy, n)
	for i := range list {
		p := points[i*(len(points)-1)/(n-1)]
		list[i] = xy{p.At.Sub(points[0].At).Seconds(), float64(p.Connections)}
	}
	return list
}

// theilSen returns the median of the slopes between all pairs, and its 95% confidence interval (by
// the variance of Kendall's statistic).
func theilSen(list []xy) (slope, low, high float64) {
	slopes := make([]float64, 0, len(list)*(len(list)-1)/2)
	for i, a := range list {
		for _, b := range list[i+1:] {
			if b.x > a.x {
				slopes = append(slopes, (b.y-a.y)/(b.x-a.x))
			}
		}
	}
	if len(slopes) == 0 {
		return 0, 0, 0
	}
	slices.Sort(slopes)
	n := float64(len(list))
	half := 1.96 * math.Sqrt(n*(n-1)*(2*n+5)/18)
	pairs := float64(len(slopes))
	at := func(rank float64) float64 { return slopes[int(min(max(rank, 0), pairs-1))] }
	return at(pairs / 2), at((pairs - half) / 2), at((pairs + half) / 2)
}

// noise returns the median distance of the points from the trend.
func noise(list []xy, slope float64) float64 {
	rest := make([]float64, len(list))
	for i, p := range list {
		rest[i] = p.y - slope*p.x
	}
	middle := median(rest)
	for i := range rest {
		rest[i] = math.Abs(rest[i] - middle)
	}
	return median(rest)
}

// median returns the median. It sorts the list.
func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
