package plan

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Commands of a batch begin together, so they end together: while the first
// are young nothing becomes free, and how long that takes depends on the whole
// distribution of the times, not on its variance alone. Formulas for batches
// are off by ten times and more in the share that waits long, to both sides.
// So batches are played.

const (
	// margin is how far below its target the share of late commands of a played
	// load has to be, for what a run of that length does not see.
	margin = 0.8
	// leastBatchTarget is the smallest target that a run can tell from nothing.
	leastBatchTarget = 1e-5
	batchSeed        = 1
	mostPlayed       = 10_000_000
)

// measured is how commands wait on some number of connections.
type measured struct {
	waiting, late float64       // the shares that wait at all, and longer than Load.Wait
	longest       time.Duration // what one command in a million waits
}

// measure computes it for single commands, and plays it for batches.
func measure(l Load, d Lognormal, c, commands int) measured {
	if l.Parallel == 1 {
		q := newQueue(l, d, c)
		return measured{q.late(0), q.late(l.Wait), q.within(1e-6)}
	}
	out := playBatches(l, d, c, commands, commands)
	return measured{out.Waiting, out.Late, out.MaxWait}
}

// enough reports whether no more than the target of the commands are late.
func enough(l Load, d Lognormal, c, commands int) bool {
	if l.Parallel == 1 {
		return newQueue(l, d, c).late(l.Wait) <= l.Target
	}
	most := int(margin * l.Target * float64(commands))
	return playBatches(l, d, c, commands, most).Late <= margin*l.Target
}

// playBatches plays a load, the same way each time: with more connections no
// command waits longer. It ends early when more than most commands were late.
func playBatches(l Load, d Lognormal, c, commands, most int) Outcome {
	run := newSimulation(Scenario{Connections: c, Commands: commands, Seed: batchSeed}, d, 0)
	run.most = most
	run.begun(int(l.Offered()))
	return run.play(l)
}

// begun starts a run with so many connections held, as they are on average:
// what is left of the times of commands that began before, of which long ones
// are met more often.
func (m *simulation) begun(held int) {
	r := rand.New(rand.NewPCG(m.s.Seed, 0))
	longer := Lognormal{Mu: m.d.Mu + m.d.Sigma*m.d.Sigma, Sigma: m.d.Sigma}
	for i := range min(held, len(m.open)) {
		m.open[i] = r.Float64() * longer.draw(r)
	}
	slices.Sort(m.open)
}

// runLength is how many commands of a load are played: many times as many as
// are in flight, or come in a batch, and enough that some 1,000 may be late.
func runLength(l Load) int {
	n := max(1_000_000, 100_000*l.Offered(), 20_000*float64(l.Parallel), 1000/l.Target)
	return int(math.Min(n, mostPlayed))
}

// fewest is the smallest number above least that is enough. It looks around guess first.
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
