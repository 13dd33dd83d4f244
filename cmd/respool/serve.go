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

	URL         string         `arg:"" optional:"" help:"URL of the server, or of the service with its sentinels. Without a URL and a configuration, an embedded server."`
	Config      string         `short:"c" type:"path" help:"Configuration file in YAML. Flags override it."`
	Profile     string         `help:"Profile of the configuration, such as production."`
	URLFile     string         `name:"url-file" type:"path" help:"File that holds the URL. Other users of the machine can see passwords on a command line."`
	Listen      []string       `sep:"none" help:"Address to listen at: host:port, unix:///path?mode=0660, or systemd:NAME for a socket that systemd passes. Repeatable. Default: ${serve_listen}."`
	HTTP        string         `name:"http" help:"Address of the HTTP pages, or off. Default: ${serve_pages}."`
	Socket      string         `placeholder:"unix:///path?mode=0600" help:"Unix socket for respool kill, doctor and who. Works while Redis is full. Default: none."`
	Insecure    bool           `help:"Allow listeners without authentication at addresses that other machines reach."`
	Admin       bool           `help:"Allow admin commands such as CONFIG SET."`
	PassThrough bool           `name:"pass-through" help:"Have the server verify AUTH, and send the commands of each user as that user."`
	TLSCert     string         `name:"tls-cert" type:"path" help:"Certificate of all TCP listeners, in PEM."`
	TLSKey      string         `name:"tls-key" type:"path" help:"Key of the certificate, in PEM."`
	TLSCA       string         `name:"tls-ca" type:"path" help:"Certificate authority of clients, in PEM. Clients then need a certificate."`
	MaxClients  *int           `help:"Maximum number of clients. Default: ${serve_max_clients}."`
	Loops       *int           `help:"Number of event loops, so of cores that serve clients. Default: half of the processors, from 1 to 8."`
	Drain       *time.Duration `help:"Time for clients to finish at shutdown. Default: ${serve_drain}."`
	Takeover    string         `type:"path" placeholder:"PATH" help:"Unix socket for upgrades: take over the clients of the gateway that listens there, and listen there for the next one. Linux only. Default: none."`
	Check       bool           `help:"Check the configuration and the flags, print them, and exit."`
	PrintConfig bool           `help:"Print the effective configuration as YAML, with secrets hidden, and exit."`
	JSON        bool           `help:"Write the log as JSON."`
}

func (serveCmd) Help() string {
	return `Serves the Redis protocol to clients in any language. Thousands of clients share the few
connections that max_connections in the URL allows. Without a URL it runs an embedded server, for
trials. It also watches the server, like respool watch and with the same configuration, and serves
a page for browsers at /, and the pages /metrics, /readyz (200 while it accepts clients and Redis answers), /healthz,
/api/snapshot, /api/alerts and /api/connections. When Redis is full, respool doctor, who and kill
work through its connections, as through those of respool watch.

Everyone who can connect to a listener may use the server. Addresses that other machines reach therefore
need users with passwords, pass_through with need_auth, client certificates, or --insecure.

SIGHUP reloads the configuration and the certificates, and keeps all clients connected. If the new
configuration is wrong, the old one stays. SIGTERM lets clients finish; a second SIGTERM cuts them.
It notifies systemd and takes over sockets of systemd. examples/serve has a commented
configuration, units for systemd, and a sidecar for Kubernetes.

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
	if c.PrintConfig {
		return s.Print(os.Stdout)
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
		Listen: c.Listen, HTTP: c.HTTP, Socket: c.Socket, Insecure: c.Insecure, Admin: c.Admin, PassThrough: c.PassThrough,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, TLSCA: c.TLSCA, MaxClients: c.MaxClients, Loops: c.Loops, Drain: c.Drain, Takeover: c.Takeover, Check: c.Check || c.PrintConfig,
	}
}
