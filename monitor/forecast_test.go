package monitor

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// seen are points every ten seconds, of a course over minutes.
func seen(minutes float64, limit int64, course func(minute float64) float64) []Point {
	var list []Point
	for s := 0.0; s <= 60*minutes; s += 10 {
		list = append(list, Point{At: time.Unix(1_700_000_000, 0).Add(time.Duration(s) * time.Second),
			Connections: int64(max(0, course(s/60))), MaxClients: limit})
	}
	return list
}

func TestForecast(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		points []Point
		want   time.Duration // 0: none
	}{
		"nothing":              {nil, 0},
		"still":                {seen(60, 1000, func(float64) float64 { return 500 }), 0},
		"a leak":               {seen(30, 1000, func(m float64) float64 { return 100 + 10*m }), time.Hour},
		"a leak with noise":    {seen(60, 10_000, func(m float64) float64 { return 1000 + 50*m + 200*r.Float64() }), 118 * time.Minute},
		"a fast one":           {seen(3, 1000, func(m float64) float64 { return 50 + 200*m }), 105 * time.Second},
		"it began lately":      {seen(60, 1000, func(m float64) float64 { return 100 + max(0, 20*(m-48)) }), 33 * time.Minute},
		"noise":                {seen(60, 1000, func(float64) float64 { return 500 + 200*r.Float64() }), 0},
		"a step":               {seen(60, 1000, func(m float64) float64 { return 300 + 400*math.Floor(m/30) }), 0},
		"a step in ten":        {seen(10, 1000, func(m float64) float64 { return 300 + 400*math.Floor(m/5) }), 0},
		"two steps":            {seen(40, 1000, func(m float64) float64 { return 300 + 200*math.Floor(m/13) }), 0},
		"up and down":          {seen(120, 1000, func(m float64) float64 { return 500 + 300*math.Sin(m/2) }), 0},
		"falling":              {seen(60, 1000, func(m float64) float64 { return 900 - 10*m }), 0},
		"too far off":          {seen(5, 1_000_000, func(m float64) float64 { return 100 + 10*m }), 0},
		"no limit":             {seen(30, 0, func(m float64) float64 { return 100 + 10*m }), 0},
		"full already":         {seen(30, 400, func(m float64) float64 { return min(400, 100+10*m) }), time.Nanosecond},
		"a handful":            {seen(30, 400, func(m float64) float64 { return 100 + m/10 }), 0},
		"one moment only":      {seen(0, 400, func(m float64) float64 { return 100 }), 0},
		"too few points":       {seen(1.5, 400, func(m float64) float64 { return 100 + 100*m }), 0},
		"with a gap":           {append(seen(10, 1000, func(m float64) float64 { return 100 + 10*m }), shift(seen(20, 1000, func(m float64) float64 { return 300 + 10*m }), 20*time.Minute)...), 50 * time.Minute},
		"one point is far off": {odd(seen(30, 1000, func(m float64) float64 { return 100 + 10*m })), time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			f := forecast(c.points)
			if f.Exists != (c.want > 0) {
				t.Fatalf("%+v: want one in %v", f, c.want)
			}
			if !f.Exists {
				return
			}
			if c.want > time.Second && math.Abs(f.In.Seconds()-c.want.Seconds()) > 0.15*c.want.Seconds() {
				t.Errorf("in %v: want %v", f.In, c.want)
			}
			if f.Earliest > f.In || f.In > f.Latest || f.Growth <= 0 || f.Seen <= 0 {
				t.Errorf("%+v", f)
			}
		})
	}
}

func shift(list []Point, by time.Duration) []Point {
	for i := range list {
		list[i].At = list[i].At.Add(by)
	}
	return list
}

func odd(list []Point) []Point {
	list[len(list)/2].Connections = 0
	return list
}

// Whatever comes, a forecast is in order and nothing breaks.
func TestForecastOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(time.Second)
		at := time.Unix(1_700_000_000, 0)
		limit := rapid.Int64Range(0, 20_000).Draw(t, "limit")
		for range rapid.IntRange(0, 2000).Draw(t, "looks") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(30*time.Second)).Draw(t, "pause")))
			h.add(Point{At: at, Connections: rapid.Int64Range(0, 20_000).Draw(t, "connections"), MaxClients: limit})
		}
		points := h.list()
		if len(points) > historyPoints {
			t.Fatalf("%d points", len(points))
		}
		for i := 1; i < len(points); i++ {
			if !points[i-1].At.Before(points[i].At) {
				t.Fatalf("%v, then %v", points[i-1].At, points[i].At)
			}
		}
		f := forecast(points)
		if f.Exists && (f.Earliest < 0 || f.Earliest > f.In || f.In > f.Latest || limit == 0) {
			t.Fatalf("%+v", f)
		}
	})
}

// Chance alone makes no trend: false ones are rare.
func TestForecastIsNotFooledByChance(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	fooled := 0
	const tries = 300
	for range tries {
		n := 500.0 // comes and goes with a memory of ten minutes
		list := seen(90, 1000, func(float64) float64 {
			n += (500-n)/60 + 20*r.NormFloat64()
			return n
		})
		if forecast(list).Exists {
			fooled++
		}
	}
	if fooled > tries/20 {
		t.Errorf("%d of %d trends that are none", fooled, tries)
	}
	t.Logf("%d of %d", fooled, tries)
}
