package respool

import (
	"context"
	"crypto/tls"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/renewal"
	"github.com/seed-2b0d76a6/respool/internal/sentinels"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// libName is the lib-name of the handshake.
const libName = "respool"

// limit converts Never to 0, which is the engine's value for no limit.
func limit(d time.Duration) time.Duration {
	if d == Never {
		return 0
	}
	return d
}

// staleAfter is the time of silence after which the pool pings an idle connection before it leases
// it. Balancers and firewalls drop connections that were quiet for minutes. A ping costs one round
// trip.
const staleAfter = 3 * time.Second

// inquiryAfter is the time of silence with pending replies after which the engine queries the
// server on another connection. It is longer than most commands take, and short compared with the
// stall limit.
func inquiryAfter(stall time.Duration) time.Duration {
	return min(stall, time.Second, max(stall/8, 50*time.Millisecond))
}

// engineConfig converts validated options. It reads the TLS files.
func (o *Options) engineConfig() (engine.Config, error) {
	encryption, err := liveTLS(o.TLS, o.TLSFiles)
	return engine.Config{
		Addr:    o.Addr,
		Service: engine.Service{Name: o.Service, Role: engine.Role(o.Role), Nearest: o.Nearest, MaxReplicaLag: o.MaxReplicaLag},
		Dial: wire.Config{
			Network: o.Network, Username: o.Username, Password: o.Password, DB: o.DB, Protocol: o.Protocol,
			ClientName: o.ClientName, LibName: libName, LibVersion: Version,
			ConnectTimeout: limit(o.ConnectTimeout), KeepAlive: limit(o.KeepAlive), LingerLimit: o.LingerLimit, DialFunc: o.Dialer,
		},
		Cluster: o.Cluster.engineConfig(),
		TLS:     encryption, Credentials: engineCredentials(o.Credentials),
		Pool: pool.Config{
			Lane: lane.Config{
				ReplyTimeout: limit(o.SocketTimeout), StallLimit: limit(o.StallLimit),
				SuspectAfter: inquiryAfter(o.StallLimit), Window: o.WindowCommands, WindowBytes: o.WindowBytes,
				ReplyLimit: o.ReplyLimit, LingerLimit: o.LingerLimit,
			},
			Max: o.MaxConnections, Lanes: o.Lanes, MinIdle: o.MinIdle, MaxWaiters: o.MaxWaiters,
			WaitTimeout: o.WaitTimeout, IdleTimeout: limit(o.IdleTimeout), MaxLifetime: limit(o.MaxLifetime),
			HealthCheck: limit(o.HealthCheckInterval), StaleAfter: staleAfter, DialParallel: o.DialParallel, DialRate: o.DialRate,
			BackoffBase: o.BackoffBase, BackoffCap: o.BackoffCap, LeakThreshold: limit(o.LeakThreshold),
		},
		Blocking: engine.BlockingConfig{Dedicated: o.Blocking == BlockingDedicated, Max: o.MaxBlocked},
		Subscriptions: pubsub.Config{
			Buffer: o.SubscriptionBuffer, HealthCheck: limit(o.HealthCheckInterval),
			ReconnectBase: o.BackoffBase, ReconnectCap: o.BackoffCap,
			ReplyTimeout: limit(o.SocketTimeout), StallLimit: limit(o.StallLimit),
		},
		Retries: o.Retries, NoReplyTimeout: o.socketTimeoutUnset, OnEvent: eventHook(o.OnEvent),
	}, err
}

// engineConfig converts validated options. It reads the TLS files.
func (o *SentinelOptions) engineConfig() (sentinels.Config, error) {
	encryption, err := liveTLS(o.TLS, o.TLSFiles)
	return sentinels.Config{
		Addrs: o.Addrs, Username: o.Username, Password: o.Password, Credentials: engineCredentials(o.Credentials), TLS: encryption,
		ClientName: o.ClientName, LibName: libName, LibVersion: Version, MinOther: o.MinOtherSentinels,
		Timeout: o.Timeout, PollInterval: o.PollInterval, DrainLimit: o.DrainLimit, HoldLimit: limit(o.HoldLimit),
		KeepAlive: defaultKeepAlive, LingerLimit: defaultLingerLimit, MapAddr: o.MapAddr, Dialer: o.Dialer,
	}, err
}

// engineCredentials converts Options.Credentials.
func engineCredentials(fn func(ctx context.Context) (Credentials, error)) renewal.Provider {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context) (renewal.Credentials, error) {
		c, err := fn(ctx)
		return renewal.Credentials(c), err
	}
}

// liveTLS reads the files of a TLS configuration. It returns nil if base is nil.
func liveTLS(base *tls.Config, files *TLSFiles) (*certfile.ClientTLS, error) {
	if base == nil {
		return nil, nil
	}
	var from *certfile.Files
	chainOnly := false
	if files != nil {
		from = &certfile.Files{CA: files.CA, Cert: files.Cert, Key: files.Key}
		chainOnly = files.chainOnly
	}
	t, err := certfile.NewClientTLS(base, from, chainOnly)
	if err != nil {
		return nil, fmt.Errorf("respool: option TLSFiles: %w", err)
	}
	return t, nil
}

// kindOf names the way to the nodes.
func kindOf(o *Options) string {
	switch {
	case o.Sentinel != nil:
		return "a service of Sentinel"
	case o.Cluster != nil:
		return "a cluster"
	}
	return "a single server"
}

// loginKind names the origin of the credentials.
func loginKind(o *Options) string {
	if o.Credentials != nil {
		return "a source of credentials"
	}
	return "a fixed login"
}

// Reasons of Change.Kept.
const (
	keptNodes   = "it belongs to the search for the nodes, which goes on: restart to change it"
	keptState   = "sessions, watched keys and blocked callers depend on it: restart to change it"
	keptAtStart = "it is fixed when the client is created: restart to change it"
)

// optionChanges returns the options that differ, and why some of them cannot change.
func optionChanges(from, to *Options) (list []Change) {
	structChanges("", reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem(), &list)
	for i := range list {
		one := &list[i]
		switch one.Option {
		case "Addr", "Network", "Username", "Password", "TLS", "TLSFiles", "MaxConnections", "Lanes":
		case "DB", "Protocol", "Blocking", "MaxBlocked", "ClientName":
			one.Kept = keptState
		case "Cluster.MaxConnectionsTotal":
			one.Kept = "it is divided among the pools of the nodes: restart to change it"
		case "Service", "Role", "MaxReplicaLag", "Nearest":
			one.Kept = keptNodes
		default:
			if one.Kept = keptAtStart; strings.Contains(one.Option, ".") {
				one.Kept = keptNodes
			}
		}
	}
	return list
}

// structChanges appends the exported fields that differ, without functions.
func structChanges(prefix string, from, to reflect.Value, list *[]Change) {
	for i := range from.NumField() {
		field := from.Type().Field(i)
		a, b := from.Field(i), to.Field(i)
		switch {
		case !field.IsExported(), a.Kind() == reflect.Func:
		case (field.Name == "Sentinel" || field.Name == "Cluster") && !a.IsNil() && !b.IsNil():
			structChanges(field.Name+".", a.Elem(), b.Elem(), list)
		default:
			x, y := optionText(a.Interface()), optionText(b.Interface())
			if x == y {
				continue
			}
			if field.Name == "Password" {
				x, y = secretText(x), secretText(y)
			}
			*list = append(*list, Change{Option: prefix + field.Name, From: x, To: y})
		}
	}
}

// secretText replaces a secret.
func secretText(s string) string {
	if s == "" {
		return "none"
	}
	return "(hidden)"
}

// optionText returns the value of an option. Equal texts mean equal values.
func optionText(v any) string {
	switch v := v.(type) {
	case *tls.Config:
		if v == nil {
			return "off"
		}
		text := "on"
		if v.InsecureSkipVerify && v.VerifyConnection == nil {
			text += ", without verification"
		} else if v.InsecureSkipVerify {
			text += ", without the host name"
		}
		if v.ServerName != "" {
			text += ", name " + v.ServerName
		}
		if v.MinVersion != 0 {
			text += ", " + tls.VersionName(v.MinVersion) + " or later"
		}
		return text
	case *TLSFiles:
		if v == nil {
			return "none"
		}
		return fmt.Sprintf("ca=%s cert=%s key=%s", v.CA, v.Cert, v.Key)
	case *SentinelOptions, *ClusterOptions:
		return "none" // the kinds are equal
	}
	return fmt.Sprint(v)
}
