package gateway

import "github.com/seed-2b0d76a6/respool/internal/lane"

// round collects, while requests of one or many clients are taken, the lanes to which
// something was posted and the clients that have something to be sent: each is written once.
// A round belongs to one goroutine.
type round struct {
	lanes   []*lane.Lane
	clients []*client
}

func (r *round) posted(l *lane.Lane) {
	for _, x := range r.lanes {
		if x == l {
			return
		}
	}
	r.lanes = append(r.lanes, l)
}

// answered notes a client whose output was empty before.
func (r *round) answered(c *client) { r.clients = append(r.clients, c) }

func (r *round) flush() { r.flushIn(false) }

// flushTogether is flush for one of many goroutines that post: one may write for all.
func (r *round) flushTogether() { r.flushIn(true) }

func (r *round) flushIn(company bool) {
	for i, l := range r.lanes {
		l.Flush(company)
		r.lanes[i] = nil
	}
	r.lanes = r.lanes[:0]
	for i, c := range r.clients {
		c.out.flush()
		r.clients[i] = nil
	}
	r.clients = r.clients[:0]
}
