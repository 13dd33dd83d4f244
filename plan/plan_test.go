package plan

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// erlangC is the textbook's, by the recursion of Erlang's B.
func erlangC(c int, a float64) float64 {
	b := 1.0
	for n := 1; n <= c; n++ {
		b = a * b / (float64(n) + a*b)
	}
	rho := a / float64(c)
	return b / (1 - rho + rho*b)
}

// exponential is a load whose times vary as much as exponential ones do.
func exponential(rate float64, mean time.Duration) Load {
	sigma := math.Sqrt(math.Log(2)) // a squared coefficient of variation of 1
	return Load{Rate: rate, Mean: mean, P99: time.Duration(float64(mean) * math.Exp(z99*sigma-sigma*sigma/2))}
}

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance*want }

func TestTheQueueIsErlangs(t *testing.T) {
	const mean = 10 * time.Millisecond
	for _, p := range []struct {
		c   int
		rho float64
	}{{1, 0.5}, {1, 0.95}, {2, 0.7}, {3, 0.9}, {5, 0.5}, {10, 0.8}, {20, 0.95}, {50, 0.9}, {100, 0.97}, {1000, 0.99}} {
		a := p.rho * float64(p.c)
		l := exponential(a/mean.Seconds(), mean)
		for _, wait := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond} {
			want := erlangC(p.c, a) * math.Exp(-(float64(p.c)-a)*wait.Seconds()/mean.Seconds())
			got, err := WaitProbability(l, p.c, wait)
			if err != nil || !near(got, want, 0.01) {
				t.Errorf("%d connections, %g busy, longer than %v: %g, %v: want %g", p.c, p.rho, wait, got, err, want)
			}
		}
	}
}

// Any number of connections hold a Poisson number of single commands, and the
// textbook's variance of batches.
func TestPeakednessIsThatOfClosedForms(t *testing.T) {
	if z := peakedness(1, Lognormal{Sigma: 1}); z != 1 {
		t.Errorf("of single commands: %g", z)
	}
	if z := peakedness(8, Lognormal{}); z != 8 {
		t.Errorf("of eight with one and the same time: %g", z)
	}
}

func TestTheModelAgreesWithTheSimulation(t *testing.T) {
	for _, l := range []Load{
		{Rate: 900, Burst: 2, Mean: 1200 * time.Microsecond, P99: 8 * time.Millisecond},
		{Rate: 5000, Mean: time.Millisecond, P99: 3 * time.Millisecond},
		{Rate: 200, Mean: 20 * time.Millisecond, P99: 25 * time.Millisecond},
		{Rate: 20_000, Burst: 1.5, Mean: 500 * time.Microsecond, P99: 4 * time.Millisecond},
	} {
		t.Run(fmt.Sprintf("%g", l.Rate), func(t *testing.T) {
			size, err := For(l)
			if err != nil {
				t.Fatal(err)
			}
			out, err := Simulate(l, Scenario{Connections: size.Connections, Commands: 1_000_000, Seed: 7})
			if err != nil {
				t.Fatal(err)
			}
			if !near(size.Waiting, out.Waiting, 0.2) && math.Abs(size.Waiting-out.Waiting) > 2e-4 {
				t.Errorf("%d connections: %.4f of the commands wait, in the simulation %.4f", size.Connections, size.Waiting, out.Waiting)
			}
			if out.Late > 1.5*0.001 {
				t.Errorf("%d connections: %.5f are late in the simulation: want 0.001", size.Connections, out.Late)
			}
			if !near(out.Busy, size.Offered, 0.03) {
				t.Errorf("%.2f connections were held: want %.2f, by Little's law", out.Busy, size.Offered)
			}
			t.Logf("%+v; %+v", size, out)
		})
	}
}

// The simulation itself is held against Erlang's formula, with exponential times.
func TestTheSimulationIsErlangs(t *testing.T) {
	l := Load{Rate: 4000, Mean: time.Millisecond}
	trace := make([]time.Duration, 10_000) // an exponential distribution, by its quantiles
	for i := range trace {
		trace[i] = time.Duration(-math.Log(1-(float64(i)+0.5)/float64(len(trace)))*1e6) + 1
	}
	out, err := Simulate(l, Scenario{Connections: 5, Trace: trace, Commands: 2_000_000, Seed: 1})
	if want := erlangC(5, 4); err != nil || !near(out.Waiting, want, 0.02) {
		t.Errorf("%.4f wait, %v: want %.4f", out.Waiting, err, want)
	}
}

func TestStallsMakeCommandsWait(t *testing.T) {
	l := Load{Rate: 1000, Mean: time.Millisecond, P99: 3 * time.Millisecond}
	calm, err := Simulate(l, Scenario{Connections: 6, Commands: 200_000, Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	stalled, err := Simulate(l, Scenario{Connections: 6, Commands: 200_000, Seed: 3, StallEvery: 5 * time.Second, StallFor: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	// The server stalls for some 2% of the time. Callers that arrive then wait, except for the first few.
	if stalled.Late < calm.Late+0.01 || stalled.Late > 0.06 || stalled.MaxWait < 80*time.Millisecond || stalled.Stalls < 20 || calm.Stalls != 0 {
		t.Errorf("calm %+v, stalled %+v", calm, stalled)
	}
	again, _ := Simulate(l, Scenario{Connections: 6, Commands: 200_000, Seed: 3, StallEvery: 5 * time.Second, StallFor: 100 * time.Millisecond})
	if again != stalled {
		t.Errorf("the same seed gave %+v and %+v", stalled, again)
	}
}

func TestTheLognormalHasItsMeanAndPercentile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mean := time.Duration(rapid.Int64Range(1000, int64(10*time.Second)).Draw(t, "mean"))
		ratio := rapid.Float64Range(1.0001, 14.9).Draw(t, "ratio")
		p99 := time.Duration(float64(mean) * ratio)
		d, err := Fit(mean, p99)
		if err != nil {
			t.Fatal(err)
		}
		if got := math.Exp(d.Mu + d.Sigma*d.Sigma/2); !near(got, mean.Seconds(), 1e-6) {
			t.Errorf("mean %g: want %g", got, mean.Seconds())
		}
		if got := math.Exp(d.Mu + z99*d.Sigma); !near(got, p99.Seconds(), 1e-3) {
			t.Errorf("p99 %g: want %g", got, p99.Seconds())
		}
	})
}

func TestImpossibleLoadsAreExplained(t *testing.T) {
	for want, l := range map[string]Load{
		"is below the mean of 5ms":           {Rate: 1, Mean: 5 * time.Millisecond, P99: time.Millisecond},
		"15.0 times at most":                 {Rate: 1, Mean: time.Millisecond, P99: 16 * time.Millisecond},
		"rate is 0":                          {Mean: time.Millisecond},
		"rate is NaN":                        {Rate: math.NaN(), Mean: time.Millisecond},
		"burst is 0.5":                       {Rate: 1, Burst: 0.5, Mean: time.Millisecond},
		"parallel is -1":                     {Rate: 1, Parallel: -1, Mean: time.Millisecond},
		"mean is 0s":                         {Rate: 1},
		"target is 2":                        {Rate: 1, Mean: time.Millisecond, Target: 2},
		"in batches":                         {Rate: 1, Mean: time.Millisecond, Parallel: 2, Target: 1e-6},
		"commands would be in flight in one": {Rate: 1e9, Mean: time.Second},
	} {
		_, err := Make(l, Fleet{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "plan: ") {
			t.Errorf("%+v: %v: want %s", l, err, want)
		}
		if _, serr := Simulate(l, Scenario{Connections: 1}); serr == nil {
			t.Errorf("%+v was simulated", l)
		}
	}
	if _, err := Make(Load{Rate: 1, Mean: 5, P99: 1}, Fleet{}); !errors.Is(err, ErrImpossible) {
		t.Errorf("%v is no ErrImpossible", err)
	}
	for want, f := range map[string]Fleet{
		"pods is -1": {Pods: -1}, "surge is 11": {Surge: 11}, "others is -5": {Others: -5}, "maxclients is -1": {MaxClients: -1},
	} {
		if _, err := Make(Load{Rate: 1, Mean: time.Millisecond}, f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v: want %s", f, err, want)
		}
	}
}

// Whatever the load: enough connections, no more than needed, and more load
// never needs fewer.
func TestSizesAreRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Load{
			Rate: rapid.Float64Range(0.01, 5000).Draw(t, "rate"), Burst: rapid.Float64Range(1, 4).Draw(t, "burst"),
			Parallel: rapid.IntRange(1, 20).Draw(t, "parallel"), Mean: time.Duration(rapid.Int64Range(50_000, 20_000_000).Draw(t, "mean")),
		}
		l.P99 = time.Duration(float64(l.Mean) * rapid.Float64Range(1, 14).Draw(t, "ratio"))
		const played = 10_000 // of batches
		l, err := l.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		d, _ := Fit(l.Mean, l.P99)
		s := size(l, d, played)
		if s.Late > 0.001 || s.Waiting < s.Late || s.MinIdle > s.Connections || float64(s.Connections) <= s.Offered {
			t.Errorf("%+v", s)
		}
		if fewer := s.Connections - 1; float64(fewer) > s.Offered && enough(l, d, fewer, played) {
			t.Errorf("%d connections, and %d are enough", s.Connections, fewer)
		}
		more := l
		more.Rate *= 1.5
		if m := size(more, d, played); m.Connections < s.Connections {
			t.Errorf("%d connections for half as much again, %d for this", m.Connections, s.Connections)
		}
	})
}

func TestFleetsThatDoNotFitAreToldTheWaysOut(t *testing.T) {
	l := Load{Rate: 900, Burst: 2, Mean: 1200 * time.Microsecond, P99: 8 * time.Millisecond}
	p, err := Make(l, Fleet{Pods: 40, MaxClients: 10_000, Others: 3000})
	if err != nil {
		t.Fatal(err)
	}
	if p.Pooled.Processes != 50 || p.Pooled.Total != 50*p.Pooled.MaxConnections || p.Pooled.Budget != 6500 || !p.Pooled.Fits() || len(p.Ways) != 0 {
		t.Errorf("%+v", p)
	}
	p, err = Make(l, Fleet{Pods: 400, Workers: 4, Blocking: 2, Subscribers: 3, MaxClients: 20_000, Others: 3000})
	if err != nil {
		t.Fatal(err)
	}
	if p.Pooled.Fits() || p.Pooled.Over != p.Pooled.Total-16_000 || !p.Respool.Fits() || p.Respool.MaxConnections != 4+1+1+1 {
		t.Errorf("%+v", p)
	}
	text := strings.Join(p.Ways, "\n")
	for _, want := range []string{"share connections: with 7 per process", "raise maxclients to", "processes at a time instead of 2000"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	p, err = Make(l, Fleet{MaxClients: 100, Others: 200})
	if err != nil || p.Pooled.Fits() || p.Respool.Fits() || !strings.Contains(strings.Join(p.Ways, ""), "use all of 100") {
		t.Errorf("%+v, %v", p, err)
	}
	if n := (Fleet{Pods: 10, Surge: 0, Workers: 2}).Processes(); n != 20 {
		t.Errorf("%d processes", n)
	}
}

// Single commands on a pool that is used by so much: the share that waits, by
// the formula and played.
func TestTheFormulaHoldsWhateverTheUse(t *testing.T) {
	const mean = 2 * time.Millisecond
	for _, ratio := range []float64{2, 4.6, 8} {
		for _, used := range []float64{0.3, 0.5, 0.7, 0.9} {
			for _, c := range []int{2, 5, 20} {
				l := Load{Rate: used * float64(c) / mean.Seconds(), Mean: mean, P99: time.Duration(ratio * float64(mean))}
				want, err := WaitProbability(l, c, 0)
				if err != nil {
					t.Fatal(err)
				}
				out, err := Simulate(l, Scenario{Connections: c, Commands: 200_000, Seed: 5})
				if err != nil {
					t.Fatal(err)
				}
				if want > 0.001 && !near(want, out.Waiting, 0.2) {
					t.Errorf("p99 %g means, %g of %d used: %.4f wait, played %.4f", ratio, used, c, want, out.Waiting)
				}
			}
		}
	}
}
