package planfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/plan"
)

// service is a service with the keys that its limits follow from.
type service struct {
	plan.Service
	source                         string
	pods, workers, cpus            int
	surge                          *yamlnode.Node
	blocking, subscribers, ceiling int
	client                         string
}

func (s *service) read(name string, n yamlnode.Node) error {
	s.Name, s.pods, s.workers, s.Pools = name, 1, 1, 1
	if err := n.Fields(s.fields()); err != nil {
		return err
	}
	if err := s.readSurge(); err != nil {
		return err
	}
	s.Held = s.blocking + s.subscribers
	return s.setCeiling(n)
}

// fields are the keys of a service.
func (s *service) fields() yamlnode.Fields {
	names := slices.Sorted(maps.Keys(clientDefaults()))
	return yamlnode.Fields{
		"pods": yamlnode.Int(&s.pods, 1, yamlnode.MaxCount),
		"surge": {
			Read:   func(n yamlnode.Node) error { s.surge = &n; return nil },
			Schema: yamlnode.WholeNumber(0, yamlnode.MaxCount).Or(yamlnode.Share()),
		},
		"workers":     yamlnode.Int(&s.workers, 1, 10_000),
		"pools":       yamlnode.Int(&s.Pools, 1, 10_000),
		"blocking":    yamlnode.Int(&s.blocking, 0, yamlnode.MaxCount),
		"subscribers": yamlnode.Int(&s.subscribers, 0, yamlnode.MaxCount),
		"max_connections": {
			Read:   s.readCeiling,
			Schema: yamlnode.WholeNumber(1, yamlnode.MaxCount).Or(yamlnode.OneWord("unbounded")),
		},
		"max_connections_total": yamlnode.Int(&s.MaxTotal, 1, yamlnode.MaxCount),
		"client":                {Read: s.readClient, Schema: yamlnode.OneWord(names...)},
		"cpus":                  yamlnode.Int(&s.cpus, 1, 10_000),
		"load":                  {Read: s.readLoad, Schema: loadFields(new(plan.Load)).Schema()},
	}
}

// readSurge computes the number of processes. As in Kubernetes, a surge is a share or a number of
// pods.
func (s *service) readSurge() error {
	f := plan.Fleet{Pods: s.pods, Surge: 0.25, Workers: s.workers}
	if s.surge == nil {
		s.Processes = f.Processes()
		return nil
	}
	if pods, ok := s.surge.Int(); ok && pods >= 0 && pods <= yamlnode.MaxCount {
		s.Processes = (s.pods + pods) * s.workers
		return nil
	}
	share, ok := s.surge.Percentage(10)
	if !ok {
		return s.surge.Want("a share such as 25%, or a number of pods")
	}
	f.Surge = share
	s.Processes = f.Processes()
	return nil
}

func (s *service) readCeiling(n yamlnode.Node) error {
	if n.Resolved().Value == "unbounded" {
		s.ceiling = plan.Unbounded
		return nil
	}
	if i, ok := n.Int(); ok && i >= 1 && i <= yamlnode.MaxCount {
		s.ceiling = i
		return nil
	}
	return n.Want(fmt.Sprintf("a whole number from 1 to %d, or unbounded", yamlnode.MaxCount))
}

func (s *service) readClient(n yamlnode.Node) error {
	name := n.Resolved().Value
	if _, ok := clientDefaults()[name]; !ok || n.Resolved().Kind != yaml.ScalarNode {
		return n.Want("one of " + clientNames())
	}
	s.client = name
	return nil
}

// loadFields are the keys of load.
func loadFields(l *plan.Load) yamlnode.Fields {
	return yamlnode.Fields{
		"rps":      yamlnode.Float(&l.Rate),
		"burst":    yamlnode.Float(&l.Burst),
		"parallel": yamlnode.Int(&l.Parallel, 1, 10_000),
		"mean":     yamlnode.Duration(&l.Mean),
		"p99":      yamlnode.Duration(&l.P99),
		"wait":     yamlnode.Duration(&l.Wait),
		"target": {
			Read: func(n yamlnode.Node) error {
				share, ok := n.Percentage(1)
				if !ok {
					return n.Want("a share such as 0.1%")
				}
				l.Target = share
				return nil
			},
			Schema: yamlnode.Share(),
		},
	}
}

func (s *service) readLoad(n yamlnode.Node) error {
	l := &plan.Load{}
	if err := n.Fields(loadFields(l)); err != nil {
		return err
	}
	switch {
	case l.Rate == 0:
		return n.Errorf("rps is missing: want requests per second, for one pool")
	case l.Mean == 0:
		return n.Errorf("mean is missing: want the time that a command holds a connection, such as 1.2ms")
	}
	if _, err := plan.WaitProbability(plan.Load{Rate: l.Rate, Burst: l.Burst, Mean: l.Mean, P99: l.P99, Target: l.Target}, 1, 0); err != nil {
		return n.Errorf("%s", strings.TrimPrefix(err.Error(), "plan: "))
	}
	s.Load = l
	return nil
}

// setCeiling sets the connection limit: the one given, else the client's default, else the one that
// the load needs.
func (s *service) setCeiling(n yamlnode.Node) error {
	own := clientDefaults()[s.client]
	switch {
	case s.ceiling != 0:
		s.MaxConnections, s.source = s.ceiling, "max_connections"
	case own.perCPU > 0 && s.cpus == 0:
		return n.Errorf("%s opens %d connections for each CPU: want cpus, or max_connections", s.client, own.perCPU)
	case s.client != "":
		s.MaxConnections, s.source = own.connections+own.perCPU*s.cpus, s.client
	case s.Load != nil:
		s.source = "load"
	default:
		s.MaxConnections, s.source = plan.Unbounded, "nothing"
	}
	return nil
}
