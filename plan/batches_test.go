package plan

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func TestBatchesAreSizedSoThatFewCommandsAreLate(t *testing.T) {
	for _, k := range []int{5, 20, 50} {
		for _, ratio := range []float64{2, 4.6, 8} {
			for _, offered := range []float64{2, 10} {
				t.Run(fmt.Sprintf("%d at a time, p99 %g means, %g held", k, ratio, offered), func(t *testing.T) {
					t.Parallel()
					played := max(150_000, 8_000*k)
					l, d := batchLoad(t, k, ratio, offered)
					s := size(l, d, played)
					out, err := Simulate(l, Scenario{Connections: s.Connections, Commands: played, Seed: 11})
					if err != nil {
						t.Fatal(err)
					}
					// Few batches are late in a run so short.
					if out.Late > 2*l.Target {
						t.Errorf("%d connections: %.5f are late: want %g", s.Connections, out.Late, l.Target)
					}
					if !near(s.Waiting, out.Waiting, 0.2) && math.Abs(s.Waiting-out.Waiting) > 3e-3 {
						t.Errorf("%d connections: %.4f wait, with another seed %.4f", s.Connections, s.Waiting, out.Waiting)
					}
					if out.Late < 0.001/30 && enough(l, d, s.Connections-2, played) {
						t.Errorf("%d connections are too many: %.5f are late", s.Connections, out.Late)
					}
				})
			}
		}
	}
}

func batchLoad(t *testing.T, k int, ratio, offered float64) (Load, Lognormal) {
	t.Helper()
	const mean = 2 * time.Millisecond
	l := Load{Rate: offered / mean.Seconds() / float64(k), Parallel: k, Mean: mean, P99: time.Duration(ratio * float64(mean))}
	l, err := l.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	d, err := Fit(l.Mean, l.P99)
	if err != nil {
		t.Fatal(err)
	}
	return l, d
}

// At full length, for one load: what formulas have at 23 connections and 0.07%.
func TestABatchOfTwentyNeedsMoreThanFormulasSay(t *testing.T) {
	l := Load{Rate: 100, Parallel: 20, Mean: time.Millisecond, P99: 4 * time.Millisecond}
	s, err := For(l)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Simulate(l, Scenario{Connections: s.Connections, Commands: 1_000_000, Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	if out.Late > 1.3*s.Late || out.Late > 0.0011 || !near(s.Waiting, out.Waiting, 0.1) {
		t.Errorf("%+v; %+v", s, out)
	}
	if again, _ := For(l); again != s {
		t.Errorf("%+v, and then %+v", s, again)
	}
	late, err := WaitProbability(l, s.Connections, time.Millisecond)
	if err != nil || late != s.Late {
		t.Errorf("%g late, %v: want %g", late, err, s.Late)
	}
	if late, err := WaitProbability(l, 2, time.Millisecond); err != nil || late != 1 {
		t.Errorf("%g late, %v, where the line has no end: want 1", late, err)
	}
}
