package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// addresses are where it listens, by the names of the entrances.
func (d *serving) addresses() map[string]string {
	m := map[string]string{}
	for name, door := range d.doors {
		m[name] = door.Addr().String()
	}
	return m
}

// banner tells people where it listens, what is behind it, and how to try it.
func (s *serveSettings) banner(w io.Writer, addresses map[string]string) {
	fmt.Fprintln(w, "respool serves Redis at")
	for i := range s.entrances {
		e := s.entrances[i]
		if real := addresses[e.name]; e.network == "tcp" && e.passed == nil && real != "" {
			e.name = real // the port may have been chosen by the system
		}
		fmt.Fprintf(w, "  %s\n", printable(e.text()))
	}
	fmt.Fprintf(w, "from %s, over %s\n", printable(s.server()), s.bound())
	if s.embedded {
		fmt.Fprintln(w, "the embedded server is for trying: it forgets all when this ends; name a real one with respool serve URL")
	}
	if len(s.entrances) > 0 {
		e := s.entrances[0]
		fmt.Fprintf(w, "\ntry: %s\n\n", printable(s.try(&e, addresses[e.name])))
	}
}

// server names what is behind, without its password.
func (s *serveSettings) server() string {
	if s.embedded {
		return "an embedded server"
	}
	o := &s.watch.sampler.Options
	text := place(o)
	if o.TLS != nil {
		text += " with TLS"
	}
	if o.Username != "" {
		text += " as " + o.Username
	}
	return text
}

func (s *serveSettings) bound() string {
	opt := s.watch.sampler.Options
	n := cmp.Or(opt.MaxConnections, defaultBound())
	if opt.Sentinel != nil {
		return numbered(n, "connection") + " at most to each node, and one more that watches"
	}
	return numbered(n, "connection") + " at most, and one more that watches"
}

// numbered is a number of things, whose plural has an s.
func numbered(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// defaultBound is what the library takes where nothing is said.
func defaultBound() int {
	c, err := respool.New(respool.Options{}) // opens nothing
	if err != nil {
		return 0
	}
	defer closeClient(c)
	return c.Stats().MaxConnections
}

// try is a command that reaches an entrance.
func (s *serveSettings) try(e *entrance, addr string) string {
	text := "redis-cli"
	if e.network == "unix" {
		text += " -s " + addr
	} else if host, port, err := net.SplitHostPort(addr); err == nil {
		if host != "127.0.0.1" && host != "::" && host != "0.0.0.0" {
			text += " -h " + host
		}
		text += " -p " + port
	}
	if e.files.cert != "" {
		text += " --tls --cacert CA"
		if e.files.ca != "" {
			text += " --cert CERT --key KEY"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.gateway.Users)) {
		if !s.gateway.Users[name].Disabled {
			text += " --askpass --user " + name
			break
		}
	}
	return text
}

// describe prints what would be served, without what is secret.
func (s *serveSettings) describe(w io.Writer, c *serveCmd) error {
	fmt.Fprintf(w, "%s is right\n\n", cmp.Or(c.Config, "this"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	for i := range s.entrances {
		what := ""
		if i == 0 {
			what = "listens at"
		}
		row(what, "%s", s.entrances[i].text())
	}
	row("server", "%s, %s", s.server(), s.bound())
	g := &s.gateway
	row("clients", "%d at most, %s of one address", cmp.Or(g.MaxClients, 10_000), orNoLimit(g.MaxClientsPerAddress))
	row("who", "%s", s.who())
	for _, name := range slices.Sorted(maps.Keys(g.Users)) {
		row("  "+printable(name), "%s", describeUser(g.Users[name]))
	}
	row("operator's commands", "%s", map[bool]string{true: "allowed", false: "refused"}[g.Admin])
	row("at its end", "clients may finish for %v", s.drain)
	row("pages", "%s", cmp.Or(s.watch.listen, "off"))
	row("watch", "every %v, by %s, tells %s", s.watch.sampler.Every, numbered(len(s.watch.rules), "rule"), numbered(len(s.watch.sinks), "sink"))
	for i := range s.entrances {
		if risk := s.risk(&s.entrances[i]); risk != "" {
			row("beware", "%s: %s", s.entrances[i].name, risk)
		}
	}
	return t.Flush()
}

func orNoLimit(n int) string {
	if n == 0 {
		return "any number"
	}
	return fmt.Sprint(n)
}

func (s *serveSettings) who() string {
	switch {
	case s.gateway.Users != nil:
		return numbered(len(s.gateway.Users), "user") + " of its own"
	case s.gateway.NeedAuth:
		return "users that Redis knows"
	case s.gateway.PassThrough:
		return "everybody, and users that Redis knows"
	}
	return "everybody who reaches it"
}

func describeUser(u gateway.User) string {
	if u.Disabled {
		return "disabled"
	}
	text := "all commands but admin"
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
