package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type serveCmd struct {
	credentialsFlag

	URL         string         `arg:"" optional:"" help:"The server, or the service with its sentinels. Without one and without a configuration: an embedded server."`
	Config      string         `short:"c" type:"path" help:"The configuration, in YAML. What flags say wins."`
	Profile     string         `help:"The profile of the configuration to use, such as production."`
	URLFile     string         `name:"url-file" type:"path" help:"A file that holds the URL: a password on a command line can be seen by others."`
	Listen      []string       `sep:"none" help:"Where to listen: host:port, unix:///path?mode=0660, or systemd:NAME for a socket that systemd passes. Repeatable. Default: 127.0.0.1:6380."`
	HTTP        string         `name:"http" help:"Where the pages are served; off: nowhere. Default: 127.0.0.1:9121."`
	Insecure    bool           `help:"Listen where everybody gets in who reaches the address."`
	Admin       bool           `help:"Let clients run what belongs to the server's operator, such as CONFIG SET."`
	PassThrough bool           `name:"pass-through" help:"Let the server verify AUTH, and each user's commands go out as his."`
	TLSCert     string         `name:"tls-cert" type:"path" help:"The certificate of all TCP listeners, in PEM."`
	TLSKey      string         `name:"tls-key" type:"path" help:"Its key, in PEM."`
	TLSCA       string         `name:"tls-ca" type:"path" help:"Who signs clients' certificates, in PEM: clients have to have one then."`
	MaxClients  *int           `help:"How many clients are let in. Default: 10000."`
	Drain       *time.Duration `help:"How long clients may finish when this one ends. Default: 30s."`
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

// Run ends with its signals alone, of which it counts two: main's context
// knows the first one only.
func (c *serveCmd) Run() error {
	passed, err := passedSockets()
	if err != nil {
		return err
	}
	s, err := c.read(passed)
	if err != nil {
		return err
	}
	if c.Check {
		return s.describe(os.Stdout, c)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if c.JSON {
		log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	hup, stop := make(chan os.Signal, 1), make(chan os.Signal, 2)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	return (&serving{cmd: c, log: log, out: os.Stdout, passed: passed}).run(s, hup, stop)
}

// check looks at what flags say by themselves.
func (c *serveCmd) check() error {
	switch {
	case c.URL != "" && c.URLFile != "":
		return fmt.Errorf("a URL and --url-file: want one of them")
	case c.Config == "" && c.Profile != "":
		return fmt.Errorf("--profile without a configuration: want -c too")
	case c.MaxClients != nil && (*c.MaxClients < 1 || *c.MaxClients > mostCount):
		return fmt.Errorf("--max-clients is %d: want 1 to %d", *c.MaxClients, mostCount)
	case c.Drain != nil && *c.Drain < leastTime:
		return fmt.Errorf("--drain is %v: want a time such as 30s", *c.Drain)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return fmt.Errorf("one of --tls-cert and --tls-key: want both")
	case c.TLSCA != "" && c.TLSCert == "":
		return fmt.Errorf("--tls-ca without --tls-cert and --tls-key: want all three")
	}
	if c.HTTP != "" && c.HTTP != "off" && checkListen(c.HTTP) != nil {
		return fmt.Errorf("--http is %q: want host:port such as %s, or off", c.HTTP, defaultServePages)
	}
	return nil
}
