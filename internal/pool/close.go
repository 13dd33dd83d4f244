package pool

import "context"

// Close stops admission and lets commands in flight and leased conns finish until ctx ends. Then it cuts the rest.
// When it returns, no socket and no goroutine of the pool is left. Further calls wait for the same end. It returns
// the error of ctx if it cut something.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.cancel()
		p.stopGrowthLocked()
		p.failWaitersLocked(ErrClosed)
		p.notifyLocked()
		p.stopTimersLocked()
		for p.idle.len() > 0 {
			p.closeLocked(p.idle.popBottom(), "the client was closed")
		}
		for _, c := range p.lanes {
			if c.retire = "the client was closed"; !c.draining {
				p.drainLocked(c, c.retire)
			}
		}
		p.settleLocked()
	}
	p.unlock()

	select {
	case <-p.empty:
		return nil
	case <-ctx.Done():
	}
	p.cutNow()
	p.mu.Lock()
	for _, c := range p.members {
		if c.class != closing {
			p.closeLocked(c, "the client was closed before this was done")
		}
		p.calls.add(c.lane.Abort)
	}
	p.unlock()
	<-p.empty
	return ctx.Err()
}

func (p *Pool) stopTimersLocked() {
	p.wake.stop()
	p.expiry.stop()
	if p.reaper != nil {
		p.reaper.Stop()
	}
}

func (p *Pool) checkEmptyLocked() {
	if p.closed && !p.emptied && p.placesTakenLocked() == 0 && p.calls.empty() && p.goroutines == 0 {
		p.emptied = true
		p.cutoff.stop()
		p.cutNow()
		close(p.empty)
	}
}
