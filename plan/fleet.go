package plan

import (
	"fmt"
	"math"
	"time"
)

// DefaultMaxClients is the default maxclients of Redis.
const DefaultMaxClients = 10_000

// Fleet is the processes that share a server. The zero value of a field stands for its default.
type Fleet struct {
	Pods        int     // default 1
	Surge       float64 // additional pods during a deployment, as a share; default 0.25
	Workers     int     // processes in a pod; default 1
	Blocking    int     // blocking consumers in a process, such as BLPOP; default 0
	Subscribers int     // subscriptions in a process; default 0
	MaxClients  int     // the server's limit; default 10000, Redis' own
	Others      int     // connections of others: other services, replicas, monitors; default 0
	Reserve     int     // reserved connections, for administrators and forgotten clients; default: 5% of MaxClients
	Nodes       int     // primaries of a cluster, over which the load spreads evenly; default 1; the other numbers are for each
}

// None, as Fleet.Surge, describes deployments that replace pods in place. As Fleet.Reserve it
// reserves nothing.
const None = -1

func (f Fleet) withDefaults() (Fleet, error) {
	standard := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	standard(&f.Pods, 1)
	standard(&f.Workers, 1)
	standard(&f.Nodes, 1)
	standard(&f.MaxClients, DefaultMaxClients)
	standard(&f.Reserve, (f.MaxClients+19)/20)
	if f.Surge == 0 {
		f.Surge = 0.25
	}
	if f.Surge == None {
		f.Surge = 0
	}
	if f.Reserve == None {
		f.Reserve = 0
	}
	for name, n := range map[string]int{"pods": f.Pods, "workers": f.Workers, "nodes": f.Nodes, "maxclients": f.MaxClients} {
		if n < 1 || n > 10_000_000 {
			return f, fmt.Errorf("plan: %s is %d: want 1 to 10000000", name, n)
		}
	}
	for name, n := range map[string]int{"blocking": f.Blocking, "subscribers": f.Subscribers, "others": f.Others, "reserve": f.Reserve} {
		if n < 0 || n > 10_000_000 {
			return f, fmt.Errorf("plan: %s is %d: want 0 to 10000000", name, n)
		}
	}
	if !(f.Surge >= 0 && f.Surge <= 10) {
		return f, fmt.Errorf("plan: surge is %v: want a share such as 0.25, 10 at most", f.Surge)
	}
	return f, nil
}

// Processes returns the maximum number of processes at a time, during a deployment.
func (f Fleet) Processes() int {
	return int(math.Ceil(float64(f.Pods)*(1+f.Surge)-1e-9)) * f.Workers
}

// Client is one kind of client, with its connections in the whole fleet to one node.
type Client struct {
	MaxConnections int           // of a process, to one node
	MaxTotal       int           // of a process, to all nodes: its max_connections_total; MaxConnections if there is one node
	MinIdle        int           // idle connections that a process keeps
	WaitTimeout    time.Duration // for a connection
	Processes      int           // at a time, during a deployment
	Total          int           // connections of all of them to one node
	AllNodes       int           // connections of all of them to all nodes
	Budget         int           // connections that the server has for them
	Over           int           // connections over the budget; 0 if they fit
}

// Fits reports whether the fleet stays within its budget.
func (c Client) Fits() bool { return c.Over == 0 }

// Plan is the sizing of a load in a fleet.
type Plan struct {
	Size    Size
	Pooled  Client // one connection for each command in flight, as in the pools of redis-py, go-redis and lettuce
	Respool Client // any number of commands on a few connections
	Ways    []string
}

// The lanes of a respool client, and one connection for occasional dedicated use.
const (
	respoolLanes = 4
	respoolSpare = 1
)

// Make sizes a fleet of processes with the same load each. Batches are simulated, which takes time;
// see For.
func Make(l Load, f Fleet) (Plan, error) {
	f, err := f.withDefaults()
	if err != nil {
		return Plan{}, err
	}
	all, err := For(l)
	if err != nil {
		return Plan{}, err
	}
	size := all
	if l = l.At(f.Nodes); f.Nodes > 1 {
		if size, err = For(l); err != nil {
			return Plan{}, err
		}
	}
	p := Plan{Size: size}
	p.Pooled = f.client(size.Connections+f.Blocking+f.Subscribers, size.MinIdle, size.WaitTimeout)
	// All subscriptions of a respool client share one connection, and all blocking commands another.
	shared := min(1, f.Subscribers) + min(1, f.Blocking)
	p.Respool = f.client(respoolLanes+respoolSpare+shared, 0, size.WaitTimeout)
	p.Pooled.setTotal(f, all.Connections+f.Blocking+f.Subscribers)
	// A lane for each node, and a watch of keys where commands block; the other connections move to where callers wait.
	p.Respool.setTotal(f, (f.Nodes-1)*(1+min(1, f.Blocking))+p.Respool.MaxConnections)
	if !p.Pooled.Fits() {
		p.Ways = f.ways(l, p)
	}
	return p, nil
}

func (f Fleet) client(connections, minIdle int, wait time.Duration) Client {
	c := Client{MaxConnections: connections, MinIdle: minIdle, WaitTimeout: wait, Processes: f.Processes(), Budget: f.budget()}
	c.Total = c.Processes * connections
	c.Over = max(0, c.Total-max(0, c.Budget))
	return c
}

// setTotal sets the limit of a process over all nodes. It is at least one for each node, and never more than all pools
// together.
func (c *Client) setTotal(f Fleet, total int) {
	c.MaxTotal = min(max(total, c.MaxConnections+f.Nodes-1), f.Nodes*c.MaxConnections)
	c.AllNodes = c.Processes * c.MaxTotal
}

func (f Fleet) budget() int { return f.MaxClients - f.Others - f.Reserve }

// ways lists solutions for a fleet that does not fit. It changes nothing.
func (f Fleet) ways(l Load, p Plan) []string {
	var ways []string
	add := func(format string, args ...any) { ways = append(ways, fmt.Sprintf(format, args...)) }
	if f.budget() <= 0 {
		add("raise maxclients: others (%d) and the reserve (%d) use all of %d", f.Others, f.Reserve, f.MaxClients)
		return ways
	}
	if p.Respool.Fits() {
		add("share connections: with %d per process instead of %d, the total is %d of %d", p.Respool.MaxConnections, p.Pooled.MaxConnections, p.Respool.Total, p.Respool.Budget)
	}
	if least := f.client(p.Respool.MaxConnections-respoolLanes+1, 0, 0); !p.Respool.Fits() && least.Fits() {
		add("share one connection: with %d per process and lanes=1, the total is %d of %d", least.MaxConnections, least.Total, least.Budget)
	}
	add("raise maxclients to %d", f.Others+f.Reserve+p.Pooled.Total)
	if fit := p.Pooled.Budget / p.Pooled.MaxConnections / f.Workers * f.Workers; fit > 0 {
		add("run %d processes at a time instead of %d", fit, p.Pooled.Processes)
	}
	if f.Surge > 0 {
		still := f
		still.Surge = 0
		if c := still.client(p.Pooled.MaxConnections, 0, 0); c.Fits() {
			add("replace pods without a surge: without %.0f%% surge it fits (%d of %d)", 100*f.Surge, c.Total, c.Budget)
		}
	}
	if n := p.Pooled.Budget / p.Pooled.Processes; n > f.Blocking+f.Subscribers {
		if late, err := WaitProbability(l, n-f.Blocking-f.Subscribers, max(l.Wait, l.Mean, time.Millisecond)); err == nil && late < 1 {
			add("use %d per process, and accept that %.2g%% of the commands wait too long", n, 100*late)
		}
	}
	return ways
}
