package plan

import (
	"fmt"
	"math"
)

// Budget is the connection budget of a server. The zero value of a field stands for its default.
type Budget struct {
	MaxClients   int     // the server's limit; default 10000, Redis' own
	Others       int     // connections of others: replicas, monitors, unlisted services; default 0
	Reserve      int     // reserved connections; default: 5% of MaxClients, or ReserveShare of it; None: 0
	ReserveShare float64 // reserved share of MaxClients, from 0 to 1, if Reserve is 0
	Nodes        int     // primaries of a cluster, each with these limits; default 1
}

// Connections returns the connections that remain for services. The number may be negative.
func (b Budget) Connections() (int, error) {
	b, err := b.withDefaults()
	return b.MaxClients - b.Others - b.Reserve, err
}

func (b Budget) withDefaults() (Budget, error) {
	if !(b.ReserveShare >= 0 && b.ReserveShare <= 1) {
		return b, fmt.Errorf("plan: the reserve is a share of %v: want 0 to 1", b.ReserveShare)
	}
	f, err := Fleet{MaxClients: b.MaxClients, Others: b.Others, Reserve: b.Reserve}.withDefaults()
	b.Nodes = max(1, b.Nodes)
	switch {
	case b.Reserve != 0: // a number, or None
		b.ReserveShare = 0
	case b.ReserveShare == 0:
		b.ReserveShare = 0.05
	default:
		f.Reserve = int(math.Ceil(b.ReserveShare*float64(f.MaxClients) - 1e-9))
	}
	b.MaxClients, b.Reserve = f.MaxClients, f.Reserve
	return b, err
}

// limitFor returns a limit that leaves this number of connections for services.
func (b Budget) limitFor(connections int) int {
	if b.ReserveShare > 0 && b.ReserveShare < 1 { // the reserve grows with the limit
		return int(math.Ceil(float64(connections+b.Others)/(1-b.ReserveShare) - 1e-9))
	}
	return connections + b.Others + b.Reserve
}

// Unbounded, as Service.MaxConnections, is a pool without a limit: it opens as many connections as
// its callers need.
const Unbounded = -1

// Service is a group of processes that do the same work.
type Service struct {
	Name           string
	Processes      int   // maximum at a time, including a deployment; default 1
	MaxConnections int   // the limit of one pool; default: the need of the load; Unbounded: none
	Pools          int   // pools in a process, such as one for the primary and one for replicas; default 1
	Held           int   // connections in a process in addition to its pools: blocking consumers, subscriptions; default 0
	Load           *Load // load of one pool of one process, on all nodes together; nil: unknown

	// Of a cluster. Check sets Nodes from the budget.
	Nodes    int // primaries; default 1; MaxConnections applies to each
	MaxTotal int // the limit of one pool over all nodes, max_connections_total; 0: none
}

// Bounded reports whether the pools have a limit.
func (s Service) Bounded() bool { return s.MaxConnections != Unbounded }

// AtNode returns the maximum number of connections of one pool to one node. With a limit over all nodes, each other node
// keeps one place.
func (s Service) AtNode() int {
	n := max(0, s.MaxConnections)
	if s.MaxTotal > 0 {
		n = min(n, max(1, s.MaxTotal-max(1, s.Nodes)+1))
	}
	return n
}

// Total returns the maximum number of connections of all processes to one node. It is 0 for pools without a
// limit.
func (s Service) Total() int {
	return max(1, s.Processes) * (max(1, s.Pools)*s.AtNode() + s.Held)
}

// Process returns the maximum number of connections of one process to all nodes.
func (s Service) Process() int {
	n := max(0, s.MaxConnections) * max(1, s.Nodes)
	if s.MaxTotal > 0 {
		n = min(n, s.MaxTotal)
	}
	return max(1, s.Pools)*n + s.Held
}

// Sum returns the total of the services with a limit, and the names of those without one.
func Sum(services []Service) (total int, unbounded []string) {
	for _, s := range services {
		total += s.Total()
		if !s.Bounded() {
			unbounded = append(unbounded, s.Name)
		}
	}
	return total, unbounded
}

// The thresholds of warnings.
const (
	warnUsed   = 0.85 // of the budget
	warnTimes  = 3    // ratio of a pool's limit to the need of its load
	warnBeyond = 8    // and the difference, in connections
)

// mostTotal is the maximum total of one service, so that sums do not overflow.
const mostTotal = 1e12

// Severity is the severity of a problem.
type Severity string

// A plan with a Failure does not work. A plan with a Warning may work.
const (
	Warning Severity = "warning"
	Failure Severity = "failure"
)

// Problem is a problem of a plan, or of one of its services.
type Problem struct {
	Severity Severity
	Service  string // empty: the plan as a whole
	Text     string
}

// CheckedService is a service with the need of its load.
type CheckedService struct {
	Service
	Connections int     // of all processes to one node; 0 for pools without a limit
	Share       float64 // of the budget
	Needed      int     // the limit of a pool that its load needs; 0: unknown load
	Late        float64 // maximum share of late commands with the pool's limit; 0: unknown load, or no limit
}

// Checked is a plan, checked against a budget.
type Checked struct {
	Budget    int // connections that the server has for the services; at least 0
	Nodes     int // primaries; Budget, Total and Over are for each
	Total     int // connections of all services with a limit
	AllNodes  int // the same to all nodes together
	Unbounded []string
	Over      int // connections over the budget; 0 if they fit
	Services  []CheckedService
	Problems  []Problem
	Ways      []string // possible solutions
}

// Fits reports whether every service has a limit, and the total is within the budget.
func (c Checked) Fits() bool { return c.Over == 0 && len(c.Unbounded) == 0 }

// Check compares the limits of the services with the budget and with the needs of their loads.
// Loads with batches are simulated, which takes time; see For.
func Check(b Budget, services []Service) (Checked, error) {
	b, err := b.withDefaults()
	if err != nil {
		return Checked{}, err
	}
	c := Checked{Nodes: b.Nodes, Budget: max(0, b.MaxClients-b.Others-b.Reserve)}
	names := map[string]bool{}
	for _, s := range services {
		if names[s.Name] {
			return Checked{}, fmt.Errorf("plan: duplicate service %q", s.Name)
		}
		names[s.Name] = true
		s.Nodes = b.Nodes
		checked, err := s.check()
		if err != nil {
			return Checked{}, fmt.Errorf("plan: service %q: %w", s.Name, err)
		}
		checked.Share = float64(checked.Connections) / max(1, float64(c.Budget))
		c.Services = append(c.Services, checked)
		c.Total += checked.Connections
		c.AllNodes += checked.Processes * checked.Process()
		if !checked.Bounded() {
			c.Unbounded = append(c.Unbounded, s.Name)
		}
	}
	c.Over = max(0, c.Total-c.Budget)
	c.judge()
	c.ways(b)
	return c, nil
}

func (s Service) check() (CheckedService, error) {
	if s.MaxTotal != 0 && s.MaxTotal < s.Nodes {
		return CheckedService{}, fmt.Errorf("max_connections_total is %d: want one for each of the %d nodes or more", s.MaxTotal, s.Nodes)
	}
	for name, n := range map[string]int{"processes": s.Processes, "pools": s.Pools, "held connections": s.Held} {
		if n < 0 || n > 10_000_000 {
			return CheckedService{}, fmt.Errorf("%d %s: want 0 to 10000000", n, name)
		}
	}
	switch {
	case s.MaxConnections < Unbounded || s.MaxConnections > 10_000_000:
		return CheckedService{}, fmt.Errorf("max connections is %d: want 1 to 10000000, or Unbounded", s.MaxConnections)
	case s.MaxConnections == 0 && s.Load == nil:
		return CheckedService{}, fmt.Errorf("no ceiling and no load: want one of them")
	}
	s.Processes, s.Pools = max(1, s.Processes), max(1, s.Pools)
	if float64(s.Processes)*(float64(s.Pools)*float64(s.MaxConnections)+float64(s.Held)) > mostTotal {
		return CheckedService{}, fmt.Errorf("more than %.0e connections: want fewer", float64(mostTotal))
	}
	checked := CheckedService{Service: s}
	if s.Load != nil {
		load := s.Load.At(s.Nodes)
		size, err := For(load)
		if err != nil {
			return CheckedService{}, err
		}
		checked.Needed, checked.Late = size.Connections, size.Late
		switch {
		case s.MaxConnections == 0:
			checked.MaxConnections = size.Connections
		case !s.Bounded():
			checked.Late = 0
		case s.AtNode() < size.Connections:
			l, _ := load.withDefaults()
			if checked.Late, err = WaitProbability(l, s.AtNode(), l.Wait); err != nil {
				return CheckedService{}, err
			}
		}
	}
	checked.Connections = checked.Total()
	return checked, nil
}

// judge finds the problems, the most severe first.
func (c *Checked) judge() {
	add := func(severity Severity, service, format string, args ...any) {
		c.Problems = append(c.Problems, Problem{severity, service, fmt.Sprintf(format, args...)})
	}
	if c.Over > 0 {
		add(Failure, "", "the ceilings add up to %d connections, %d more than the budget of %d", c.Total, c.Over, c.Budget)
	}
	for _, s := range c.Services {
		if !s.Bounded() {
			add(Failure, s.Name, "%s has no ceiling: its %d processes may open any number of connections", s.Name, s.Processes)
		}
	}
	if used := float64(c.Total) / max(1, float64(c.Budget)); c.Over == 0 && used > warnUsed {
		add(Warning, "", "%.0f%% of the budget is planned: above %.0f%% there is no room for the next service or surge", 100*used, 100*warnUsed)
	}
	for _, s := range c.Services {
		switch {
		case s.Needed == 0 || !s.Bounded():
		case s.AtNode() < s.Needed:
			add(Warning, s.Name, "%s has a ceiling of %d, but its load needs %d: %.2g%% of its commands wait too long", s.Name, s.AtNode(), s.Needed, 100*s.Late)
		case s.MaxConnections > warnTimes*s.Needed && s.MaxConnections > s.Needed+warnBeyond:
			add(Warning, s.Name, "%s has a ceiling of %d, but its load needs %d: during a stall of the server it opens all of them", s.Name, s.MaxConnections, s.Needed)
		}
	}
}

// ways lists solutions of the problems. It changes nothing.
func (c *Checked) ways(b Budget) {
	add := func(format string, args ...any) { c.Ways = append(c.Ways, fmt.Sprintf(format, args...)) }
	most := -1 // the service with a limit and the most connections
	for i, s := range c.Services {
		perProcess := s.Pools
		switch {
		case !s.Bounded() && s.Needed > 0:
			add("set max_connections of %s: its load needs %d, %d in total", s.Name, s.Needed, s.Processes*(s.Needed*perProcess+s.Held))
		case !s.Bounded():
			add("set max_connections of %s: %s", s.Name, roomFor(c.Budget-c.Total, s))
		case s.Needed > s.AtNode() && s.AtNode() < s.MaxConnections:
			add("raise max_connections_total of %s from %d to %d, so that a node may have %d", s.Name, s.MaxTotal, s.Needed+s.Nodes-1, s.Needed)
		case s.Needed > s.MaxConnections:
			add("raise max_connections of %s from %d to %d: %d more in total", s.Name, s.MaxConnections, s.Needed, s.Processes*perProcess*(s.Needed-s.MaxConnections))
		case s.Needed > 0 && s.MaxConnections > s.Needed && (c.Over > 0 || s.MaxConnections > warnTimes*s.Needed && s.MaxConnections > s.Needed+warnBeyond):
			add("lower max_connections of %s from %d to the %d that its load needs: %d fewer in total", s.Name, s.MaxConnections, s.Needed, s.Processes*perProcess*(s.MaxConnections-s.Needed))
		}
		if s.Bounded() && (most < 0 || s.Connections > c.Services[most].Connections) {
			most = i
		}
	}
	if c.Over == 0 {
		return
	}
	if s := c.Services[most]; s.MaxConnections > respoolLanes+respoolSpare {
		shared := s.Service
		shared.MaxConnections = respoolLanes + respoolSpare
		add("share connections in %s: with respool, %d per pool instead of %d, in total %d instead of %d", s.Name, shared.MaxConnections, s.MaxConnections, shared.Total(), s.Connections)
	}
	add("raise maxclients to %d", b.limitFor(c.Total))
}

// roomFor describes the limit that the remaining connections allow for a service.
func roomFor(left int, s CheckedService) string {
	n := (left/s.Processes - s.Held) / s.Pools
	if n < 1 {
		return "the budget has no room for it"
	}
	return fmt.Sprintf("at most %d", n)
}
