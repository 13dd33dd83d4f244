package monitor

import (
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// SamplerConfig says what a sampler looks at, and how often. The zero value of
// a field stands for its default.
type SamplerConfig struct {
	Options    respool.Options  // where: a server, or a service of Sentinel; one connection is used for each node, whatever the pool settings say
	Every      time.Duration    // between two looks at INFO; default 5 s
	ListEvery  time.Duration    // between two looks at CLIENT LIST; default 60 s; respool.Never: not at all
	ListLimit  int64            // of connections, above which CLIENT LIST is not asked for; default 5000, below 0: none
	MaxClients int64            // the servers' limit, where somebody knows better; 0: what they tell
	OnState    func(*State)     // is told of each new state, on the sampler's goroutine
	Now        func() time.Time // default time.Now
}

// Sampler looks at servers again and again.
type Sampler struct{ cfg SamplerConfig }

// NewSampler checks everything and opens no connection.
func NewSampler(cfg SamplerConfig) (*Sampler, error) {
	return nil, errors.New("monitor: not yet")
}

// Run looks until ctx ends, and closes its connections then. It returns nil.
func (s *Sampler) Run(ctx context.Context) error { return nil }

// State is the last one; never nil. It is safe for concurrent use.
func (s *Sampler) State() *State { return &State{} }
