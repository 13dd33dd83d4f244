// Package planfile reads plan files: the services of a server and their connection
// limits. It does not judge them; package check does. It starts no goroutines.
package planfile

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/plan"
)

// File is the content of a plan file.
type File struct {
	Budget   plan.Budget
	Services []plan.Service
	Sources  []string // the origin of each service's limit
}

// topKeys are the required keys of a plan file.
const topKeys = "server and services"

// Read reads a plan from a file, or from standard input if name is "-". The error names the place
// of the first mistake.
func Read(name string) (*File, error) {
	top, err := yamlnode.ReadFile(name, topKeys)
	if err != nil {
		return nil, err
	}
	return parse(top)
}

func parse(top yamlnode.Node) (*File, error) {
	p := &File{}
	err := top.Fields(p.fields())
	for i := range p.Services {
		p.Services[i].Nodes = max(1, p.Budget.Nodes)
	}
	if err == nil && len(p.Services) == 0 {
		err = fmt.Errorf("%s: services is missing: want at least one service", top.File)
	}
	return p, err
}

// Schema is the JSON schema of plan files.
func Schema() yamlnode.Schema {
	s := new(File).fields().Schema()
	s["required"] = []string{"services"}
	return s
}

// fields are the top-level keys.
func (p *File) fields() yamlnode.Fields {
	services := yamlnode.Named(new(service).fields().Schema())
	services["minProperties"] = 1
	return yamlnode.Fields{
		"server": yamlnode.Section(yamlnode.Fields{
			"maxclients": yamlnode.Int(&p.Budget.MaxClients, 1, yamlnode.MaxCount),
			"others":     yamlnode.Int(&p.Budget.Others, 0, yamlnode.MaxCount),
			"reserve":    {Read: p.readReserve, Schema: yamlnode.WholeNumber(0, yamlnode.MaxCount).Or(yamlnode.Share())},
			"nodes":      yamlnode.Int(&p.Budget.Nodes, 1, 1000),
		}),
		"services": {Read: p.readServices, Schema: services},
	}
}

func (p *File) readReserve(n yamlnode.Node) error {
	share, isShare := n.Percentage(1)
	i, isNumber := n.Int()
	switch {
	case isShare && share > 0:
		p.Budget.ReserveShare = share
	case isNumber && i > 0 && i <= yamlnode.MaxCount:
		p.Budget.Reserve = i
	case isShare || isNumber && i == 0:
		p.Budget.Reserve = plan.None
	default:
		return n.Want("a number of connections, or a share such as 5%")
	}
	return nil
}

func (p *File) readServices(n yamlnode.Node) error {
	return n.Each("a mapping of service names to settings", func(name string, value yamlnode.Node) error {
		var s service
		if err := s.read(name, value); err != nil {
			return err
		}
		p.Services = append(p.Services, s.Service)
		p.Sources = append(p.Sources, s.source)
		return nil
	})
}
