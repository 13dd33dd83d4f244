package main

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/plan"
)

const mostCount = 10_000_000

// plannedFile is what a plan's file says.
type plannedFile struct {
	budget   plan.Budget
	services []plan.Service
	from     []string // of each service: where its ceiling is from
}

// planKeys are what a plan's file has to have.
const planKeys = "server and services"

// readPlan reads a plan from a file, or from standard input if that is "-". An
// error names the place of the first mistake.
func readPlan(name string) (*plannedFile, error) {
	top, err := readFile(name, planKeys)
	if err != nil {
		return nil, err
	}
	return parsePlan(top)
}

func parsePlan(top node) (*plannedFile, error) {
	p := &plannedFile{}
	err := top.fields(map[string]func(node) error{"server": p.server, "services": p.listed})
	if err == nil && len(p.services) == 0 {
		err = fmt.Errorf("%s: services is missing: want one service at least", top.file)
	}
	return p, err
}

func (p *plannedFile) server(n node) error {
	return n.fields(map[string]func(node) error{
		"maxclients": whole(&p.budget.MaxClients, 1, mostCount),
		"others":     whole(&p.budget.Others, 0, mostCount),
		"reserve":    p.reserve,
	})
}

func (p *plannedFile) reserve(n node) error {
	share, isShare := n.percentage(1)
	i, isNumber := n.number()
	switch {
	case isShare && share > 0:
		p.budget.ReserveShare = share
	case isNumber && i > 0 && i <= mostCount:
		p.budget.Reserve = i
	case isShare || isNumber && i == 0:
		p.budget.Reserve = plan.None
	default:
		return n.wrong("a number of connections, or a share such as 5%")
	}
	return nil
}

func (p *plannedFile) listed(n node) error {
	return n.each("services by their names", func(name string, value node) error {
		var s plannedService
		if err := s.read(name, value); err != nil {
			return err
		}
		p.services = append(p.services, s.Service)
		p.from = append(p.from, s.from)
		return nil
	})
}

// plannedService is a service, and what is needed to make it from its keys.
type plannedService struct {
	plan.Service
	from                           string
	pods, workers, cpus            int
	surge                          *node
	blocking, subscribers, ceiling int
	client                         string
}

func (s *plannedService) read(name string, n node) error {
	s.Name, s.pods, s.workers, s.Pools = name, 1, 1, 1
	err := n.fields(map[string]func(node) error{
		"pods":            whole(&s.pods, 1, mostCount),
		"surge":           func(n node) error { s.surge = &n; return nil },
		"workers":         whole(&s.workers, 1, 10_000),
		"pools":           whole(&s.Pools, 1, 10_000),
		"blocking":        whole(&s.blocking, 0, mostCount),
		"subscribers":     whole(&s.subscribers, 0, mostCount),
		"max_connections": s.readCeiling,
		"client":          s.readClient,
		"cpus":            whole(&s.cpus, 1, 10_000),
		"load":            s.readLoad,
	})
	if err != nil {
		return err
	}
	if err := s.readSurge(); err != nil {
		return err
	}
	s.Held = s.blocking + s.subscribers
	return s.choose(n)
}

// readSurge makes the processes: as in Kubernetes a surge is a share, or a number of pods.
func (s *plannedService) readSurge() error {
	f := plan.Fleet{Pods: s.pods, Surge: 0.25, Workers: s.workers}
	if s.surge == nil {
		s.Processes = f.Processes()
		return nil
	}
	if pods, ok := s.surge.number(); ok && pods >= 0 && pods <= mostCount {
		s.Processes = (s.pods + pods) * s.workers
		return nil
	}
	share, ok := s.surge.percentage(10)
	if !ok {
		return s.surge.wrong("a share such as 25%, or a number of pods")
	}
	f.Surge = share
	s.Processes = f.Processes()
	return nil
}

func (s *plannedService) readCeiling(n node) error {
	if n.resolved().Value == "unbounded" {
		s.ceiling = plan.Unbounded
		return nil
	}
	if i, ok := n.number(); ok && i >= 1 && i <= mostCount {
		s.ceiling = i
		return nil
	}
	return n.wrong(fmt.Sprintf("a whole number from 1 to %d, or unbounded", mostCount))
}

func (s *plannedService) readClient(n node) error {
	name := n.resolved().Value
	if _, ok := clientDefaults()[name]; !ok || n.resolved().Kind != yaml.ScalarNode {
		return n.wrong("one of " + clientNames())
	}
	s.client = name
	return nil
}

func (s *plannedService) readLoad(n node) error {
	l := &plan.Load{}
	err := n.fields(map[string]func(node) error{
		"rps":      decimal(&l.Rate),
		"burst":    decimal(&l.Burst),
		"parallel": whole(&l.Parallel, 1, 10_000),
		"mean":     lasting(&l.Mean),
		"p99":      lasting(&l.P99),
		"wait":     lasting(&l.Wait),
		"target": func(n node) error {
			share, ok := n.percentage(1)
			if !ok {
				return n.wrong("a share such as 0.1%")
			}
			l.Target = share
			return nil
		},
	})
	if err != nil {
		return err
	}
	switch {
	case l.Rate == 0:
		return n.errorf("rps is missing: want requests a second, for one pool")
	case l.Mean == 0:
		return n.errorf("mean is missing: want how long a command holds a connection, such as 1.2ms")
	}
	if _, err := plan.WaitProbability(plan.Load{Rate: l.Rate, Burst: l.Burst, Mean: l.Mean, P99: l.P99, Target: l.Target}, 1, 0); err != nil {
		return n.errorf("%s", strings.TrimPrefix(err.Error(), "plan: "))
	}
	s.Load = l
	return nil
}

// choose says what the ceiling is: the one that is given, else the client's
// own, else what the load needs.
func (s *plannedService) choose(n node) error {
	own := clientDefaults()[s.client]
	switch {
	case s.ceiling != 0:
		s.MaxConnections, s.from = s.ceiling, "max_connections"
	case own.perCPU > 0 && s.cpus == 0:
		return n.errorf("%s opens %d connections for each CPU: want cpus, or max_connections", s.client, own.perCPU)
	case s.client != "":
		s.MaxConnections, s.from = own.connections+own.perCPU*s.cpus, s.client
	case s.Load != nil:
		s.from = "load"
	default:
		s.MaxConnections, s.from = plan.Unbounded, "nothing"
	}
	return nil
}
