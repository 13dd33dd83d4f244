package engine

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology/discovery"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Role says which nodes of a service an engine uses.
type Role uint8

// The roles.
const (
	Primary Role = iota
	Replica
	PreferReplica // the replicas, and the primary while none is usable
)

// Service is what sentinels watch over, and how its nodes are used.
type Service struct {
	Name          string
	Role          Role
	Nearest       bool          // the replicas with the lowest latency alone
	MaxReplicaLag time.Duration // 0: no limit
}

// holdFor is how long an engine of this role holds writes during a promotion.
func (s *Service) holdFor(cfg *SentinelsConfig) time.Duration {
	if s.Role != Primary {
		return 0
	}
	return cfg.HoldLimit
}

// SentinelsConfig is what the connections to a set of sentinels are made of. Every field is set.
type SentinelsConfig struct {
	Addrs              []string
	Username, Password string
	// Credentials are asked for at each dial and before they expire; nil: Username and Password hold.
	Credentials func(ctx context.Context) (Credentials, error)
	TLS         *TLS // nil: none
	ClientName  string
	LibName     string
	LibVersion  string
	MinOther    int // how many other sentinels one has to know for its word to count

	Timeout      time.Duration // of each dial and each question
	PollInterval time.Duration
	DrainLimit   time.Duration
	HoldLimit    time.Duration // 0: writes are not held
	KeepAlive    time.Duration
	LingerLimit  time.Duration

	MapAddr func(addr string) string
	Dialer  func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Sentinels are the connections to a set of sentinels, which any number of engines share. All methods are safe for
// concurrent use. They have to be closed.
type Sentinels struct {
	cfg     SentinelsConfig
	links   *discovery.Sentinels
	peers   sync.Map // addresses of sentinels -> *wire.Peer
	renewer *renewer // nil without SentinelsConfig.Credentials

	mu    sync.Mutex
	users []*Engine
}

// NewSentinels opens no connection: that happens at the first use of an engine.
func NewSentinels(cfg SentinelsConfig) *Sentinels {
	s := &Sentinels{cfg: cfg}
	if cfg.TLS != nil {
		s.cfg.TLS = cfg.TLS.reportTo(s.emit)
	}
	s.links = discovery.New(discovery.Config{Dial: s.dial, QueryTimeout: cfg.Timeout, LingerLimit: cfg.LingerLimit})
	s.renewer = newRenewer(cfg.Credentials, sentinelLinks{s}, cfg.Timeout, s.renewed)
	return s
}

func (s *Sentinels) dial(ctx, cut context.Context, addr string) (discovery.Conn, error) {
	conn, err := wire.Dial(ctx, cut, &wire.Config{
		Network: "tcp", Addr: addr, TLS: s.cfg.TLS.config(addr),
		Username: s.cfg.Username, Password: s.cfg.Password, Credentials: s.renewer.login(), ClientName: s.cfg.ClientName,
		LibName: s.cfg.LibName, LibVersion: s.cfg.LibVersion, Peer: s.peer(addr),
		ConnectTimeout: s.cfg.Timeout, KeepAlive: s.cfg.KeepAlive, LingerLimit: s.cfg.LingerLimit, DialFunc: s.cfg.Dialer,
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// peer is what is known of the sentinel at addr.
func (s *Sentinels) peer(addr string) *wire.Peer {
	p, _ := s.peers.LoadOrStore(addr, &wire.Peer{})
	return p.(*wire.Peer)
}

// join and leave keep account of the engines that hear of events.
func (s *Sentinels) join(e *Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, e)
}

func (s *Sentinels) leave(e *Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = slices.DeleteFunc(s.users, func(x *Engine) bool { return x == e })
}

func (s *Sentinels) engines() []*Engine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.users)
}

// emit reports to all engines.
func (s *Sentinels) emit(event Event) {
	for _, e := range s.engines() {
		e.emit(event)
	}
}

// Close closes the connections to the sentinels. It returns the error of ctx if something had to be cut.
func (s *Sentinels) Close(ctx context.Context) error {
	s.renewer.stop()
	return s.links.Close(ctx)
}
