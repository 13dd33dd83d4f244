// Package sentinels holds the connections to a set of sentinels, which any number of engines share. It dials them, and
// renews their credentials. Package discovery drives them, and package sentinel decides what they mean.
package sentinels

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/topology/discovery"
	"github.com/seed-2b0d76a6/respool/internal/topology/sentinel"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// Config configures the connections to a set of sentinels. The caller sets every field.
type Config struct {
	Addrs              []string
	Username, Password string
	// Credentials provides the credentials for each dial, and new ones before they expire; nil: Username and Password
	// apply.
	Credentials renewal.Provider
	TLS         *certfile.ClientTLS // nil: none
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

// Observer receives events. Its methods must not block.
type Observer interface {
	// FilesChanged reports changed TLS files, and the address of the dial that found them. err states why they are not
	// used; nil: they are.
	FilesChanged(addr string, err error)
	// Renewed reports a renewal of credentials.
	Renewed(renewal.Event)
}

// Set is the connections to a set of sentinels. All methods are safe for concurrent use. The caller must close it.
type Set struct {
	cfg     Config
	links   *discovery.Sentinels
	peers   sync.Map         // sentinel address -> *wire.Peer
	renewer *renewal.Renewer // nil if Config.Credentials is nil

	mu        sync.Mutex
	observers []Observer
}

// New opens no connection: the first Watch does.
func New(cfg Config) *Set {
	s := &Set{cfg: cfg}
	s.cfg.TLS = cfg.TLS.ReportTo(func(addr string, err error) {
		for _, o := range s.watching() {
			o.FilesChanged(addr, err)
		}
	})
	s.links = discovery.New(discovery.Config{Dial: s.dial, QueryTimeout: cfg.Timeout, LingerLimit: cfg.LingerLimit})
	s.renewer = renewal.New(cfg.Credentials, links{s}, cfg.Timeout, func(r renewal.Event) {
		for _, o := range s.watching() {
			o.Renewed(r)
		}
	})
	return s
}

func (s *Set) dial(ctx, cut context.Context, addr string) (discovery.Conn, error) {
	conn, err := wire.Dial(ctx, cut, &wire.Config{
		Network: "tcp", Addr: addr, TLS: s.cfg.TLS.For(addr),
		Username: s.cfg.Username, Password: s.cfg.Password, Credentials: s.renewer.Login(), ClientName: s.cfg.ClientName,
		LibName: s.cfg.LibName, LibVersion: s.cfg.LibVersion, Peer: s.peer(addr),
		ConnectTimeout: s.cfg.Timeout, KeepAlive: s.cfg.KeepAlive, LingerLimit: s.cfg.LingerLimit, DialFunc: s.cfg.Dialer,
	})
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// peer returns the known properties of the sentinel at addr.
func (s *Set) peer(addr string) *wire.Peer {
	p, _ := s.peers.LoadOrStore(addr, &wire.Peer{})
	return p.(*wire.Peer)
}

// Config returns the configuration.
func (s *Set) Config() *Config { return &s.cfg }

// Watch starts to watch a service for a driver.
func (s *Set) Watch(cfg sentinel.Config, nodes discovery.Nodes) *discovery.Service {
	return s.links.Watch(cfg, nodes)
}

// Sockets returns the number of sockets to each sentinel.
func (s *Set) Sockets() map[string]int { return s.links.Sockets() }

// AddRenewals adds the counters of renewed credentials to st.
func (s *Set) AddRenewals(st *renewal.Stats) { s.renewer.AddTo(st) }

// Join adds an observer, which must be comparable.
func (s *Set) Join(o Observer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observers = append(s.observers, o)
}

// Leave removes an observer.
func (s *Set) Leave(o Observer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.observers = slices.DeleteFunc(s.observers, func(x Observer) bool { return x == o })
}

// watching returns the observers.
func (s *Set) watching() []Observer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.observers)
}

// Close closes the connections to the sentinels. It returns the error of ctx if it had to cut something.
func (s *Set) Close(ctx context.Context) error {
	s.renewer.Stop()
	return s.links.Close(ctx)
}
