package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Commands of a batch begin together, so they end together: no connection becomes free early, and
// the time until then depends on the whole distribution of the times, not only on its variance.
// Formulas for batches misjudge the share of long waits by a factor of ten and more, in both
// directions. Batches are therefore simulated.

const (
	// margin is the ratio of the measured share of late commands to the target. It covers events
	// that are too rare for the length of the simulation.
	margin = 0.8
	// leastBatchTarget is the smallest target that a simulation can distinguish from zero.
	leastBatchTarget = 1e-5
	batchSeed        = 1
	mostPlayed       = 10_000_000
)

// measured contains the waits of commands with some number of connections.
type measured struct {
	waiting, late float64       // the shares that wait at all, and longer than Load.Wait
	longest       time.Duration // the wait that one command in a million exceeds
}

// measure computes the waits of single commands, and simulates those of batches.
func measure(l Load, d Lognormal, c, commands int) measured {
	if l.Parallel == 1 {
		q := newQueue(l, d, c)
		return measured{q.late(0), q.late(l.Wait), q.within(1e-6)}
	}
	out := playBatches(l, d, c, commands, commands)
	return measured{out.Waiting, out.Late, out.MaxWait}
}

// enough reports whether the share of late commands is within the target.
func enough(l Load, d Lognormal, c, commands int) bool {
	if l.Parallel == 1 {
		return newQueue(l, d, c).late(l.Wait) <= l.Target
	}
	most := int(margin * l.Target * float64(commands))
	return playBatches(l, d, c, commands, most).Late <= margin*l.Target
}

// playBatches simulates a load, with the same random numbers each time, so more connections never
// lengthen a wait. It ends early when more than most commands were late.
func playBatches(l Load, d Lognormal, c, commands, most int) Outcome {
	run := newSimulation(Scenario{Connections: c, Commands: commands, Seed: batchSeed}, d, 0)
	run.most = most
	run.begun(int(l.Offered()))
	return run.play(l)
}

// begun starts a simulation with the average number of connections in use. Their remaining times
// belong to commands that began before; long commands are more frequent among them.
func (m *simulation) begun(held int) {
	r := rand.New(rand.NewPCG(m.s.Seed, 0))
	longer := Lognormal{Mu: m.d.Mu + m.d.Sigma*m.d.Sigma, Sigma: m.d.Sigma}
	for i := range min(held, len(m.open)) {
		m.open[i] = r.Float64() * longer.draw(r)
	}
	slices.Sort(m.open)
}

// runLength returns the number of commands to simulate: many times those in flight or in a batch,
// and enough that about 1,000 may be late.
func runLength(l Load) int {
	n := max(1_000_000, 100_000*l.Offered(), 20_000*float64(l.Parallel), 1000/l.Target)
	return int(math.Min(n, mostPlayed))
}

// fewest returns the smallest number above least that is enough. It searches around guess first.
func fewest(least, guess int, enough func(int) bool) int {
	low, high := least, max(guess, least+1)
	for !enough(high) {
		low, high = high, 2*high-least
	}
	for high-low > 1 {
		if mid := low + (high-low)/2; enough(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}
