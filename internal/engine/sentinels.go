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

// Role selects the nodes of a service that an engine uses.
type Role uint8

// The roles.
const (
	Primary Role = iota
	Replica
	PreferReplica // the replicas; the primary while no replica is usable
)

// Service is a service that sentinels monitor, and how an engine uses its nodes.
type Service struct {
	Name          string
	Role          Role
	Nearest       bool          // only the replicas with the lowest latency
	MaxReplicaLag time.Duration // 0: no limit
}

// holdFor returns how long an engine of this role holds writes back during a promotion.
func (s *Service) holdFor(cfg *SentinelsConfig) time.Duration {
	if s.Role != Primary {
		return 0
	}
	return cfg.HoldLimit
}

// SentinelsConfig configures the connections to a set of sentinels. The caller sets every field.
type SentinelsConfig struct {
	Addrs              []string
	Username, Password string
	// Credentials provides the credentials for each dial, and new ones before they expire; nil: Username and Password
	// apply.
	Credentials func(ctx context.Context) (Credentials, error)
	TLS         *TLS // nil: none
	ClientName  string
	LibName     string
	LibVersion  string
	MinOther    int // minimum number of other sentinels that a sentinel must know before its answers count

	Timeout      time.Duration // of each dial and each query
	PollInterval time.Duration
	DrainLimit   time.Duration
	HoldLimit    time.Duration // 0: writes are not held back
	KeepAlive    time.Duration
	LingerLimit  time.Duration

	MapAddr func(addr string) string
	Dialer  func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Sentinels are the connections to a set of sentinels. Any number of engines share them. All methods are safe for
// concurrent use. The caller must close them.
type Sentinels struct {
	cfg     SentinelsConfig
	links   *discovery.Sentinels
	peers   sync.Map // sentinel address -> *wire.Peer
	renewer *renewer // nil if SentinelsConfig.Credentials is nil

	mu    sync.Mutex
	users []*Engine
}

// NewSentinels opens no connection: the first use of an engine does.
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

// peer returns the known properties of the sentinel at addr.
func (s *Sentinels) peer(addr string) *wire.Peer {
	p, _ := s.peers.LoadOrStore(addr, &wire.Peer{})
	return p.(*wire.Peer)
}

// join and leave maintain the list of engines that receive events.
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

// emit passes an event to all engines.
func (s *Sentinels) emit(event Event) {
	for _, e := range s.engines() {
		e.emit(event)
	}
}

// Close closes the connections to the sentinels. It returns the error of ctx if it had to cut something.
func (s *Sentinels) Close(ctx context.Context) error {
	s.renewer.stop()
	return s.links.Close(ctx)
}
