package respool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Role says which nodes of a service a client uses.
type Role uint8

// The roles.
const (
	RolePrimary       Role = iota // the primary
	RoleReplica                   // the replicas, in turn
	RolePreferReplica             // the replicas, and the primary while none is usable
)

// String gives the role as URLs have it.
func (r Role) String() string {
	switch r {
	case RolePrimary:
		return "primary"
	case RoleReplica:
		return "replica"
	case RolePreferReplica:
		return "prefer-replica"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// SentinelOptions say how to reach the Sentinels that tell where a service's
// nodes are. What is here is for the connections to the sentinels alone; those
// to data nodes follow Options. The zero value of a field stands for its
// default. The options print without their password.
type SentinelOptions struct {
	// Addrs are the sentinels to begin with, host:port each. Others are learnt
	// from them. There is no default: one at least is needed.
	Addrs []string
	// TLS, when set, encrypts the connections. Its ServerName defaults to the
	// sentinel's host. Default: none, whatever Options.TLS says.
	TLS *tls.Config
	// TLSFiles is as Options.TLSFiles, for the connections to the sentinels. Those
	// who hear of changes are the clients. Default: none, or those that the URL names.
	TLSFiles *TLSFiles
	// Username and Password authenticate at the sentinels. Default: none,
	// whatever Options say.
	Username, Password string
	// Credentials, when set, is asked for them, as Options.Credentials is. ctx ends after
	// Timeout. Default: none, whatever Options say.
	Credentials func(ctx context.Context) (Credentials, error)
	// ClientName names the connections to the sentinels. Default: none.
	ClientName string

	// MinOtherSentinels is how many other sentinels one has to know for its word
	// to count: one that is cut off from the rest may be wrong. Default: 0.
	MinOtherSentinels int
	// Timeout bounds each dial of a sentinel, with its handshake, each question
	// to one, and each ROLE that a data node is asked. Default: 1 s.
	Timeout time.Duration
	// PollInterval is about how often a sentinel is asked though nothing was
	// published. Default: 10 s: changes are published, so this finds what was
	// missed.
	PollInterval time.Duration
	// DrainLimit bounds how long replies of a node that is not used any more are
	// let in. Default: 1 s: what a node that lost its role does is thrown away.
	DrainLimit time.Duration
	// HoldLimit bounds how long commands that do more than read wait while a
	// sentinel promotes a replica. The replica has stopped to follow, and what the old primary
	// acknowledges then is lost; a commanded failover takes a second of that. Never lets
	// them go on. Default: 3 s.
	HoldLimit time.Duration
	// MapAddr gives the address to dial for one that a sentinel tells, of data
	// nodes and of other sentinels, for networks behind NAT. It must always give
	// the same for the same. Default: none.
	MapAddr func(addr string) string
	// Dialer opens the sockets to the sentinels instead of net.Dialer.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Defaults of SentinelOptions.
const (
	defaultSentinelPort    = "26379"
	defaultSentinelTimeout = time.Second
	defaultPollInterval    = 10 * time.Second
	defaultDrainLimit      = time.Second
	defaultHoldLimit       = 3 * time.Second
)

// withDefaults checks the options and fills in the defaults.
func (o SentinelOptions) withDefaults() (SentinelOptions, error) {
	var c checker
	if len(o.Addrs) == 0 {
		c.fail("Sentinel.Addrs", "empty", "host:port of one sentinel or more")
	}
	for _, addr := range o.Addrs {
		if err := checkAddr("tcp", addr); err != nil {
			c.fail("Sentinel.Addrs", fmt.Sprintf("%q", addr), err.Error())
		}
	}
	if o.Username != "" && o.Password == "" && o.Credentials == nil {
		c.fail("Sentinel.Password", "empty", "the password of the given user")
	}
	checkTLSFiles(&c, "Sentinel.TLSFiles", o.TLS, o.TLSFiles)
	checkClientName(&c, "Sentinel.ClientName", o.ClientName)
	bounded(&c, "Sentinel.MinOtherSentinels", &o.MinOtherSentinels, 0, 0)
	bounded(&c, "Sentinel.Timeout", &o.Timeout, defaultSentinelTimeout, time.Millisecond)
	bounded(&c, "Sentinel.PollInterval", &o.PollInterval, defaultPollInterval, 10*time.Millisecond)
	bounded(&c, "Sentinel.DrainLimit", &o.DrainLimit, defaultDrainLimit, time.Millisecond)
	bounded(&c, "Sentinel.HoldLimit", &o.HoldLimit, defaultHoldLimit, time.Millisecond)
	if o.HoldLimit > time.Minute && o.HoldLimit != Never {
		c.fail("Sentinel.HoldLimit", o.HoldLimit, "1m or less, or Never")
	}
	for field, d := range map[string]time.Duration{"Timeout": o.Timeout, "PollInterval": o.PollInterval, "DrainLimit": o.DrainLimit} {
		if d > time.Hour {
			c.fail("Sentinel."+field, d, "1h or less")
		}
	}
	return o, c.err
}

// String tells which sentinels these are, without a password.
func (o SentinelOptions) String() string {
	return fmt.Sprintf("respool.SentinelOptions{%s, user %q}", strings.Join(o.Addrs, ","), o.Username)
}

// GoString is String, so that %#v shows no password.
func (o SentinelOptions) GoString() string { return o.String() }

// LogValue is String, for slog.
func (o SentinelOptions) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText is String, so that no encoder shows a password.
func (o SentinelOptions) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Sentinel makes clients of the services that a set of Sentinels watches over.
// It holds two connections at most to each sentinel, however many clients
// there are: share one in a process. All methods are safe for concurrent use.
// It has to be closed.
type Sentinel struct {
	opt   SentinelOptions
	links *engine.Sentinels

	mu      sync.Mutex
	clients []*Client
	closed  bool
}

// NewSentinel checks the options and opens no connection: that happens at the
// first use of a client, or in its Warm.
func NewSentinel(opt SentinelOptions) (*Sentinel, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg, err := opt.engineConfig()
	if err != nil {
		return nil, err
	}
	return &Sentinel{opt: opt, links: engine.NewSentinels(cfg)}, nil
}

// Primary gives the client for the primary of a service, wherever it is. The
// same name and options give the same client: closing it closes it for all,
// and the next call makes another one. Fields of opt that name a server, a
// service or sentinels have to be empty, its Role is not looked at. It opens
// no connection.
func (s *Sentinel) Primary(name string, opt Options) (*Client, error) {
	opt.Role = RolePrimary
	return s.client(name, opt)
}

// Replicas gives the client for the replicas of a service, as Primary does.
// Commands take them in turn, or the nearest if opt.Nearest is set; those that
// are down, or lag more than opt.MaxReplicaLag behind, are left out. With
// opt.Role RolePreferReplica the primary serves while no replica can.
//
// It is for commands that read: others get the server's READONLY error.
func (s *Sentinel) Replicas(name string, opt Options) (*Client, error) {
	if opt.Role != RolePreferReplica {
		opt.Role = RoleReplica
	}
	return s.client(name, opt)
}

func (s *Sentinel) client(name string, opt Options) (*Client, error) {
	if opt.Sentinel != nil || opt.Service != "" {
		return nil, errors.New("respool: options of a Sentinel's client name sentinels or a service: want neither, the name is given apart")
	}
	opt.Sentinel, opt.Service = &s.opt, name
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	for _, c := range s.clients {
		if !c.engine.Closed() && alike(&c.opt, &opt) {
			return c, nil
		}
	}
	c, err := newClient(opt, s.links, false)
	if err != nil {
		return nil, err
	}
	c.sentinel = s
	s.clients = append(s.clients, c)
	return c, nil
}

// forget takes a client out that is closed.
func (s *Sentinel) forget(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.clients {
		if x == c {
			s.clients = append(s.clients[:i:i], s.clients[i+1:]...)
			return
		}
	}
}

// alike compares all fields; functions and TLS configurations are the
// same if they are one.
func alike(a, b *Options) bool {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		fa, fb := va.Field(i), vb.Field(i)
		if fa.Kind() == reflect.Func {
			// A func value is a pointer to its closure, which is what tells two apart.
			if *(*uintptr)(fa.Addr().UnsafePointer()) != *(*uintptr)(fb.Addr().UnsafePointer()) {
				return false
			}
		} else if !fa.Equal(fb) {
			return false
		}
	}
	return true
}

// Close closes all clients that it made, and then the connections to the
// sentinels, as Client.Close does: when it returns, no server counts any of
// them. It returns the error of ctx if something had to be cut. Within the OnEvent of one of the
// clients it does not wait, as Client.Close.
func (s *Sentinel) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	clients := append([]*Client(nil), s.clients...)
	s.mu.Unlock()
	if !slices.ContainsFunc(clients, func(c *Client) bool { return c.engine.InCallback() }) {
		return s.close(ctx, clients)
	}
	ctx, cancel := engine.Detached(ctx)
	go func() {
		defer cancel()
		_ = s.close(ctx, clients)
	}()
	return nil
}

func (s *Sentinel) close(ctx context.Context, clients []*Client) error {
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { errs[i] = c.Close(ctx) })
	}
	wg.Wait()
	err := s.links.Close(ctx)
	for _, e := range errs {
		if e != nil {
			err = e
		}
	}
	return err
}
