package gateway

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

// Defaults of the fields of Config.
const (
	DefaultMaxClients     = 10_000 // as in Redis
	DefaultAdminClients   = 4
	DefaultInputBuffer    = request.DefaultTotal
	DefaultOutputBuffer   = 8 << 20
	DefaultBuffers        = 1 << 30
	DefaultPipeline       = 1024
	DefaultRequestTimeout = 30 * time.Second
	DefaultWriteTimeout   = 30 * time.Second
	DefaultSlowThreshold  = 10 * time.Millisecond
	DefaultLimitWait      = 2 * time.Second // within the reply timeout of most clients
)

// MaxLoops is the largest value of Config.Loops.
const MaxLoops = 64

// DefaultLoops returns the default number of event loops: half of the processors that Go uses, from 1 to 8. On two
// processors more loops gain nothing, because the server and the clients need the other one.
func DefaultLoops() int { return min(max(1, runtime.GOMAXPROCS(0)/2), 8) }

// Config is the configuration of a gateway. A zero value means the default of its field. New and Reload return an error
// for a negative value.
type Config struct {
	// MaxClients limits the client connections of all listeners together. Default: 10,000, as in Redis.
	MaxClients int
	// MaxClientsPerAddress limits the client connections from one address. All unix sockets count as one address, and
	// so do all connections in memory. Default: 0, no limit.
	MaxClientsPerAddress int
	// AdminClients is the number of connections that the gateway accepts beyond MaxClients, so that an operator can
	// still connect. They may run only AUTH, HELLO, PING, QUIT, RESET, RESPOOL and CLIENT. Default: 4.
	AdminClients int

	// Loops is the number of event loops that serve plain TCP and unix sockets, at most MaxLoops. Each has its own clients
	// and its own lanes, so the gateway uses as many cores. With more loops than lanes, loops share lanes. Reload does not
	// change it. Default: DefaultLoops().
	Loops int

	// InputBuffer is the largest request in bytes. The gateway holds a request in memory until it is complete. Default:
	// 1 GiB, as in Redis.
	InputBuffer int
	// OutputBuffer limits the bytes of replies that wait for one client. Beyond it, the gateway reads no more requests
	// from the client, and closes the connection of a subscriber. A single reply may be larger. Default: 8 MiB.
	OutputBuffer int
	// Buffers limits the bytes of input and output that the gateway holds for all clients. Beyond it, the gateway
	// closes the client that holds the most, within half a second. Default: 1 GiB.
	Buffers int64
	// Pipeline limits the pending commands of one client. Default: 1,024.
	Pipeline int
	// Request limits the parts of one request.
	Request request.Limits

	// IdleTimeout closes clients that send nothing for this time, except clients with pending commands, subscriptions
	// or MONITOR. Default: 0, never.
	IdleTimeout time.Duration
	// RequestTimeout closes clients that do not complete a request within this time, and clients that do not
	// authenticate within it if they must. Default: 30 s.
	RequestTimeout time.Duration
	// WriteTimeout closes clients that read none of their pending replies for this time. Default: 30 s.
	WriteTimeout time.Duration

	// ClientRate limits the commands and bytes per second of each client. A client over a limit waits. Default: no limit.
	ClientRate quota.Rate
	// LimitWait bounds how long a command waits because of a rate or of the MaxConnections of a user. Then the client
	// receives an error that it may retry, and the command is not executed. Default: 2 s.
	LimitWait time.Duration
	// SubscribeWait bounds how long commands that publish or list subscribers wait for earlier subscriptions that the server
	// has not confirmed. Default: 1 s. A reload does not change it.
	SubscribeWait time.Duration

	// SlowThreshold is the time from which RESPOOL SLOW lists a command. A negative value keeps no slow log. Default: 10 ms.
	SlowThreshold time.Duration
	// NoHotKeys keeps no list of hot keys and of large replies.
	NoHotKeys bool

	// Face is how a Redis Cluster appears to clients. Default: FaceSingle. FaceCluster requires an engine of a cluster.
	Face Face
	// Announce is the address of the gateway that FaceCluster tells clients, as host:port. Default: the address to which
	// the client connected.
	Announce string
	// Order is the order in which the nodes of a cluster execute the commands of one client. Default: OrderSlot.
	Order Order

	// CloseOnFailure closes a client's connection instead of an error reply if a server connection is lost or
	// unavailable.
	CloseOnFailure bool

	// Admin allows clients to run administrative commands.
	Admin bool
	// Users are the gateway's own users. A client that does not authenticate is the user "default" if that user needs
	// no password. If Users is nil and PassThrough is not set, clients need not authenticate.
	Users map[string]User
	// PassThrough lets Redis verify the credentials of AUTH and HELLO. The commands of each user run on connections of
	// that user. It excludes Users. NeedAuth requires clients to authenticate.
	PassThrough, NeedAuth bool

	// ServerVersion is the version that HELLO returns. Default: the server's version.
	ServerVersion string
	// Log receives the events for an operator. Nil discards them.
	Log *slog.Logger
}

// User is one of the gateway's own users.
type User struct {
	// Passwords are hex SHA-256 hashes. Any of these passwords is valid. If there is none, the user needs no password.
	Passwords []string
	// Commands are the classes of commands that the user may run: read, write, pubsub, blocking, scripting, admin, or
	// all. If there is none, the user may run all classes except admin.
	Commands []string
	// Disabled refuses the user.
	Disabled bool
	// Limits limit all clients of the user together. Default: no limits.
	Limits quota.Limits
}

// settings are a Config with its defaults, and what follows from it. They are immutable.
type settings struct {
	Config
	session session.Config
	users   map[string]*user
}

// Check returns the error that New and Reload return for the configuration.
// clustered: the engine is one of a Redis Cluster.
func (cfg Config) Check(clustered bool) error {
	if err := cfg.checkFace(clustered); err != nil {
		return err
	}
	_, err := cfg.newUsers()
	return err
}

// newUsers checks a configuration and returns its users. The map is nil if the configuration has no users.
func (cfg Config) newUsers() (map[string]*user, error) {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxClients", int64(cfg.MaxClients)}, {"MaxClientsPerAddress", int64(cfg.MaxClientsPerAddress)},
		{"AdminClients", int64(cfg.AdminClients)}, {"InputBuffer", int64(cfg.InputBuffer)}, {"OutputBuffer", int64(cfg.OutputBuffer)}, {"Buffers", cfg.Buffers},
		{"Pipeline", int64(cfg.Pipeline)}, {"Loops", int64(cfg.Loops)}, {"IdleTimeout", int64(cfg.IdleTimeout)},
		{"RequestTimeout", int64(cfg.RequestTimeout)}, {"WriteTimeout", int64(cfg.WriteTimeout)}, {"LimitWait", int64(cfg.LimitWait)}, {"SubscribeWait", int64(cfg.SubscribeWait)},
		{"ClientRate.Commands", int64(cfg.ClientRate.Commands)}, {"ClientRate.Bytes", cfg.ClientRate.Bytes},
	} {
		if f.value < 0 {
			return nil, fmt.Errorf("gateway: %s is %d: want a positive value, or 0 for the default", f.name, f.value)
		}
	}
	if cfg.Loops > MaxLoops {
		return nil, fmt.Errorf("gateway: Loops is %d: want at most %d", cfg.Loops, MaxLoops)
	}
	if cfg.PassThrough && cfg.Users != nil {
		return nil, fmt.Errorf("gateway: Users and PassThrough are both set: set one of them, because either the gateway or Redis verifies passwords")
	}
	if cfg.Users == nil {
		return nil, nil
	}
	users := map[string]*user{}
	for name, u := range cfg.Users {
		checked, err := newUser(name, u)
		if err != nil {
			return nil, err
		}
		users[name] = checked
	}
	return users, nil
}

// WithDefaults returns the configuration with the default of each field that is zero.
func (cfg Config) WithDefaults() Config {
	cfg.MaxClients = cmp.Or(cfg.MaxClients, DefaultMaxClients)
	cfg.AdminClients = cmp.Or(cfg.AdminClients, DefaultAdminClients)
	cfg.InputBuffer = cmp.Or(cfg.InputBuffer, DefaultInputBuffer)
	cfg.OutputBuffer = cmp.Or(cfg.OutputBuffer, DefaultOutputBuffer)
	cfg.Buffers = cmp.Or(cfg.Buffers, DefaultBuffers)
	cfg.Pipeline = cmp.Or(cfg.Pipeline, DefaultPipeline)
	cfg.Loops = cmp.Or(cfg.Loops, DefaultLoops())
	cfg.RequestTimeout = cmp.Or(cfg.RequestTimeout, DefaultRequestTimeout)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, DefaultWriteTimeout)
	cfg.LimitWait = cmp.Or(cfg.LimitWait, DefaultLimitWait)
	cfg.SlowThreshold = cmp.Or(cfg.SlowThreshold, DefaultSlowThreshold)
	return cfg
}

func (g *Gateway) newSettingsLocked(cfg Config) (*settings, error) {
	users, err := cfg.newUsers()
	if err != nil {
		return nil, err
	}
	if err := cfg.checkFace(g.engine.Clustered()); err != nil {
		return nil, err
	}
	cfg = cfg.WithDefaults()
	cfg.Loops = len(g.tallies) - 1
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g.limitUsers(cfg.Users, users)
	s := &settings{Config: cfg, users: users}
	s.session = session.Config{
		Admin: cfg.Admin, NeedAuth: s.needAuth(), ServerVersion: cfg.ServerVersion, Greeting: g.greeting, Databases: g.databases,
		Password: cfg.PassThrough || users == nil && g.engine.Logins().HasPassword(), Lookup: g.engine.Lookup, OwnUser: g.engine.Logins().OwnUser(),
		Cluster: g.engine.Clustered(), ClusterFace: cfg.Face == FaceCluster, Announce: cfg.Announce,
	}
	return s, nil
}

// observes reports whether the gateway describes commands for the console.
func (s *settings) observes() bool { return s.SlowThreshold > 0 || !s.NoHotKeys }

// needAuth reports whether clients must authenticate.
func (s *settings) needAuth() bool {
	if s.PassThrough {
		return s.NeedAuth
	}
	d := s.users[command.DefaultUser]
	return s.users != nil && (d == nil || d.disabled || len(d.hashes) > 0)
}

func (s *settings) requestLimits() request.Limits {
	limits := s.Request
	limits.Total = cmp.Or(limits.Total, int64(s.InputBuffer), DefaultInputBuffer)
	return limits
}

// lines returns the current settings for RESPOOL CONFIG.
func (s *settings) lines() []string {
	return []string{
		fmt.Sprintf("max_clients=%d", s.MaxClients), "max_clients_per_address=" + orNone(s.MaxClientsPerAddress),
		fmt.Sprintf("admin_clients=%d", s.AdminClients), "input_buffer=" + sizeText(s.requestLimits().Total),
		"output_buffer=" + sizeText(int64(s.OutputBuffer)), "buffers=" + sizeText(s.Buffers), fmt.Sprintf("pipeline=%d", s.Pipeline), fmt.Sprintf("loops=%d", s.Loops),
		"idle_timeout=" + orNone(s.IdleTimeout), fmt.Sprintf("request_timeout=%v", s.RequestTimeout),
		fmt.Sprintf("write_timeout=%v", s.WriteTimeout), fmt.Sprintf("limit_wait=%v", s.LimitWait),
		"slow_threshold=" + orNone(max(s.SlowThreshold, 0)), fmt.Sprintf("hot_keys=%v", !s.NoHotKeys),
		"client_commands_per_second=" + orNone(s.ClientRate.Commands), "client_bytes_per_second=" + sizeOrNone(s.ClientRate.Bytes), fmt.Sprintf("close_on_failure=%v", s.CloseOnFailure), fmt.Sprintf("admin=%v", s.Admin),
		fmt.Sprintf("pass_through=%v", s.PassThrough), fmt.Sprintf("need_auth=%v", s.needAuth()),
		fmt.Sprintf("face=%v", s.Face), "announce=" + cmp.Or(s.Announce, "none"), fmt.Sprintf("order=%v", s.Order),
		"users=" + strings.Join(slices.Sorted(maps.Keys(s.users)), ","),
	}
}

func orNone[T int | time.Duration](n T) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprint(n)
}

// sizeOrNone formats a size that may be absent.
func sizeOrNone(n int64) string {
	if n == 0 {
		return "none"
	}
	return sizeText(n)
}

// sizeText formats a number of bytes as a configuration file writes it.
func sizeText(n int64) string {
	unit := 0
	for unit < 3 && n > 0 && n%1024 == 0 {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprint(n) + []string{"", "KiB", "MiB", "GiB"}[unit]
}
