// Package renewal authenticates open connections again before their credentials expire. It does not know where the
// connections are: it drives a set of them through an interface.
package renewal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Provider returns the current credentials.
type Provider = func(ctx context.Context) (Credentials, error)

// Renewer obtains credentials from the provider: for each dial, and once before those of open connections expire.
// Open connections then authenticate again with the new ones. It owns one goroutine, from the first credentials that
// expire until Stop. A nil Renewer has no provider, and nothing to do. All methods are safe for concurrent use.
type Renewer struct {
	provider Provider
	conns    Connections
	timeout  time.Duration // of one call of the provider; 0: none
	report   func(Event)
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	changed  chan struct{}               // capacity 1: due has become earlier
	offered  atomic.Pointer[Credentials] // of the last renewal; unchanged if a server refused them

	mu       sync.Mutex
	due      time.Time // zero: nothing to renew
	failures int       // consecutive attempts that did not renew everything
	running  bool
	stopped  bool
	count    Stats
}

// Connections are the open connections that one provider's credentials authenticate.
type Connections interface {
	// Earliest returns the first time at which credentials of a connection expire; zero: never.
	Earliest() time.Time
	// Reauthenticate sends AUTH, one connection at a time, where the credentials expire before those of c. It returns
	// the number of renewed connections and the errors of the others.
	Reauthenticate(ctx context.Context, c Credentials, pause func(context.Context)) (done int, failed []error)
	// ReplaceExpired closes connections whose credentials have expired, without failing commands.
	ReplaceExpired()
}

// Times of a renewal.
const (
	renewAfter   = 0.75                   // fraction of the remaining lifetime, plus up to renewSpread
	renewSpread  = 0.05                   // random, so that many programs do not renew at once
	leastAhead   = 5 * time.Second        // minimum time before expiry, unless that exceeds half of the remaining lifetime
	leastRetry   = 100 * time.Millisecond // minimum pause between two attempts
	firstRetry   = time.Second            // after a failure; it doubles
	longestRetry = time.Minute
	longestStep  = 20 * time.Millisecond // between two connections
)

// New returns a Renewer of the connections on, which asks provider within timeout (0: none). It returns nil if provider
// is nil. report is called after each renewal, and must not block.
func New(provider Provider, on Connections, timeout time.Duration, report func(Event)) *Renewer {
	if provider == nil {
		return nil
	}
	r := &Renewer{provider: provider, conns: on, timeout: timeout, report: report, changed: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// Ask returns the provider's credentials, and schedules their renewal if they expire.
func (r *Renewer) Ask(ctx context.Context) (Credentials, error) {
	c, err := r.provider(ctx)
	if err != nil || c.Expires.IsZero() {
		return c, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return c, nil
	}
	if at := renewalTime(time.Now(), c.Expires); r.due.IsZero() || r.failures == 0 && at.Before(r.due) {
		r.due = at
		select {
		case r.changed <- struct{}{}:
		default:
		}
	}
	if !r.running {
		r.running = true
		r.wg.Go(r.run)
	}
	return c, nil
}

// renewalTime returns the time to renew credentials that expire at expires.
func renewalTime(now, expires time.Time) time.Time {
	left := expires.Sub(now)
	after := time.Duration(float64(left) * (renewAfter + renewSpread*rand.Float64()))
	if ahead := min(leastAhead, left/2); left-after < ahead {
		after = left - ahead
	}
	return now.Add(max(after, 0))
}

// run renews at each due time until Stop.
func (r *Renewer) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		r.mu.Lock()
		due := r.due
		r.mu.Unlock()
		timer.Stop()
		if !due.IsZero() {
			timer.Reset(time.Until(due))
		}
		select {
		case <-r.changed:
		case <-r.ctx.Done():
			return
		case <-timer.C:
			whole := r.renew()
			r.next(whole)
		}
	}
}

// next sets the time of the next renewal: before the first credentials of open connections expire, or after a pause
// if the last renewal was not complete.
func (r *Renewer) next(whole bool) {
	first := r.conns.Earliest()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	switch {
	case first.IsZero():
		r.failures, r.due = 0, time.Time{}
	case !whole:
		r.failures++
		r.due = now.Add(retryPause(r.failures, first.Sub(now)))
	default:
		r.failures = 0
		r.due = renewalTime(now, first)
		if soonest := now.Add(leastRetry); r.due.Before(soonest) {
			r.due = soonest
		}
	}
}

// retryPause doubles, but leaves time for further attempts before expiry.
func retryPause(failures int, left time.Duration) time.Duration {
	pause := longestRetry
	if failures < 7 {
		pause = firstRetry << (failures - 1)
	}
	if left > 0 {
		pause = min(pause, max(left/4, leastRetry))
	}
	return pause - rand.N(pause/4+1)
}

// renew sends AUTH on all connections whose credentials expire before the provider's. It reports whether nothing
// failed and the earliest expiry moved, or the provider has nothing newer.
func (r *Renewer) renew() (whole bool) {
	began, before := time.Now(), r.conns.Earliest()
	c, err := r.current()
	if err != nil {
		return r.outcome(began, 0, []error{fmt.Errorf("get credentials: %w", err)})
	}
	done, failed := r.conns.Reauthenticate(r.ctx, c, r.pauses(&c))
	if !refusedAny(failed) {
		r.offered.Store(&c)
	}
	first, now := r.conns.Earliest(), time.Now()
	stands := !first.IsZero() && !first.After(before)
	nothingNew := stands && !c.Expires.IsZero() && !first.Before(c.Expires)
	if nothingNew && len(failed) == 0 && first.Sub(now) < leastAhead {
		failed = []error{fmt.Errorf("the provider returned credentials that end at %s, as those in use do", c.Expires.Format(time.RFC3339))}
	}
	if !first.IsZero() && !first.After(now) && (c.Expires.IsZero() || c.Expires.After(now)) {
		r.conns.ReplaceExpired() // a new dial obtains the new credentials
	}
	return r.outcome(began, done, failed) && (!stands || nothingNew)
}

// refusedAny reports whether a server refused the credentials.
func refusedAny(failed []error) bool {
	var se *resp.ServerError
	return slices.ContainsFunc(failed, func(err error) bool { return errors.As(err, &se) })
}

// current calls the provider, within timeout.
func (r *Renewer) current() (Credentials, error) {
	ctx := r.ctx
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	return r.provider(ctx)
}

// pauses returns the pause between two connections: random, and short relative to the lifetime of c.
func (r *Renewer) pauses(c *Credentials) func(ctx context.Context) {
	longest := longestStep
	if !c.Expires.IsZero() {
		longest = min(longest, time.Until(c.Expires)/1000)
	}
	return func(ctx context.Context) {
		if longest > 0 {
			sleep(ctx, rand.N(longest))
		}
	}
}

// outcome counts and reports a renewal. It returns whether nothing failed.
func (r *Renewer) outcome(began time.Time, done int, failed []error) bool {
	if r.ctx.Err() != nil {
		return true
	}
	r.mu.Lock()
	r.count.Renewals += uint64(done)
	r.count.Failures += uint64(len(failed))
	r.count.LastError = nil
	if len(failed) > 0 {
		r.count.LastError = failed[0]
	}
	r.mu.Unlock()
	if done > 0 {
		r.report(Event{Duration: time.Since(began), Renewed: done})
	}
	for _, err := range failed {
		r.report(Event{Duration: time.Since(began), Err: err})
	}
	return len(failed) == 0
}

// Stats count the connections that authenticated again before their credentials expired.
type Stats struct {
	Renewals, Failures uint64
	LastError          error // of the last attempt, if it failed
}

// Event reports a renewal: the number of connections that authenticated again, or the error of one that did not.
type Event struct {
	Duration time.Duration
	Renewed  int
	Err      error
}

// AddTo adds the counters to st.
func (r *Renewer) AddTo(st *Stats) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Renewals += r.count.Renewals
	st.Failures += r.count.Failures
	if r.count.LastError != nil {
		st.LastError = r.count.LastError
	}
}

// Stop ends the goroutine and waits for it. Afterwards no connection authenticates again.
func (r *Renewer) Stop() {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
