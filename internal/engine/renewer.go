package engine

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

// renewer asks for credentials: for each dial, and once before those of the standing connections
// end, which it has authenticate again with the new ones. It owns one goroutine from the first
// credentials that expire until stop.
type renewer struct {
	provider func(ctx context.Context) (Credentials, error)
	standing standing
	timeout  time.Duration // of one question to the provider; 0: none
	report   func(Event)
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	changed  chan struct{}               // capacity 1: due is earlier than it was
	offered  atomic.Pointer[Credentials] // of the last renewal, unless they were refused

	mu       sync.Mutex
	due      time.Time // when to renew; zero: there is nothing to renew
	failures int       // attempts in a row that were not whole
	running  bool
	stopped  bool
	count    RenewalStats
}

// standing are the connections that one provider's credentials authenticate.
type standing interface {
	// earliest is when the first credentials among the connections end; zero: never.
	earliest() time.Time
	// reauthenticate sends AUTH on those whose credentials end before c's do, one at a time. It returns
	// how many were done, and why the others failed.
	reauthenticate(ctx context.Context, c Credentials, pause func(context.Context)) (done int, failed []error)
	// replaceExpired closes those whose credentials have ended, as far as that costs no command.
	replaceExpired()
}

// The times of a renewal.
const (
	renewAfter   = 0.75                   // of the life that is left, and up to renewSpread more
	renewSpread  = 0.05                   // so that the connections of many programs do not come at once
	leastAhead   = 5 * time.Second        // before the end at least, where half of the life is longer
	leastRetry   = 100 * time.Millisecond // between two attempts
	firstRetry   = time.Second            // after a failure; it doubles
	longestRetry = time.Minute
	longestStep  = 20 * time.Millisecond // between two connections
)

func newRenewer(provider func(ctx context.Context) (Credentials, error), on standing, timeout time.Duration,
	report func(Event)) *renewer {
	if provider == nil {
		return nil
	}
	r := &renewer{provider: provider, standing: on, timeout: timeout, report: report, changed: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// ask gives the provider's credentials, and sees that they are renewed if they end.
func (r *renewer) ask(ctx context.Context) (Credentials, error) {
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

// renewalTime is when credentials are renewed that end at expires.
func renewalTime(now, expires time.Time) time.Time {
	left := expires.Sub(now)
	after := time.Duration(float64(left) * (renewAfter + renewSpread*rand.Float64()))
	if ahead := min(leastAhead, left/2); left-after < ahead {
		after = left - ahead
	}
	return now.Add(max(after, 0))
}

// run renews when that is due, until stop.
func (r *renewer) run() {
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

// next sets when the next renewal is due: before the first of the standing connections' credentials end,
// or after a pause where the last one was not whole.
func (r *renewer) next(whole bool) {
	first := r.standing.earliest()
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

// retryPause doubles, but leaves time for further attempts before the end.
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

// renew has all connections authenticate again whose credentials end before the provider's do. It
// reports whether that brought it further, and nothing failed.
func (r *renewer) renew() (whole bool) {
	began, before := time.Now(), r.standing.earliest()
	c, err := r.current()
	if err != nil {
		return r.outcome(began, 0, []error{fmt.Errorf("ask for credentials: %w", err)})
	}
	done, failed := r.standing.reauthenticate(r.ctx, c, r.pauses(&c))
	if !refusedAny(failed) {
		r.offered.Store(&c)
	}
	first, now := r.standing.earliest(), time.Now()
	stands := !first.IsZero() && !first.After(before)
	nothingNew := stands && !c.Expires.IsZero() && !first.Before(c.Expires)
	if nothingNew && len(failed) == 0 && first.Sub(now) < leastAhead {
		failed = []error{fmt.Errorf("the provider returned credentials that end at %s, as those in use do", c.Expires.Format(time.RFC3339))}
	}
	if !first.IsZero() && !first.After(now) && (c.Expires.IsZero() || c.Expires.After(now)) {
		r.standing.replaceExpired() // a new connection may do better
	}
	return r.outcome(began, done, failed) && (!stands || nothingNew)
}

// refusedAny reports whether a server has refused the credentials.
func refusedAny(failed []error) bool {
	var se *resp.ServerError
	return slices.ContainsFunc(failed, func(err error) bool { return errors.As(err, &se) })
}

// current asks the provider.
func (r *renewer) current() (Credentials, error) {
	ctx := r.ctx
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	return r.provider(ctx)
}

// pauses gives the pause between two connections: short beside the life of c.
func (r *renewer) pauses(c *Credentials) func(ctx context.Context) {
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

// outcome counts and reports, and tells whether all is well.
func (r *renewer) outcome(began time.Time, done int, failed []error) bool {
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
		r.report(Event{Kind: CredentialsRenewed, Duration: time.Since(began), Reason: fmt.Sprintf("%d connections", done)})
	}
	for _, err := range failed {
		r.report(Event{Kind: RenewalFailed, Duration: time.Since(began), Err: err})
	}
	return len(failed) == 0
}

// RenewalStats say how often connections authenticated again before their credentials expired.
type RenewalStats struct {
	Renewals, Failures uint64
	LastError          error // of the last attempt, if it failed
}

// addTo adds what was counted.
func (r *renewer) addTo(st *RenewalStats) {
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

// stop ends it. No connection authenticates again after that.
func (r *renewer) stop() {
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
