package config

import (
	"cmp"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// Serve is the checked configuration of respool serve: of its file and its flags together, with the
// certificates that they name.
type Serve struct {
	Watch     Watch // of the same server
	Gateway   gateway.Config
	Listen    []Address
	Drain     time.Duration
	Takeover  string             // the Unix socket for takeovers; empty: none
	url       string             // of the section serve
	urlOrigin string             // the prefix of errors about it
	source    credentials.Source // of that URL
	Embedded  bool               // without a URL, run an embedded server
}

// Defaults of respool serve. Its pages have another port than those of respool watch, so that both
// can run on one machine. Both ports are outside 9090 to 9999, which the list of Prometheus allocates
// to exporters: 9121 is redis_exporter's.
const (
	DefaultListen     = "127.0.0.1:6380"
	DefaultServePages = "127.0.0.1:8638"
	DefaultDrain      = 30 * time.Second
)

// NewServe returns the defaults.
func NewServe() Serve {
	s := Serve{Watch: DefaultWatch(), Drain: DefaultDrain}
	s.Watch.Pages, s.Watch.Sampler.Purpose = DefaultServePages, "serve"
	return s
}

// MaxConnections returns the limit of connections to each node.
func (s *Serve) MaxConnections() int {
	return cmp.Or(s.Watch.Sampler.Options.MaxConnections, defaultMaxConnections())
}

// Loops returns the number of event loops.
func (s *Serve) Loops() int { return cmp.Or(s.Gateway.Loops, gateway.DefaultLoops()) }

// defaultLanes is the library's default.
const defaultLanes = 4

// Lanes returns the maximum number of lanes to a node: that of the URL, or else the library's default, or one for each
// event loop if those are more. max_connections limits it.
func (s *Serve) Lanes() int {
	opt := &s.Watch.Sampler.Options
	if opt.Lanes > 0 {
		return opt.Lanes
	}
	return min(max(defaultLanes, s.Loops()), s.MaxConnections())
}

// ParseServe parses a configuration of respool serve, without its profiles.
func ParseServe(top yamlnode.Node) (Serve, error) {
	s := NewServe()
	if err := s.Watch.readSections(top, &s); err != nil {
		return s, err
	}
	if s.url != "" {
		s.Watch.URL, s.Watch.URLOrigin, s.Watch.Source = s.url, s.urlOrigin, s.source
	} else if !s.source.IsZero() {
		return s, fmt.Errorf("%s: serve.credentials without serve.url: want both, or credentials beside url", top.File)
	}
	if s.Watch.URL == "" {
		return s, nil
	}
	return s, s.Watch.UseServer(s.Watch.URL, s.Watch.URLOrigin, top.File+": ")
}
