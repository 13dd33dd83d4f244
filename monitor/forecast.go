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
	if len(points) < trendLeast {
		return Forecast{}
	}
	last := points[len(points)-1]
	if last.MaxClients <= 0 {
		return Forecast{}
	}
	free := float64(last.MaxClients - last.Connections)
	for _, window := range trendWindows {
		from, _ := slices.BinarySearchFunc(points, last.At.Add(-window.span), func(p Point, t time.Time) int { return p.At.Compare(t) })
		if f, ok := trendOf(points[from:], max(0, free)); ok && f.In.Seconds() <= window.reach*f.Seen.Seconds() && unusual(points, from) {
			return f
		}
	}
	return Forecast{}
}

// unusual reports whether the rise since point from is clearly larger than the earlier rises of the
// same length, with 95% confidence. With fewer earlier rises than points since, it returns false,
// and a longer window decides.
func unusual(points []Point, from int) bool {
	if from == 0 {
		return true
	}
	n := len(points) - 1 - from
	rise := func(i int) float64 { return float64(points[i+n].Connections - points[i].Connections) }
	var before []float64
	for i := 0; i+n <= from; i++ {
		before = append(before, rise(i))
	}
	if len(before) < n {
		return false
	}
	slices.Sort(before)
	return rise(from) > 1.3*before[len(before)*19/20]
}

func trendOf(points []Point, free float64) (Forecast, bool) {
	seen := points[len(points)-1].At.Sub(points[0].At)
	if len(points) < trendLeast || seen <= 0 {
		return Forecast{}, false
	}
	all := sampled(points)
	slope, low, high := theilSen(all)
	if slope*seen.Seconds() < trendRise || low <= 0 || slope*seen.Seconds() < trendNoise*noise(all, slope) {
		return Forecast{}, false
	}
	for i := range 3 {
		part := all[i*len(all)/3 : (i+1)*len(all)/3]
		if s, _, _ := theilSen(part); s < trendSteady*slope {
			return Forecast{}, false
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
