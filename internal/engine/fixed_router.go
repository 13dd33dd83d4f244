package engine

import (
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
)

// fixedRouter sends all commands to one address. The name may resolve to another server later. If the server refuses
// commands because of its role or state, the router redials the connections.
type fixedRouter struct{ e *Engine }

func newFixedRouter(e *Engine) *fixedRouter {
	e.nodes.use(e.cfg.Addr)
	return &fixedRouter{e}
}

func (*fixedRouter) start()                    {}
func (*fixedRouter) stop()                     {}
func (*fixedRouter) finds() bool               { return false }
func (*fixedRouter) lost(string)               {}
func (*fixedRouter) explain(cause error) error { return cause }
func (*fixedRouter) hopeless(*route) error     { return nil }
func (*fixedRouter) stats() *ServiceStats      { return nil }

// refused replaces the connections at the pace of the node's redials.
func (*fixedRouter) refused(n *node, kind topology.Evidence) {
	if n.redials.due(time.Now()) {
		n.pool.Redial("its server refused a command: " + kind.String())
	}
}
