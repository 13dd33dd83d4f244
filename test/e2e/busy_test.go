package e2e_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// While a script runs for too long, the server refuses SELECT. Callers in another database get the error at once, and open
// connections stay usable.
func TestAServerThatIsBusyIsReportedAsBusy(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Args: []string{"--lua-time-limit", "20"}})
	for _, most := range []int{1, 2, 8} {
		c := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: most})
		up := c.Engine()
		mustDo(t, c, "PING")
		runs := openClient(t, respool.Options{Addr: s.Addr(), MaxConnections: 1})
		script := make(chan error, 1)
		go func() { script <- runs.Do(bounded(t), "EVAL", "while true do end", 0).Err() }()
		testkit.Eventually(t, "the server replies BUSY", func() bool {
			var se *respool.ServerError
			return errors.As(c.Do(bounded(t), "GET", "k").Err(), &se) && se.Code == "BUSY"
		})
		lanes, began, asked := c.Stats().Lanes, time.Now(), 0
		for range 40 {
			_, err := up.Exchange(bounded(t), engine.Identity{DB: 3, Proto: 2}, rawWhoami, 1, true, nil)
			wantServerError(t, err, "BUSY")
			wantServerError(t, c.Do(bounded(t), "GET", "k").Err(), "BUSY") // the server's own reply, on an open connection
			asked++
		}
		if took := time.Since(began); took > patience/4 {
			t.Errorf("%d connections: %d replies took %v", most, asked, took)
		}
		if st := c.Stats(); st.Closed > st.DialFailures || st.Lanes+st.Idle < lanes {
			t.Errorf("%d connections: %d of them were closed: %v", most, st.Closed, st)
		}
		other := openClient(t, respool.Options{Addr: s.Addr(), DB: 3})
		wantServerError(t, other.Do(bounded(t), "GET", "k").Err(), "BUSY")
		wantServerError(t, other.Warm(bounded(t)), "BUSY")
		s.Do("SCRIPT", "KILL")
		wantServerError(t, <-script, "ERR")
		testkit.Eventually(t, "the script has ended", func() bool {
			_, err := up.Exchange(bounded(t), engine.Identity{DB: 3, Proto: 2}, rawWhoami, 1, true, nil)
			return err == nil && other.Do(bounded(t), "GET", "k").Err() == nil
		})
	}
}
