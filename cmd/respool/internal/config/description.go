package config

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
)

// Banner tells the user at which addresses the gateway listens, which server it uses, and how to
// try it.
func (s *Serve) Banner(w io.Writer, addresses map[string]string) {
	fmt.Fprintln(w, "respool serves Redis at")
	for i := range s.Listen {
		a := s.Listen[i]
		if real := addresses[a.Name]; a.Network == "tcp" && a.Inherited == nil && real != "" {
			a.Name = real // the system may have chosen the port
		}
		fmt.Fprintf(w, "  %s\n", output.Printable(a.String()))
	}
	fmt.Fprintf(w, "from %s, over %s\n", output.Printable(s.serverText()), s.boundText())
	if s.Embedded {
		fmt.Fprintln(w, "the embedded server is for trials and loses all data at exit; for a real server: respool serve URL")
	}
	if len(s.Listen) > 0 {
		a := s.Listen[0]
		fmt.Fprintf(w, "\ntry: %s\n\n", output.Printable(s.tryCommand(&a, addresses[a.Name])))
	}
}

// serverText names the server, without its password.
func (s *Serve) serverText() string {
	if s.Embedded {
		return "an embedded server"
	}
	o := &s.Watch.Sampler.Options
	text := connect.Place(o)
	if o.TLS != nil {
		text += " with TLS"
	}
	if o.Username != "" {
		text += " as " + o.Username
	}
	return text
}

func (s *Serve) boundText() string {
	opt := s.Watch.Sampler.Options
	n := cmp.Or(opt.MaxConnections, defaultMaxConnections())
	if opt.Sentinel != nil || opt.Cluster != nil {
		return output.Count(n, "connection") + " at most to each node"
	}
	return output.Count(n, "connection") + " at most"
}

// defaultMaxConnections is the library's default.
func defaultMaxConnections() int {
	c, err := respool.New(respool.Options{}) // opens nothing
	if err != nil {
		return 0
	}
	defer connect.Close(c)
	return c.Stats().MaxConnections
}

// tryCommand is a redis-cli command line that reaches an address.
func (s *Serve) tryCommand(a *Address, addr string) string {
	text := "redis-cli"
	if a.Network == "unix" {
		text += " -s " + addr
	} else if host, port, err := net.SplitHostPort(addr); err == nil {
		if host != "127.0.0.1" && host != "::" && host != "0.0.0.0" {
			text += " -h " + host
		}
		text += " -p " + port
	}
	if a.Files.Cert != "" {
		text += " --tls --cacert CA"
		if a.Files.ClientCA != "" {
			text += " --cert CERT --key KEY"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Gateway.Users)) {
		if !s.Gateway.Users[name].Disabled {
			text += " --askpass --user " + name
			break
		}
	}
	return text
}

// Describe prints the configuration without its secrets.
func (s *Serve) Describe(w io.Writer, config string) error {
	fmt.Fprintf(w, "%s is valid\n\n", cmp.Or(config, "the configuration"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", what, output.Printable(fmt.Sprintf(format, args...)))
	}
	for i := range s.Listen {
		what := ""
		if i == 0 {
			what = "listen"
		}
		row(what, "%s", s.Listen[i].String())
	}
	row("server", "%s, %s", s.serverText(), s.boundText())
	g := &s.Gateway
	row("clients", "%d at most, %s from one address", cmp.Or(g.MaxClients, gateway.DefaultMaxClients), limitText(g.MaxClientsPerAddress))
	if rate := rateText(g.ClientRate); rate != "" {
		row("each client", "%s", rate)
	}
	row("event loops", "%d, over %s to a node", s.Loops(), output.Count(s.Lanes(), "lane"))
	row("access", "%s", s.accessText())
	for _, name := range slices.Sorted(maps.Keys(g.Users)) {
		row("  "+output.Printable(name), "%s", userText(g.Users[name]))
	}
	row("admin commands", "%s", map[bool]string{true: "allowed", false: "refused"}[g.Admin])
	row("slow log", "%s", slowText(g.WithDefaults().SlowThreshold))
	row("hot keys", "%s", hotText(!g.NoHotKeys))
	row("shutdown", "waits %v for clients", s.Drain)
	row("pages", "%s", cmp.Or(s.Watch.Pages, "off"))
	if len(s.Watch.PageHosts) > 0 {
		row("page hosts", "%s", strings.Join(s.Watch.PageHosts, ", "))
	}
	row("watch", "every %v, with %s and %s", s.Watch.Sampler.Every, output.Count(len(s.Watch.Rules), "rule"), output.Count(len(s.Watch.Sinks), "sink"))
	for i := range s.Listen {
		if risk := s.Risk(&s.Listen[i]); risk != "" {
			row("warning", "%s: %s", s.Listen[i].Name, risk)
		}
	}
	return t.Flush()
}

// slowText describes the slow log of a gateway.
func slowText(threshold time.Duration) string {
	if threshold < 0 {
		return "off: slow_threshold is none"
	}
	return fmt.Sprintf("commands of %v or longer", threshold)
}

// hotText describes the lists of hot keys and of large replies.
func hotText(on bool) string {
	if !on {
		return "off: hot_keys is false; large replies too"
	}
	return fmt.Sprintf("1 of %d commands counted; replies of %s or more listed", observe.Sample, output.Bytes(observe.LeastBig))
}

func limitText(n int) string {
	if n == 0 {
		return "any number"
	}
	return fmt.Sprint(n)
}

func (s *Serve) accessText() string {
	switch {
	case s.Gateway.Users != nil:
		return output.Count(len(s.Gateway.Users), "user") + " of its own"
	case s.Gateway.NeedAuth:
		return "users of Redis"
	case s.Gateway.PassThrough:
		return "everyone, and users of Redis"
	}
	return "everyone who can connect"
}

// rateText describes a rate, or returns an empty text.
func rateText(r quota.Rate) string {
	var parts []string
	if r.Commands > 0 {
		parts = append(parts, output.Count(r.Commands, "command")+" per second")
	}
	if r.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes per second", r.Bytes))
	}
	return strings.Join(parts, ", ")
}

func userText(u gateway.User) string {
	if u.Disabled {
		return "disabled"
	}
	text := accessOf(u)
	if n := u.Limits.MaxClients; n > 0 {
		text += "; " + output.Count(n, "client") + " at most"
	}
	if n := u.Limits.MaxConnections; n > 0 {
		text += "; " + output.Count(n, "dedicated connection") + " at most"
	}
	if rate := rateText(u.Limits.Rate); rate != "" {
		text += "; " + rate
	}
	return text
}

// accessOf describes the permissions and passwords of a user.
func accessOf(u gateway.User) string {
	text := "all commands except admin"
	if len(u.Commands) > 0 {
		text = strings.Join(u.Commands, ", ")
	}
	switch n := len(u.Passwords); n {
	case 0:
		return text + "; no password"
	case 1:
		return text + "; one password"
	default:
		return fmt.Sprintf("%s; %d passwords", text, n)
	}
}
