package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/serve"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
)

type serveCmd struct {
	credentialsFlag

	URL         string         `arg:"" optional:"" help:"The server, or the service with its sentinels. Without one and without a configuration: an embedded server."`
	Config      string         `short:"c" type:"path" help:"The configuration, in YAML. What flags say wins."`
	Profile     string         `help:"The profile of the configuration to use, such as production."`
	URLFile     string         `name:"url-file" type:"path" help:"A file that holds the URL: a password on a command line can be seen by others."`
	Listen      []string       `sep:"none" help:"Where to listen: host:port, unix:///path?mode=0660, or systemd:NAME for a socket that systemd passes. Repeatable. Default: ${serve_listen}."`
	HTTP        string         `name:"http" help:"Where the pages are served; off: nowhere. Default: ${serve_pages}."`
	Insecure    bool           `help:"Listen where everybody gets in who reaches the address."`
	Admin       bool           `help:"Let clients run what belongs to the server's operator, such as CONFIG SET."`
	PassThrough bool           `name:"pass-through" help:"Let the server verify AUTH, and each user's commands go out as his."`
	TLSCert     string         `name:"tls-cert" type:"path" help:"The certificate of all TCP listeners, in PEM."`
	TLSKey      string         `name:"tls-key" type:"path" help:"Its key, in PEM."`
	TLSCA       string         `name:"tls-ca" type:"path" help:"Who signs clients' certificates, in PEM: clients have to have one then."`
	MaxClients  *int           `help:"How many clients are let in. Default: ${serve_max_clients}."`
	Drain       *time.Duration `help:"How long clients may finish when this one ends. Default: ${serve_drain}."`
	Check       bool           `help:"Read all of it, say what would be served, and end."`
	JSON        bool           `help:"Write the log as JSON."`
}

func (serveCmd) Help() string {
	return `Speaks Redis' protocol to clients in any language: thousands of them share the few connections
that the URL allows with max_connections. Without a URL it brings a server of its own, to try it.
It watches the server as respool watch does, by the same sections of the configuration, and serves
/metrics, /readyz (200 while it accepts clients and Redis answers), /healthz, /api/snapshot and
/api/alerts.

Whoever reaches a listener may use the server. So it listens beyond this machine only with users
that have passwords, with pass_through and need_auth, or with client certificates, or with --insecure.

SIGHUP reads the configuration and certificates again, and no client loses its connection; a bad
configuration is refused, and the old one kept. SIGTERM lets clients finish, a second one does not.
It tells systemd what it does, and takes its sockets. examples/serve has a commented configuration,
units for systemd, and a sidecar for Kubernetes.

Examples:
  respool serve
  respool serve 'redis://localhost:6379?max_connections=8'
  respool serve --url-file /run/secrets/redis --listen 'unix:///run/respool/redis.sock?mode=0660'
  respool serve redis://localhost --listen 0.0.0.0:6380 --tls-cert cert.pem --tls-key key.pem --tls-ca ca.pem
  respool serve -c respool.yaml --profile production --check`
}

// Run handles its signals itself, because a second one cuts the drain short. The context of main
// ends with the first one.
func (c *serveCmd) Run() error {
	passed, err := systemd.Inherit()
	if err != nil {
		return err
	}
	flags := c.flags()
	s, err := flags.Read(passed)
	if err != nil {
		return err
	}
	if c.Check {
		return s.Describe(os.Stdout, c.Config)
	}
	hup, stop := make(chan os.Signal, 1), make(chan os.Signal, 2)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	return serve.New(flags, newLog(c.JSON), os.Stdout, passed).Run(s, hup, stop)
}

func (c *serveCmd) flags() serve.Flags {
	return serve.Flags{
		Credentials: c.Credentials, URL: c.URL, Config: c.Config, Profile: c.Profile, URLFile: c.URLFile,
		Listen: c.Listen, HTTP: c.HTTP, Insecure: c.Insecure, Admin: c.Admin, PassThrough: c.PassThrough,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, TLSCA: c.TLSCA, MaxClients: c.MaxClients, Drain: c.Drain, Check: c.Check,
	}
}
