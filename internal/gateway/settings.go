package gateway

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

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
