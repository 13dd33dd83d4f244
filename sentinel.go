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
	"github.com/seed-2b0d76a6/respool/internal/sentinels"
)

// Role selects the nodes of a service, or those of a cluster that take read-only commands.
type Role uint8

// The roles.
const (
	RolePrimary       Role = iota // the primary
	RoleReplica                   // the replicas, in turn
	RolePreferReplica             // the replicas, or the primary while no replica is usable
)

// String returns the role as URLs name it.
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

// SentinelOptions describe the connections to the Sentinels that report the nodes of a service.
// Connections to data nodes use Options instead. The zero value of a field stands for its default.
// The options print without their password.
type SentinelOptions struct {
	// Addrs are the first sentinels to contact, each as host:port. They report further sentinels.
	// Required: at least one.
	Addrs []string
	// TLS, if set, encrypts the connections. Its ServerName defaults to the host of the sentinel.
	// Default: none, independent of Options.TLS.
	TLS *tls.Config
	// TLSFiles are like Options.TLSFiles, for the connections to the sentinels. The events of the
	// clients report changes of the files. Default: none, or the files that the URL names.
	TLSFiles *TLSFiles
	// Username and Password authenticate with the sentinels. Default: none, independent of Options.
	Username, Password string
	// Credentials, if set, returns the user and the password, like Options.Credentials. ctx ends
	// after Timeout. Default: none, independent of Options.
	Credentials func(ctx context.Context) (Credentials, error)
	// ClientName is the name of the connections to the sentinels. Default: none.
	ClientName string

	// MinOtherSentinels is the number of other sentinels that a sentinel must know before the
	// client trusts it. A sentinel that is cut off from the others may be wrong. Default: 0.
	MinOtherSentinels int
	// Timeout limits each dial of a sentinel with its handshake, each query of a sentinel, and each
	// ROLE query of a data node. At most 1 h. Default: 1 s.
	Timeout time.Duration
	// PollInterval is the approximate interval of the queries of a sentinel that publishes nothing.
	// It is 10 ms to 1 h. Default: 10 s. Sentinels publish changes, so polling only finds missed
	// ones.
	PollInterval time.Duration
	// DrainLimit limits the time for which the client still accepts replies of a node that it no
	// longer uses. At most 1 h. Default: 1 s, because the writes of a node that lost its role are
	// discarded.
	DrainLimit time.Duration
	// HoldLimit limits the wait of commands that may write while a sentinel promotes a replica. The
	// replica no longer follows the old primary, so the writes that the old primary acknowledges
	// are lost. A commanded failover spends a second of its time in this state. At most 1 m. Never
	// disables the wait. Default: 3 s.
	HoldLimit time.Duration
	// MapAddr returns the address to dial for an address that a sentinel reports, for data nodes
	// and for other sentinels. It is for networks behind NAT. It must always return the same
	// address for the same argument. Default: none.
	MapAddr func(addr string) string
	// Dialer replaces net.Dialer for the connections to the sentinels. Default: none.
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

// withDefaults validates the options and sets the defaults.
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

// String returns the addresses of the sentinels and the user, without a password.
func (o SentinelOptions) String() string {
	return fmt.Sprintf("respool.SentinelOptions{%s, user %q}", strings.Join(o.Addrs, ","), o.Username)
}

// GoString returns String, so that %#v shows no password.
func (o SentinelOptions) GoString() string { return o.String() }

// LogValue returns String, for slog.
func (o SentinelOptions) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText returns String, so that no encoder shows a password.
func (o SentinelOptions) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Sentinel creates clients of the services that a set of Sentinels monitors. It opens at most two
// connections to each sentinel, independent of the number of clients, so share one Sentinel in a
// process. All methods are safe for concurrent use. The caller must close it.
type Sentinel struct {
	opt   SentinelOptions
	links *sentinels.Set

	mu      sync.Mutex
	clients []*Client
	closed  bool
}

// NewSentinel validates the options and reads the TLS files. It opens no connection: the first use
// of a client, or its Warm, does that.
func NewSentinel(opt SentinelOptions) (*Sentinel, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg, err := opt.engineConfig()
	if err != nil {
		return nil, err
	}
	return &Sentinel{opt: opt, links: sentinels.New(cfg)}, nil
}

// Primary returns the client for the current primary of a service. The same name and options return
// the same client, so closing it closes it for all its users. The next call then returns a new one.
// Fields of opt that name a server, a service or sentinels must be empty, and Role has no effect.
// Primary opens no connection.
func (s *Sentinel) Primary(name string, opt Options) (*Client, error) {
	opt.Role = RolePrimary
	return s.client(name, opt)
}

// Replicas returns the client for the replicas of a service, with the rules of Primary. Commands
// use the replicas in turn, or the nearest ones if opt.Nearest is set. The client excludes replicas
// that are down, or whose lag exceeds opt.MaxReplicaLag. With opt.Role RolePreferReplica, the
// primary serves commands while no replica can.
//
// The client is for read-only commands: a replica answers others with READONLY.
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
		if !c.engine.Closed() && identicalOptions(&c.opt, &opt) {
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

// removeClient removes a closed client.
func (s *Sentinel) removeClient(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, x := range s.clients {
		if x == c {
			s.clients = append(s.clients[:i:i], s.clients[i+1:]...)
			return
		}
	}
}

// identicalOptions compares all fields. Functions and TLS configurations are equal only if they are identical.
func identicalOptions(a, b *Options) bool {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		fa, fb := va.Field(i), vb.Field(i)
		if fa.Kind() == reflect.Func {
			// A func value is a pointer to its closure, which identifies it.
			if *(*uintptr)(fa.Addr().UnsafePointer()) != *(*uintptr)(fb.Addr().UnsafePointer()) {
				return false
			}
		} else if !fa.Equal(fb) {
			return false
		}
	}
	return true
}

// Close closes all clients that it created, and then the connections to the sentinels, with the
// rules of Client.Close: when it returns, no server counts any of them. It returns the error of ctx
// if it cut anything. Inside the OnEvent of one of the clients it does not wait, like Client.Close.
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
