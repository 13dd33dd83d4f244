package monitor

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/monitor/internal/commands"
)

// Reading is the state of a server as text, so that another process can make a Snapshot of it. It holds no secrets: CLIENT
// LIST names commands without their arguments.
type Reading struct {
	Addr        string            `json:"addr"`
	At          time.Time         `json:"at"`
	Error       string            `json:"error,omitempty"` // why the server was not read
	Full        bool              `json:"full,omitempty"`  // not read because maxclients is reached
	Info        string            `json:"info,omitempty"`
	Config      map[string]string `json:"config,omitempty"`      // settings by CONFIG GET
	Listed      bool              `json:"listed"`                // CLIENT LIST was read
	List        string            `json:"client_list,omitempty"` // the reply to CLIENT LIST
	ClusterInfo string            `json:"cluster_info,omitempty"`
	Nodes       string            `json:"cluster_nodes,omitempty"`
	Refused     map[string]string `json:"not_asked,omitempty"` // commands that the server refuses, with the reasons
	User        string            `json:"user,omitempty"`      // user of the connection
	Own         string            `json:"own,omitempty"`       // name of the connection

	Loaded       bool            `json:"load_read"`              // the next two were requested
	CommandStats string          `json:"commandstats,omitempty"` // the reply to INFO commandstats
	Slow         []commands.Slow `json:"slow_log,omitempty"`     // the newest entries of the slow log, without arguments except keys
}

// ReadConfig states what Read reads besides INFO and the settings.
type ReadConfig struct {
	User    string // of the connection; empty: default
	Own     string // name of the connections that only the caller uses; empty: others use them too
	Clients bool   // CLIENT LIST
	Cluster bool   // the server's report about its cluster
	Load    bool   // what commands cost
}

// Read returns the state of the server of c as text. It blocks until the server has answered; ctx and the options of the client
// limit the wait. It is not a caller in the statistics of c.
func Read(ctx context.Context, c *respool.Client, cfg ReadConfig) (*Reading, error) {
	ctx = pool.Observe(ctx)
	p := sharedProbe(ProbeConfig{}, c)
	r := &Reading{Addr: c.Stats().Addr, User: cmp.Or(cfg.User, "default"), Loaded: cfg.Load}
	info, err := p.ask(ctx, askInfo, "INFO")
	if err != nil {
		return nil, err
	}
	r.Info = string(info)
	if r.Config, err = p.settings(ctx, ""); err != nil {
		return nil, err
	}
	if cfg.Cluster {
		var text [2][]byte
		for i, what := range []string{"NODES", "INFO"} {
			if text[i], err = p.ask(ctx, "CLUSTER "+what, "CLUSTER", what); err != nil {
				return nil, err
			}
		}
		r.Nodes, r.ClusterInfo = string(text[0]), string(text[1])
	}
	if cfg.Clients {
		var list bytes.Buffer
		_, err := c.DoTo(ctx, &list, "CLIENT", "LIST")
		if err := p.note(askList, err); err != nil {
			return nil, err
		}
		r.List, r.Listed = list.String(), p.refused[askList] == ""
	}
	r.At = time.Now()
	if cfg.Load {
		if _, r.CommandStats, r.Slow, err = p.askLoad(ctx, r.Config, cfg.Own); err != nil {
			return nil, err
		}
	}
	r.Refused = p.refused
	return r, nil
}

// AddGateway adds what an earlier reply to INFO over the same connection showed about a gateway of respool: see Info.Gateway.
func (r *Reading) AddGateway(earlier Info) {
	if servers, ok := earlier.Gateway(); ok {
		r.Info += gatewayField(servers)
	}
}

// Snapshot parses the reading. limit overrides the server's maxclients; 0: the reported one. The connection that was used for
// the reading counts like any other.
func (r *Reading) Snapshot(limit int64) (*Snapshot, error) {
	snap := newSnapshot(&Source{At: r.At, Info: r.Info, Config: r.Config, Owned: NoneOwned, Limit: limit})
	if snap.MaxClients == 0 {
		snap.MaxClients, snap.Assumed = assumedLimit(r.Addr, snap.Info)
	}
	snap.Refused, snap.User = r.Refused, r.User
	if r.Loaded {
		snap.load = newLoad(r.At, r.CommandStats, r.Slow, r.Refused)
	}
	if r.Nodes != "" {
		var err error
		if snap.Cluster, err = ParseClusterMap(r.Nodes, r.ClusterInfo, r.Addr, nil); err != nil {
			return nil, err
		}
	}
	if _, gateway := snap.Info.Gateway(); gateway && r.Listed {
		snap.Refused = maps.Clone(r.Refused)
		if snap.Refused == nil {
			snap.Refused = map[string]string{}
		}
		snap.Refused[askList] = gatewayList
		return snap, nil
	}
	if !r.Listed {
		return snap, nil
	}
	list := snap.listClients("")
	list.unnamed = &unnamedList{ownName: r.Own}
	err := EachClient(strings.NewReader(r.List), list.add)
	list.done()
	return snap, err
}
