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

// Never switches a limit in time off.
const Never time.Duration = math.MaxInt64

// NoRetries as Options.Retries sends nothing twice.
const NoRetries = -1

// Options say which server a client works with, as whom, and within which
// bounds. The zero value of a field stands for its default; negative values
// and values out of range are errors of New. Options print without their
// password.
type Options struct {
	// Network is "tcp" or "unix". Default: tcp.
	Network string
	// Addr is host:port, or the path of a unix socket. Default: localhost:6379.
	Addr string
	// Sentinel, when set, finds the nodes of Service through sentinels, wherever
	// they are, instead of Addr. The client's connections to them are its own: use
	// NewSentinel to share them among clients. Default: none.
	Sentinel *SentinelOptions
	// Service is the name under which the sentinels know it. Default: none.
	Service string
	// Role says which nodes of the service are used. Default: RolePrimary.
	Role Role
	// MaxReplicaLag leaves replicas out that lack what the primary wrote so long
	// ago; every half of it all nodes are asked. At least 100 ms. Default: 0, no limit.
	MaxReplicaLag time.Duration
	// Nearest uses the replicas with the lowest latency, measured every second,
	// instead of all in turn. Default: false.
	Nearest bool

	// TLS, when set, encrypts connections. Its ServerName defaults to Addr's
	// host, or the node's. Default: none.
	TLS *tls.Config
	// TLSFiles, when set, are files with certificates for TLS, which are read
	// again when they have changed. Default: none, or those that the URL names.
	TLSFiles *TLSFiles

	// Username and Password authenticate every connection. A password alone is
	// that of the user default. Default: none.
	Username, Password string
	// Credentials, when set, is asked for them at each dial, so that they may
	// change while the client runs, and once more before they expire: standing connections
	// authenticate again then, without a break. It is bounded by ctx, which ends after
	// ConnectTimeout, and must be safe for concurrent use. It may return what it
	// returned before as long as that is valid. Default: none.
	Credentials func(ctx context.Context) (Credentials, error)
	// DB is the database of every connection. Default: 0.
	DB int
	// Protocol is the RESP version, 2 or 3. With 3 a server that refuses HELLO is
	// an error. Default: 3 where the server knows
	// it, else 2, since 3 tells maps, sets and pushes apart.
	Protocol int
	// ClientName names the connections in CLIENT LIST, best as
	// service:instance:pool. It is of printable ASCII without spaces. Default: none.
	ClientName string

	// MaxConnections bounds the sockets to a node, of every kind: dialing,
	// shared, lent, idle, subscribed and closing. Default: 16, which carries
	// any number of callers on the lanes and leaves a dozen for blocking
	// commands and held connections.
	MaxConnections int
	// Lanes is how many of them are shared at most. Default: 4, or
	// MaxConnections if that is less. Callers fill one after the other, 1,024 each,
	// so further ones cost nothing until they are needed; with two or more,
	// large replies keep out of the way of small ones.
	Lanes int
	// MinIdle is how many connections for dedicated use are kept ready. At most
	// MaxConnections-1, and 0 with MaxConnections 1. Default: 0: most programs
	// need none.
	MinIdle int
	// MaxWaiters bounds the callers that wait for a connection; further ones get
	// ErrPoolExhausted at once. Default: 0, no limit, since WaitTimeout bounds
	// the wait and a waiter costs some 200 bytes beside its goroutine.
	MaxWaiters int

	// ConnectTimeout bounds a dial, with TLS and handshake. Default: 5 s: longer
	// than the retransmission of a lost SYN takes, twice.
	ConnectTimeout time.Duration
	// SocketTimeout bounds the wait for a reply; a blocking command's own timeout
	// is added to it. It never costs a shared connection. Default: 5 s: a caller
	// that waited so long is better served by an error. Clients of a gateway, and of
	// package goredis, have timeouts of their own: for their commands there is no default.
	SocketTimeout time.Duration
	// WaitTimeout bounds the wait for a connection, and for a server that takes a
	// command which one refused as a replica or while it loads. Default: 5 s, as SocketTimeout.
	WaitTimeout time.Duration
	// StallLimit condemns a connection on which nothing moved for so long while
	// replies were due: no byte came, and the socket took none of a command that is still being written.
	// It begins anew while the server says on another connection that it runs a script (BUSY), or that
	// it holds these replies back (CLIENT PAUSE). A connection whose path is dead is found sooner:
	// after an eighth of the limit, a second at most, the server is asked about it on another one.
	// Default: twice SocketTimeout and 10 s at least, so that a slow command or a fork costs no connection.
	StallLimit time.Duration
	// IdleTimeout closes dedicated connections idle for so long, down to MinIdle.
	// Default: 5 m, to give back what a burst opened.
	IdleTimeout time.Duration
	// MaxLifetime replaces connections of that age, less a random tenth. Default:
	// Never: a connection that works is worth keeping.
	MaxLifetime time.Duration
	// HealthCheckInterval pings connections that were quiet for so long, and the one with
	// subscriptions at this interval. Default: 10 s: a firewall or a proxy may drop a connection without
	// a word, or keep TCP alive while nobody is behind it. Connections in use cost nothing. Never switches
	// it off; idle connections are pinged before they are lent all the same.
	HealthCheckInterval time.Duration
	// KeepAlive is TCP's: probes begin after so long, at that interval, and three
	// lost ones end the connection. Never switches it off. Default: 15 s.
	KeepAlive time.Duration
	// LingerLimit is how long a close waits for the server to close its side
	// before the slot counts as free all the same. Default: 5 s, as long as a
	// server may well stand still.
	LingerLimit time.Duration

	// ReplyLimit is the largest reply taken, in bytes; a larger one condemns its
	// connection. Default: 512 MiB, the largest string that Redis stores.
	ReplyLimit int64
	// Retries is how often a command that only reads is sent again when its
	// connection broke. NoRetries for none. Default: 2: one for a connection that
	// broke and one for its successor.
	Retries int
	// WindowCommands is how many replies may be due on one lane before callers
	// wait. Default: 16384, which ten thousand callers do not fill.
	WindowCommands int
	// WindowBytes is how many bytes of commands whose replies are due one lane
	// may hold before callers wait, with twice the bytes of replies that are known
	// to be large; one more command may go over it. Default: 4 MiB, so that 4 lanes to a server that stands still hold 16 MiB.
	WindowBytes int

	// DialParallel is how many dials run at a time. Default: 4, so that a cold
	// start does not storm the server.
	DialParallel int
	// DialRate is how many dials begin a second at most, beyond a burst of
	// MaxConnections. Default: 100, so that connections which break as soon as
	// they are made do not storm the server.
	DialRate float64
	// BackoffBase and BackoffCap are the first and the longest pause after failed
	// dials; pauses double and are drawn from their upper half. While they last
	// there is one dial at a time. Default: 10 ms, so that a short outage
	// stays short, and 1 s, so that a server that is back is found within a second.
	BackoffBase, BackoffCap time.Duration

	// SubscriptionBuffer is how many messages a Subscription holds for a slow
	// receiver before it drops and counts newer ones. Default: 1024: room for a
	// burst while the receiver is busy.
	SubscriptionBuffer int
	// LeakThreshold reports a Conn held for longer, once, as an event with the
	// stack that acquired it. Default: 0, off: keeping stacks costs a microsecond
	// for each Acquire.
	LeakThreshold time.Duration
	// OnEvent is told what happens to connections. It is called from the client's
	// goroutines, concurrently, and must not block: what waits for it includes callers. It may call
	// any method of the client; Close does not wait there. Default: none, at no cost.
	OnEvent func(Event)

	// Dialer opens the sockets instead of net.Dialer; TLS and the handshake come
	// on top. KeepAlive is its own affair then.
	Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

	untimed bool // SocketTimeout was left out, or is Never: the gateway's clients have their own
}

// Defaults of Options.
const (
	defaultAddr               = "localhost:6379"
	defaultMaxConnections     = 16
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

// longestBackoff bounds BackoffCap: a server that is back must be found.
const longestBackoff = time.Hour

// withDefaults checks the options and fills in the defaults. The first
// problem is returned.
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
	if o.Sentinel != nil {
		o.checkService(c)
	} else {
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
		c.fail("Sentinel", "nil", "sentinels, with Service, Role, MaxReplicaLag or Nearest")
	}
}

func (o *Options) checkService(c *checker) {
	if o.Addr != "" || o.Network != "tcp" {
		c.fail("Addr", strconv.Quote(o.Addr), "none, and no unix socket, where sentinels tell the address")
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
	if o.Role > RolePreferReplica {
		c.fail("Role", o.Role, "RolePrimary, RoleReplica or RolePreferReplica")
	}
	bounded(c, "MaxReplicaLag", &o.MaxReplicaLag, 0, 100*time.Millisecond)
	if o.Role == RolePrimary && (o.MaxReplicaLag != 0 || o.Nearest) {
		c.fail("Role", o.Role, "RoleReplica or RolePreferReplica with MaxReplicaLag or Nearest")
	}
	if _, err := o.Sentinel.withDefaults(); err != nil && c.err == nil {
		c.err = err
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
		c.fail("MinIdle", o.MinIdle, fmt.Sprintf("at most MaxConnections-1, which is %d: one is kept for a lane", o.MaxConnections-1))
	}
	bounded(c, "MaxWaiters", &o.MaxWaiters, 0, 0)
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
	o.untimed = o.SocketTimeout == 0 || o.SocketTimeout == Never
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
		c.fail("LingerLimit", "Never", "a limit: a server that stands still would hold its slots for ever")
	}
	bounded(c, "BackoffBase", &o.BackoffBase, defaultBackoffBase, least)
	bounded(c, "BackoffCap", &o.BackoffCap, max(defaultBackoffCap, o.BackoffBase), least)
	if o.BackoffBase > o.BackoffCap || o.BackoffCap > longestBackoff {
		c.fail("BackoffCap", o.BackoffCap, fmt.Sprintf("at least BackoffBase, which is %v, and at most %v", o.BackoffBase, longestBackoff))
	}
	bounded(c, "LeakThreshold", &o.LeakThreshold, 0, least)
}

// String tells where the options lead, without a password.
func (o Options) String() string {
	if o.Sentinel != nil {
		return fmt.Sprintf("respool.Options{%s of service %q by sentinels %s, db %d, user %q, at most %d connections a node}",
			o.Role, o.Service, strings.Join(o.Sentinel.Addrs, ","), o.DB, o.Username, o.MaxConnections)
	}
	return fmt.Sprintf("respool.Options{%s %s, db %d, user %q, at most %d connections}",
		o.Network, o.Addr, o.DB, o.Username, o.MaxConnections)
}

// GoString is String, so that %#v shows no password.
func (o Options) GoString() string { return o.String() }

// LogValue is String, for slog.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// MarshalText is String, so that no encoder shows a password.
func (o Options) MarshalText() ([]byte, error) { return []byte(o.String()), nil }
