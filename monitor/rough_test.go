package monitor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// sampledNode is a node that takes snapshots of a course at intervals.
type sampledNode struct {
	*node
	t     testing.TB
	limit int64
}

func newSampledNode(t testing.TB, every time.Duration, limit int64) *sampledNode {
	return &sampledNode{&node{cfg: &SamplerConfig{Every: every}, history: newHistory(every)}, t, limit}
}

// take stores a snapshot at a time after the first one.
func (n *sampledNode) take(at time.Duration, connections float64, list string) *NodeState {
	n.t.Helper()
	s := Source{At: epoch.Add(at), Limit: n.limit, Info: fmt.Sprintf("connected_clients:%d\r\n", int(connections)+1)}
	if list != "" {
		s.List = strings.NewReader(list)
	}
	snap, err := NewSnapshot(s)
	if err != nil {
		n.t.Fatal(err)
	}
	n.node.take(snap)
	return &n.state
}

func TestAFastLeakHasARoughForecastAfterHalfAMinute(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, every := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second} {
		n := newSampledNode(t, every, 500)
		for at := time.Duration(0); ; at += every {
			now := 60 + 85*at.Minutes() + 3*r.Float64() // 85 a minute, beside short connections
			if now >= 500 {
				break
			}
			f := n.take(at, now, "").Forecast
			if at < roughAfter {
				if f.Exists || f.Missing != noSamples || f.Missing.String() != "too few samples yet" {
					t.Errorf("every %v, after %v: %+v: want none, with too few samples", every, at, f)
				}
				continue
			}
			within := 0.25
			if at >= 2*time.Minute+every {
				within = 0.15
			}
			// The forecast is as old as the last point of the history.
			left := time.Duration((500 - now) / 85 * float64(time.Minute))
			if !f.Exists || at > time.Minute && !f.Trusted() || math.Abs((f.In-left).Seconds()) > within*left.Seconds()+11 {
				t.Errorf("every %v, after %v: in %v, %+v: want it in %v", every, at, f.In, f, left)
			}
			if f.Rough && at > 2*time.Minute+every || !f.Rough && at < 100*time.Second {
				t.Errorf("every %v, after %v: rough is %v", every, at, f.Rough)
			}
		}
	}
}

func TestAForecastThatIsMissingHasAReason(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for name, c := range map[string]struct {
		limit  int64
		lasts  time.Duration
		course func(minute float64) float64
		want   string // empty: there is a forecast
	}{
		"at the start":      {500, 20 * time.Second, func(m float64) float64 { return 100 + 85*m }, "too few samples yet"},
		"without a limit":   {0, 5 * time.Minute, func(m float64) float64 { return 100 + 85*m }, "limit unknown"},
		"still":             {500, time.Minute, func(float64) float64 { return 100 }, "not growing"},
		"still for long":    {500, time.Hour, func(float64) float64 { return 100 }, "not growing"},
		"falling":           {500, 5 * time.Minute, func(m float64) float64 { return 400 - 10*m }, "not growing"},
		"a few more":        {500, time.Minute, func(m float64) float64 { return 100 + 3*m }, "not growing"},
		"a pool that fills": {500, time.Minute, func(m float64) float64 { return 100 + 40*math.Floor(2*m) }, "not growing steadily"},
		"up and down":       {500, 20 * time.Minute, func(m float64) float64 { return 250 + 100*math.Sin(6*m) + 20*r.Float64() }, "not growing steadily"},
		"far from the end":  {1_000_000, time.Minute, func(m float64) float64 { return 100 + 85*m }, "growing too slowly to predict yet"},
		"slow and roughly":  {10_000, time.Minute, func(m float64) float64 { return 100 + 85*m }, ""},
		"lately":            {1000, 61 * time.Minute, func(m float64) float64 { return 100 + max(0, 85*(m-60)) }, ""},
	} {
		n := newSampledNode(t, 2*time.Second, c.limit)
		var f Forecast
		for at := time.Duration(0); at <= c.lasts; at += 2 * time.Second {
			f = n.take(at, c.course(at.Minutes()), "").Forecast
		}
		if f.Exists != (c.want == "") || !f.Exists && f.Missing.String() != c.want {
			t.Errorf("%s: %+v, %v: want %q", name, f, f.Missing, c.want)
		}
		if f.Exists && !f.Rough {
			t.Errorf("%s: %+v: want a rough forecast", name, f)
		}
	}
}

// A rough forecast of a long time is for people. A deployment would raise an alert each time.
func TestARoughForecastOfALongTimeRaisesNoAlert(t *testing.T) {
	for _, c := range []struct {
		in, seen time.Duration
		rough    bool
		want     bool
	}{
		{3 * time.Minute, 30 * time.Second, true, true},
		{20 * time.Minute, 30 * time.Second, true, false},
		{20 * time.Minute, 30 * time.Second, false, true},
	} {
		j := judge(t)
		s := scene{taken: 100, fc: Forecast{Exists: true, Rough: c.rough, Growth: 85, In: c.in, Seen: c.seen}}
		told := told(t, j, lasting(s, 0, 2*time.Minute)...)
		if (len(told) > 0) != c.want {
			t.Errorf("%+v: %q", c, told)
		}
		if list := j.Alerts(); c.want && strings.HasPrefix(list[0].What, "full in about ") != c.rough {
			t.Errorf("%+v: %s", c, list[0].What)
		}
	}
}

func TestTheClientsOfAMinuteAgoStay(t *testing.T) {
	n := newSampledNode(t, 2*time.Second, 500)
	for i := range 40 {
		at := time.Duration(i) * 5 * time.Second
		st := n.take(at, 10, lines("orders:1", i+1, 0, 0))
		switch {
		case i == 0 && st.Earlier != nil:
			t.Fatalf("%+v", st.Earlier)
		case i == 0:
			continue
		}
		want := max(0, i-12) // 12 lists a minute
		if got := st.Earlier; got == nil || got.At.Sub(epoch) != time.Duration(want)*5*time.Second || got.Clients.Of("orders") != want+1 {
			t.Fatalf("list %d: the earlier one is %+v: want list %d", i, got, want)
		}
	}
	if len(n.lists) > 14 {
		t.Errorf("%d lists are kept", len(n.lists))
	}
	snap, err := NewSnapshot(Source{At: epoch.Add(time.Hour), Info: "run_id:another\r\nconnected_clients:1\r\n", List: strings.NewReader(lines("orders:1", 3, 0, 0))})
	if err != nil {
		t.Fatal(err)
	}
	if n.node.take(snap); n.state.Earlier != nil || n.state.Forecast.Missing.String() != "limit unknown" && n.state.Forecast.Missing.String() != "too few samples yet" {
		t.Errorf("after a restart: %+v", n.state)
	}
}
