package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
)

// TestAWaitThatItsCallerCancelsIsNotInVain also has waits that end by a deadline, which are.
func TestAWaitThatItsCallerCancelsIsNotInVain(t *testing.T) {
	inTown(t, 1, nil, func(t *testing.T, w *town, p *pool.Pool) {
		held := acquireAs(t, p, alice)
		canceled, cancel := context.WithCancel(context.Background())
		late, stop := context.WithTimeout(context.Background(), time.Millisecond)
		defer stop()
		ended := make(chan error, 2)
		for _, ctx := range []context.Context{canceled, late} {
			go func() {
				_, err := p.Subpool(bob).Acquire(ctx)
				ended <- err
			}()
		}
		synctest.Wait()
		cancel()
		for range cap(ended) {
			if err := <-ended; err == nil {
				t.Error("the connection was leased twice")
			}
		}
		if st := p.Stats(); st.Waits != 3 || st.FailedWaits != 1 { // one was for the dial
			t.Errorf("%d waits, %d in vain: want 3 and 1", st.Waits, st.FailedWaits)
		}
		held.Release()
	})
}
