package respool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// Never disables a timeout or an interval.
const Never time.Duration = math.MaxInt64

// NoRetries, as Options.Retries, disables retries: the client sends each command once.
const NoRetries = -1

// Options select the server, the user and the limits of a client. The zero value of a field stands
// for its default. Negative values and values out of range are errors of New. Options print without
// their password.
type Options struct {
	// Network is "tcp" or "unix". Default: tcp.
	Network string
	// Addr is host:port, or the path of a Unix socket. Default: localhost:6379.
	Addr string
	// Sentinel, if set, replaces Addr: sentinels report the nodes of Service. The client then has
	// its own connections to the sentinels. Use NewSentinel to share these among clients. Default:
	// none.
	Sentinel *SentinelOptions
	// Service is the name of the service that the sentinels monitor. Required with Sentinel.
	// Default: none.
	Service string
	// Cluster, if set, replaces Addr: the client finds the nodes of a Redis Cluster, and sends each
	// command to the node that serves its keys. Default: none.
	Cluster *ClusterOptions
	// Role selects the nodes of the service. In a cluster it selects those that take read-only
	// commands; all others go to the primaries. Default: RolePrimary.
	Role Role
	// MaxReplicaLag excludes replicas that lack writes of their primary older than this. The client
	// queries all nodes at half this interval. At least 100 ms. Default: 0, no limit.
	MaxReplicaLag time.Duration
	// Nearest selects the replicas with the lowest latency, which the client measures every second.
	// Otherwise commands go to all replicas in turn. Default: false.
	Nearest bool

	// TLS, if set, encrypts connections. Its ServerName defaults to the host of Addr, or of the
	// node. Default: none.
	TLS *tls.Config
	// TLSFiles, if set, names files with certificates for TLS. The client reads them again after
	// they change. Default: none, or the files that the URL names.
	TLSFiles *TLSFiles

	// Username and Password authenticate every connection. A password without a username
	// authenticates the user default. Default: none.
	Username, Password string
	// Credentials, if set, returns the user and the password for each dial, so they may change
	// while the client runs. The client calls it again before they expire, and then authenticates
	// open connections without an interruption. ctx ends after ConnectTimeout. The function must be
	// safe for concurrent use. It may return the same credentials while they are valid. Default:
	// none.
	Credentials func(ctx context.Context) (Credentials, error)
	// DB is the database of every connection. Default: 0.
	DB int
	// Protocol is the RESP version, 2 or 3. With 3, a server that refuses HELLO is an error.
	// Default: 3 if the server supports it, else 2. Version 3 distinguishes maps, sets and pushes.
	Protocol int
	// ClientName is the name of the connections in CLIENT LIST; service:instance:pool is
	// recommended. It consists of printable ASCII without spaces. Default: none.
	ClientName string

	// MaxConnections limits the sockets to each node, in every state: dialing, shared, dedicated,
	// idle, subscribed and closing. Default: 16. The lanes carry any number of callers, and a dozen
	// connections remain for leases. Blocking commands take one.
	MaxConnections int
	// Lanes is the maximum number of shared connections. Default: 4, or MaxConnections if that is
	// less. Callers fill one lane up to 1,024 pending replies before they use the next, so unused
	// lanes cost nothing. With two or more, large replies do not delay small ones.
	Lanes int
	// MinIdle is the number of idle connections that the pool keeps for dedicated use. At most
	// MaxConnections-1, so 0 with MaxConnections 1. Default: 0, because most programs need none.
	MinIdle int
	// MaxWaiters limits the callers that wait for a connection. Further callers get
	// ErrPoolExhausted at once. Default: 0, no limit: WaitTimeout limits the wait, and a waiter
	// costs about 200 bytes in addition to its goroutine.
	MaxWaiters int
	// Blocking decides how blocking commands wait. Default: BlockingShared.
	Blocking Blocking
	// MaxBlocked limits the commands that wait at a time with BlockingShared. Further ones get
	// ErrTooManyBlocked. Default: 100,000, which cost less than 100 MB beside their goroutines.
	MaxBlocked int

	// ConnectTimeout limits a dial, including TLS and handshake. Default: 5 s, which allows two
	// retransmissions of a lost SYN.
	ConnectTimeout time.Duration
	// SocketTimeout limits the wait for a reply. A blocking command's own timeout is added to it.
	// It never closes a shared connection. Default: 5 s, after which an error helps a caller more
	// than a longer wait. Clients of a gateway, and of package goredis, have their own timeouts:
	// their commands have no default.
	SocketTimeout time.Duration
	// WaitTimeout limits the wait for a connection. It also limits the wait for a server that
	// accepts a command after another one refused it because it is a replica or still loads.
	// Default: 5 s, like SocketTimeout.
	WaitTimeout time.Duration
	// StallLimit closes a connection without progress for this time while replies are pending.
	// Progress is a received byte, or a byte of the first pending command that the socket accepts.
	// The limit restarts while the server reports on another connection that it runs a script
	// (BUSY), or that it holds these replies back (CLIENT PAUSE). The client detects a dead path
	// earlier: after an eighth of the limit, 1 s at most, it queries the server on another
	// connection. Default: twice SocketTimeout, at least 10 s, so that a slow command or a fork
	// closes no connection.
	StallLimit time.Duration
	// IdleTimeout closes dedicated connections that were idle for this time, down to MinIdle.
	// Default: 5 m, which releases the connections of a burst.
	IdleTimeout time.Duration
	// MaxLifetime replaces connections of this age, less a random tenth. Default: Never, because
	// there is no reason to close a working connection.
	MaxLifetime time.Duration
	// HealthCheckInterval is the time of silence after which the client pings a connection. It
	// pings the connection with subscriptions at this interval. Connections in use need no ping.
	// Default: 10 s, because a firewall or a proxy may drop a connection without notice, or keep
	// TCP alive without a server behind it. Never disables these pings; the pool still pings idle
	// connections before it leases them.
	HealthCheckInterval time.Duration
	// KeepAlive is the TCP keep-alive: probes begin after this time of silence and repeat at this
	// interval. Three lost probes end the connection. Never disables it. Default: 15 s.
	KeepAlive time.Duration
	// LingerLimit limits the wait of a close for the server to close its side. After that, the
	// place counts as free. Never is not allowed. Default: 5 s, the longest usual pause of a
	// server.
	LingerLimit time.Duration

	// ReplyLimit is the maximum size of a reply, in bytes. A larger reply fails its connection.
	// Default: 512 MiB, the largest string that Redis stores.
	ReplyLimit int64
	// Retries is how often the client resends a read-only command after its connection broke.
	// NoRetries disables retries. Default: 2, one for a broken connection and one for its
	// successor.
	Retries int
	// WindowCommands limits the pending replies of one lane; further callers wait. Default: 16384,
	// more than ten thousand callers need.
	WindowCommands int
	// WindowBytes limits the bytes of the commands with pending replies on one lane, plus twice the
	// bytes of replies that are known to be large. Further callers wait. One more command may
	// exceed the limit. Default: 4 MiB, so that 4 lanes to a stalled server hold 16 MiB.
	WindowBytes int

	// DialParallel limits the dials that run at a time. Default: 4, so that a cold start does not
	// overload the server.
	DialParallel int
	// DialRate limits the dials per second beyond a burst of MaxConnections. Default: 100, so that
	// connections that break immediately do not overload the server.
	DialRate float64
	// BackoffBase and BackoffCap are the first and the longest pause after failed dials. Pauses
	// double, and each is random within its upper half. One dial runs at a time meanwhile.
	// Defaults: 10 ms, so that the client notices a short outage's end quickly, and 1 s, so that it
	// finds a recovered server within a second. BackoffCap is at most 1 h.
	BackoffBase, BackoffCap time.Duration

	// SubscriptionBuffer is the number of messages that a Subscription buffers for a slow receiver.
	// When the buffer is full, the client drops and counts newer messages. Default: 1024, enough
	// for a burst while the receiver is busy.
	SubscriptionBuffer int
	// LeakThreshold reports a Conn that is held for longer, once, as an event with the stack that
	// acquired it. Default: 0, disabled, because recording a stack costs a microsecond for each
	// Acquire.
	LeakThreshold time.Duration
	// OnEvent receives the events of connections. Goroutines of the client call it concurrently. It
	// must not block, because callers may wait for it. It may call any method of the client; Close
	// does not wait there. Default: none, at no cost.
	OnEvent func(Event)

	// Dialer replaces net.Dialer. TLS and the handshake run on the connections that it returns.
	// KeepAlive has no effect on them. Default: none.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

	socketTimeoutUnset bool // SocketTimeout was unset or Never: the gateway's clients have their own timeouts
}

// Defaults of Options.
const (
	defaultPort               = "6379"
	defaultAddr               = "localhost:" + defaultPort
	defaultMaxConnections     = 16
	defaultMaxBlocked         = 100_000
	defaultLanes              = 4
	defaultTimeout            = 5 * time.Second
	defaultStallLimit         = 10 * time.Second
	defaultIdleTimeout        = 5 * time.Minute
	defaultHealthCheck        = 10 * time.Second
	defaultKeepAlive          = 15 * time.Second
	defaultLingerLimit        = 5 * time.Second
	defaultReplyLimit         = 512 << 20
	defaultRetries            = 2
	defaultWindowCommands     = 16384
	defaultWindowBytes        = 4 << 20
	defaultDialParallel       = 4
	defaultDialRate           = 100
	defaultBackoffBase        = 10 * time.Millisecond
	defaultBackoffCap         = time.Second
	defaultSubscriptionBuffer = 1024
)

// longestBackoff is the maximum BackoffCap: the client must find a recovered server.
const longestBackoff = time.Hour

// withDefaults validates the options and sets the defaults. It returns the first problem.
func (o Options) withDefaults() (Options, error) {
	var c checker
	o.checkServer(&c)
	o.checkBounds(&c)
	o.checkTimes(&c)
	if c.err != nil {
		return Options{}, c.err
	}
	return o, nil
}

func (o *Options) checkServer(c *checker) {
	switch o.Network {
	case "":
		o.Network = "tcp"
	case "tcp", "unix":
	default:
		c.fail("Network", strconv.Quote(o.Network), "tcp or unix")
	}
	switch {
	case o.Cluster != nil:
		o.checkCluster(c)
	case o.Sentinel != nil:
		o.checkService(c)
	default:
		o.checkOneServer(c)
	}
	if o.DB < 0 {
		c.fail("DB", o.DB, "0 or more")
	}
	if o.Protocol != 0 && o.Protocol != 2 && o.Protocol != 3 {
		c.fail("Protocol", o.Protocol, "2, 3, or 0 for the newest that the server knows")
	}
	if o.Username != "" && o.Password == "" && o.Credentials == nil {
		c.fail("Password", "empty", "the password of the given user")
	}
	checkTLSFiles(c, "TLSFiles", o.TLS, o.TLSFiles)
	checkClientName(c, "ClientName", o.ClientName)
}

func checkClientName(c *checker, field, name string) {
	for _, b := range []byte(name) {
		if b < '!' || b > '~' {
			c.fail(field, strconv.Quote(name), "printable ASCII without spaces")
			return
		}
	}
}

func (o *Options) checkOneServer(c *checker) {
	if o.Addr == "" && o.Network == "tcp" {
		o.Addr = defaultAddr
	}
	if err := checkAddr(o.Network, o.Addr); err != nil {
		c.fail("Addr", strconv.Quote(o.Addr), err.Error())
	}
	if o.Service != "" || o.Role != RolePrimary || o.MaxReplicaLag != 0 || o.Nearest {
		c.fail("Sentinel", "nil", "sentinels with Service, and sentinels or a Cluster with Role, MaxReplicaLag or Nearest")
	}
}

func (o *Options) checkService(c *checker) {
	if o.Addr != "" || o.Network != "tcp" {
		c.fail("Addr", strconv.Quote(o.Addr), "empty, and no Unix socket, because sentinels report the address")
	}
	if o.Service == "" {
		c.fail("Service", "empty", "the name under which the sentinels know the service, such as mymaster")
	}
	for _, b := range []byte(o.Service) {
		if b <= ' ' || b == 0x7f {
			c.fail("Service", strconv.Quote(o.Service), "a name without spaces")
			break
		}
	}
	o.checkRole(c)
	if _, err := o.Sentinel.withDefaults(); err != nil && c.err == nil {
		c.err = err
	}
}

func (o *Options) checkRole(c *checker) {
	if o.Role > RolePreferReplica {
		c.fail("Role", o.Role, "RolePrimary, RoleReplica or RolePreferReplica")
	}
	bounded(c, "MaxReplicaLag", &o.MaxReplicaLag, 0, 100*time.Millisecond)
	if o.Role == RolePrimary && (o.MaxReplicaLag != 0 || o.Nearest) {
		c.fail("Role", o.Role, "RoleReplica or RolePreferReplica with MaxReplicaLag or Nearest")
	}
}

func checkAddr(network, addr string) error {
	if network == "unix" {
		if addr == "" {
			return errors.New("the path of a socket")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return errors.New("host:port")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return errors.New("host:port with a port from 1 to 65535")
	}
	return nil
}

func (o *Options) checkBounds(c *checker) {
	bounded(c, "MaxConnections", &o.MaxConnections, defaultMaxConnections, 1)
	bounded(c, "Lanes", &o.Lanes, min(defaultLanes, max(o.MaxConnections, 1)), 1)
	if o.Lanes > o.MaxConnections {
		c.fail("Lanes", o.Lanes, fmt.Sprintf("at most MaxConnections, which is %d", o.MaxConnections))
	}
	bounded(c, "MinIdle", &o.MinIdle, 0, 0)
	if o.MinIdle > o.MaxConnections-1 {
		c.fail("MinIdle", o.MinIdle, fmt.Sprintf("at most MaxConnections-1, which is %d: the pool keeps one place for a lane", o.MaxConnections-1))
	}
	bounded(c, "MaxWaiters", &o.MaxWaiters, 0, 0)
	if o.Blocking > BlockingDedicated {
		c.fail("Blocking", o.Blocking, "BlockingShared or BlockingDedicated")
	}
	bounded(c, "MaxBlocked", &o.MaxBlocked, defaultMaxBlocked, 1)
	bounded(c, "ReplyLimit", &o.ReplyLimit, defaultReplyLimit, 64)
	if o.Retries == NoRetries {
		o.Retries = 0
	} else {
		bounded(c, "Retries", &o.Retries, defaultRetries, 1)
	}
	bounded(c, "WindowCommands", &o.WindowCommands, defaultWindowCommands, 1)
	bounded(c, "WindowBytes", &o.WindowBytes, defaultWindowBytes, 1)
	bounded(c, "DialParallel", &o.DialParallel, defaultDialParallel, 1)
	if math.IsInf(o.DialRate, 1) {
		c.fail("DialRate", o.DialRate, "a finite number of dials a second")
	}
	bounded(c, "DialRate", &o.DialRate, defaultDialRate, 0.001)
	bounded(c, "SubscriptionBuffer", &o.SubscriptionBuffer, defaultSubscriptionBuffer, 1)
}

func (o *Options) checkTimes(c *checker) {
	const least = time.Millisecond
	bounded(c, "ConnectTimeout", &o.ConnectTimeout, defaultTimeout, least)
	o.socketTimeoutUnset = o.SocketTimeout == 0 || o.SocketTimeout == Never
	bounded(c, "SocketTimeout", &o.SocketTimeout, defaultTimeout, least)
	bounded(c, "WaitTimeout", &o.WaitTimeout, defaultTimeout, least)
	stall := defaultStallLimit
	if o.SocketTimeout < Never/2 {
		stall = max(stall, 2*o.SocketTimeout)
	}
	bounded(c, "StallLimit", &o.StallLimit, stall, least)
	bounded(c, "IdleTimeout", &o.IdleTimeout, defaultIdleTimeout, least)
	bounded(c, "MaxLifetime", &o.MaxLifetime, Never, least)
	bounded(c, "HealthCheckInterval", &o.HealthCheckInterval, defaultHealthCheck, least)
	bounded(c, "KeepAlive", &o.KeepAlive, defaultKeepAlive, least)
	bounded(c, "LingerLimit", &o.LingerLimit, defaultLingerLimit, least)
	if o.LingerLimit == Never {
		c.fail("LingerLimit", "Never", "a limit: a stalled server would keep its places for ever")
	}
	bounded(c, "BackoffBase", &o.BackoffBase, defaultBackoffBase, least)
	bounded(c, "BackoffCap", &o.BackoffCap, max(defaultBackoffCap, o.BackoffBase), least)
	if o.BackoffBase > o.BackoffCap || o.BackoffCap > longestBackoff {
		c.fail("BackoffCap", o.BackoffCap, fmt.Sprintf("at least BackoffBase, which is %v, and at most %v", o.BackoffBase, longestBackoff))
	}
	bounded(c, "LeakThreshold", &o.LeakThreshold, 0, least)
}

// String returns the server, the database, the user and the bound, without a password.
func (o Options) String() string {
	if o.Sentinel != nil {
		return fmt.Sprintf("respool.Options{%s of service %q by sentinels %s, db %d, user %q, at most %d connections a node}",
			o.Role, o.Service, strings.Join(o.Sentinel.Addrs, ","), o.DB, o.Username, o.MaxConnections)
	}
	if o.Cluster != nil {
		return fmt.Sprintf("respool.Options{cluster of %s, user %q, at most %d connections a node}",
			strings.Join(o.Cluster.Addrs, ","), o.Username, o.MaxConnections)
	}
	return fmt.Sprintf("respool.Options{%s %s, db %d, user %q, at most %d connections}",
		o.Network, o.Addr, o.DB, o.Username, o.MaxConnections)
}

// GoString returns String, so that %#v shows no password.
func (o Options) GoString() string { return o.String() }

// LogValue returns String, for slog.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText returns String, so that no encoder shows a password.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }
