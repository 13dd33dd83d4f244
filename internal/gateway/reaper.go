package gateway

import "time"

// reapEvery is the interval of the reaper, and so the precision of the client timeouts.
const reapEvery = 500 * time.Millisecond

// reap closes clients that exceed a time limit or hold too much memory.
func (g *Gateway) reap() {
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			g.reapOnce(now)
		case <-g.ctx.Done():
			return
		}
	}
}

func (g *Gateway) reapOnce(now time.Time) {
	set := g.settings.Load()
	for _, c := range g.list() {
		if why := c.overdue(now, set); why != "" {
			set.Log.Info("client closed", "id", c.id, "addr", c.addr, "reason", why)
			c.out.Close()
		}
	}
	for g.closeFullest(set) {
	}
}

// closeFullest closes the client for which the gateway holds the most bytes, if all clients together exceed the limit.
func (g *Gateway) closeFullest(set *settings) bool {
	var worst *client
	total, most := 0, 0
	for _, c := range g.list() {
		n := c.holds()
		if total += n; n > most {
			worst, most = c, n
		}
	}
	if int64(total) <= set.Buffers {
		return false
	}
	g.count.slow.Add(1)
	set.Log.Warn("client closed", "id", worst.id, "addr", worst.addr, "reason", "the buffers of all clients are full and this client holds the most", "bytes", most)
	worst.out.Close()
	return true
}

// holds returns how many bytes the gateway holds for the client, in and out. It is 0 once the client is closed.
func (c *client) holds() int {
	if c.out.IsClosed() {
		return 0
	}
	out, _ := c.out.Waiting()
	c.mu.Lock()
	defer c.mu.Unlock()
	return out + c.pending.held() + c.in.held()
}

// overdue returns why a client must be closed, or an empty string.
func (c *client) overdue(now time.Time, set *settings) string {
	if _, since := c.out.Waiting(); !since.IsZero() && now.Sub(since) > set.WriteTimeout {
		c.g.count.slow.Add(1)
		return "it read none of its replies within the write timeout"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in.observe(now, c.pending.n > 0 || c.barrier.closed() || c.turn.Waits() || c.overRateLocked())
	if now.Sub(c.in.lastAt) > reapEvery && c.pending.n == 0 {
		c.pending.shrink()
		if !c.turn.Waits() {
			c.endTurnLocked()
			c.turn = nil
		}
	}
	switch {
	case now.Sub(c.in.wholeAt) > set.RequestTimeout:
		return "it did not complete a request within the request timeout"
	case !c.session.Authenticated() && now.Sub(c.connectedAt) > set.RequestTimeout:
		return "it did not authenticate within the request timeout"
	case set.IdleTimeout > 0 && now.Sub(c.in.lastAt) > set.IdleTimeout && c.session.Type() != "pubsub" && c.dedicated.monitor == nil:
		return "idle timeout"
	}
	return ""
}
