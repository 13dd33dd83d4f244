package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Lognormal is the distribution of the time for which a command holds a connection.
type Lognormal struct{ Mu, Sigma float64 } // parameters of the logarithm of seconds

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// maxRatio is the maximum ratio of p99 to mean of a lognormal distribution, at Sigma = z99. With a
// larger Sigma, the tail raises the mean more than p99.
var maxRatio = math.Exp(z99 * z99 / 2)

// Fit returns the lognormal distribution with this mean and 99th percentile.
func Fit(mean, p99 time.Duration) (Lognormal, error) {
	if mean <= 0 || p99 <= 0 {
		return Lognormal{}, fmt.Errorf("plan: mean is %v and p99 is %v: want durations above 0", mean, p99)
	}
	ratio := float64(p99) / float64(mean)
	switch {
	case ratio < 1:
		return Lognormal{}, fmt.Errorf("%w: the p99 of %v is below the mean of %v", ErrImpossible, p99, mean)
	case ratio > maxRatio:
		return Lognormal{}, fmt.Errorf("%w: the p99 of %v is %.1f times the mean of %v, but a lognormal distribution has %.1f times at most: measure again, or plan fast and slow commands separately",
			ErrImpossible, p99, ratio, mean, maxRatio)
	}
	// p99/mean = exp(z99 sigma - sigma^2/2). The smaller root is the solution.
	sigma := z99 - math.Sqrt(max(0, z99*z99-2*math.Log(ratio)))
	return Lognormal{Mu: math.Log(mean.Seconds()) - sigma*sigma/2, Sigma: sigma}, nil
}

// Variation returns the squared coefficient of variation: variance over mean squared.
func (d Lognormal) Variation() float64 { return math.Expm1(d.Sigma * d.Sigma) }

// draw returns a random time in seconds.
func (d Lognormal) draw(r *rand.Rand) float64 { return math.Exp(d.Mu + d.Sigma*r.NormFloat64()) }

// peakedness returns the variance over the mean of the number of connections in use, without a
// limit, for arrivals in batches of k. Two commands of a batch overlap for the shorter of their
// times: 2 P(N > sigma/sqrt 2) = erfc(sigma/2) of the mean.
func peakedness(k int, d Lognormal) float64 { return 1 + float64(k-1)*math.Erfc(d.Sigma/2) }
