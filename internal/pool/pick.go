package pool

import (
	"context"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// packed is how many replies may be due on a lane before callers go to the
// next one: writes and reads that carry many commands cost least.
const packed = 256

// Pick chooses a lane for one command: the first on which little is due, else
// the one with the fewest replies due. It takes no lock; nil means that there
// is no open lane and that Shared has to be asked.
func (p *Pool) Pick() *lane.Lane {
	lanes := *p.view.Load()
	var best *lane.Lane
	least := 0
	for _, l := range lanes {
		d := l.Depth()
		if d >= 0 && d < packed {
			return l
		}
		if d > 0 && (best == nil || d < least) {
			best, least = l, d
		}
	}
	if best != nil && p.mayGrow.Load() {
		p.grow()
	}
	return best
}

// grow asks for another lane.
func (p *Pool) grow() {
	p.mu.Lock()
	if p.mayGrow.Load() && !p.closed {
		p.laneWanted++
		p.serveLocked()
	}
	p.unlock()
}

// Shared waits for a lane where none is open. The lane carries a reservation
// for one request.
func (p *Pool) Shared(ctx context.Context) (*lane.Lane, error) {
	c, err := p.obtain(ctx, shared)
	if err != nil {
		return nil, err
	}
	return c.lane, nil
}
