// Package config reads the configuration files of respool watch and respool serve. It checks the
// sections and defines the defaults. It opens nothing that it describes; packages watch and serve
// do. It starts no goroutines.
package config

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/planfile"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/plan"
)

// Watch is the configuration of a watch.
type Watch struct {
	Sampler   monitor.SamplerConfig
	URL       string // of the server; empty: not set yet
	URLOrigin string // the prefix of errors about it
	Source    credentials.Source
	Pages     string         // host:port of the pages; empty: none
	PageHosts []string       // names of the pages in the header Host, beyond those of page.AllowHosts
	Socket    *Address       // the Unix socket for respool kill; nil: none
	Instance  string         // its name in alerts
	Actions   bool           // the page allows actions after a login
	Operators gateway.Config // the users of serve, for that login
	Grace     time.Duration  // after the start, without alerts about a server that has not answered yet
	Rules     []monitor.Rule
	Sinks     []Sink
	Ceilings  map[string]int64 // connection limits of services, from a plan
	Reserve   int64            // connections that the plan keeps free
	planFile  string           // of these ceilings; empty: none
}

// DefaultWatchPages is the default address of the pages of respool watch.
const DefaultWatchPages = "127.0.0.1:8637"

// DefaultGrace is the default time after the start without alerts about a server that has not answered yet.
const DefaultGrace = time.Minute

// DefaultWatch is an empty configuration.
func DefaultWatch() Watch {
	return Watch{
		Sampler: monitor.SamplerConfig{Purpose: "watch", Every: monitor.DefaultEvery, ListEvery: monitor.DefaultListEvery, Load: true, Details: true, Split: true},
		Pages:   DefaultWatchPages, Grace: DefaultGrace, Rules: monitor.DefaultRules(), Sinks: []Sink{{kind: "log"}},
	}
}

// Summary describes the watch in one line.
func (s *Watch) Summary() string {
	return fmt.Sprintf("watches %s every %v, with %s and %s", connect.Place(&s.Sampler.Options), s.Sampler.Every,
		output.Count(len(s.Rules), "rule"), output.Count(len(s.Sinks), "sink"))
}

// ReadWatch reads the configuration of respool watch.
func ReadWatch(file, profile string) (Watch, error) {
	return yamlnode.ReadProfile(file, profile, parseWatch)
}

// parseWatch parses a configuration of respool watch, without its profiles. It checks the section
// serve too, since one file may configure both.
func parseWatch(top yamlnode.Node) (Watch, error) {
	s := DefaultWatch()
	if err := s.readSections(top, new(Serve)); err != nil {
		return s, err
	}
	if s.URL == "" {
		return s, fmt.Errorf("%s: url is missing: want the server, or the service with its sentinels", top.File)
	}
	return s, s.UseServer(s.URL, s.URLOrigin, top.File+": ")
}

// readSections reads all top-level keys except profiles.
func (s *Watch) readSections(top yamlnode.Node, serve *Serve) error {
	if err := top.Fields(s.fields(serve)); err != nil {
		return err
	}
	s.Operators = gateway.Config{Users: serve.Gateway.Users}
	for name := range s.Operators.Users {
		if s.Operators.MayOperate(name) {
			return nil
		}
	}
	if s.Actions {
		return fmt.Errorf("%s: actions: nobody could log in: want a user in serve.users with password_sha256 and the commands [admin] or [all]", top.File)
	}
	return nil
}

// fields are all top-level keys except profiles.
func (s *Watch) fields(serve *Serve) yamlnode.Fields {
	return yamlnode.Fields{
		"url":         yamlnode.URL(&s.URL, &s.URLOrigin),
		"credentials": credentials.Section(&s.Source),
		"every":       yamlnode.Duration(&s.Sampler.Every),
		"list_every":  s.listEveryField(),
		"list_limit":  s.listLimitField(),
		"maxclients":  yamlnode.Int(&s.Sampler.MaxClients, 1, yamlnode.MaxCount),
		"listen":      s.listenField(),
		"page_hosts":  s.pageHostsField(),
		"socket":      s.socketField(),
		"grace":       yamlnode.DurationOrZero(&s.Grace),
		"instance":    yamlnode.Text(&s.Instance),
		"actions":     yamlnode.Bool(&s.Actions),
		"plan":        s.planField(),
		"rules":       s.rulesField(),
		"tell":        s.sinksField(),
		"serve":       serve.section(),
	}
}

// UseServer sets the server. Errors begin with ofURL if the URL is wrong, and with ofRest if
// another setting is.
func (s *Watch) UseServer(url, ofURL, ofRest string) (err error) {
	s.URL = url
	if s.Sampler.Options, err = respool.ParseURL(url); err != nil {
		return fmt.Errorf("%s%s", ofURL, strings.TrimPrefix(err.Error(), "respool: "))
	}
	if err := s.Source.AddTo(&s.Sampler.Options); err != nil {
		return fmt.Errorf("%s%w", ofURL, err)
	}
	if s.Sampler.ListEvery != respool.Never {
		s.Sampler.ListEvery = max(s.Sampler.ListEvery, s.Sampler.Every)
	}
	if _, err := monitor.NewSampler(s.Sampler); err != nil {
		return fmt.Errorf("%s%w", ofRest, err)
	}
	return nil
}

func (s *Watch) listEveryField() yamlnode.Field {
	every := yamlnode.Duration(&s.Sampler.ListEvery)
	return yamlnode.Field{
		Read: func(n yamlnode.Node) error {
			if n.Resolved().Value == "never" {
				s.Sampler.ListEvery = respool.Never
				return nil
			}
			return every.Read(n)
		},
		Schema: every.Schema.Or(yamlnode.OneWord("never")),
		Value: func() any {
			if s.Sampler.ListEvery == respool.Never {
				return "never"
			}
			return every.Value()
		},
	}
}

func (s *Watch) listLimitField() yamlnode.Field {
	limit := yamlnode.Int(&s.Sampler.ListLimit, 1, yamlnode.MaxCount)
	return yamlnode.Field{
		Read: func(n yamlnode.Node) error {
			if n.Resolved().Value == "none" {
				s.Sampler.ListLimit = -1
				return nil
			}
			return limit.Read(n)
		},
		Schema: limit.Schema.Or(yamlnode.OneWord("none")),
		Value: func() any {
			if s.Sampler.ListLimit < 0 {
				return "none"
			}
			return cmp.Or(s.Sampler.ListLimit, monitor.DefaultListLimit)
		},
	}
}

// listenField is the address of the pages.
func (s *Watch) listenField() yamlnode.Field {
	return yamlnode.Field{
		Read:   s.readListen,
		Schema: yamlnode.Matching(`:[0-9]+$|\$\{`).Or(yamlnode.OneWord("off")),
		Value:  func() any { return cmp.Or(s.Pages, "off") },
	}
}

func (s *Watch) readListen(n yamlnode.Node) error {
	if n.Resolved().Value == "off" {
		s.Pages = ""
		return nil
	}
	if err := yamlnode.Text(&s.Pages).Read(n); err != nil {
		return err
	}
	if err := CheckHostPort(s.Pages); err != nil {
		return n.Want("host:port such as " + DefaultWatchPages + ", or off")
	}
	return nil
}

// pageHostsField is the list of names with which browsers reach the pages.
func (s *Watch) pageHostsField() yamlnode.Field {
	f := yamlnode.Texts(&s.PageHosts)
	read := f.Read
	f.Read = func(n yamlnode.Node) error {
		if err := read(n); err != nil {
			return err
		}
		for _, name := range s.PageHosts {
			if !plainName.MatchString(name) {
				return n.Errorf("%.80q: want a name such as respool.example.com, without http:// and without a port", name)
			}
		}
		return nil
	}
	return f
}

// plainName is a name of a host.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$`)

func (s *Watch) socketField() yamlnode.Field {
	return yamlnode.Field{
		Read:   s.readSocket,
		Schema: yamlnode.TextSchema,
		Value: func() any {
			if s.Socket == nil {
				return nil
			}
			return fmt.Sprintf("%s?mode=%04o", s.Socket.Name, s.Socket.Mode)
		},
	}
}

func (s *Watch) readSocket(n yamlnode.Node) error {
	var text string
	if err := yamlnode.Text(&text).Read(n); err != nil {
		return err
	}
	a, err := ParseSocket(text)
	if err != nil {
		return n.Want(err.Error())
	}
	a.Origin = fmt.Sprintf("%s:%d: %s", n.File, n.Line, n.Path)
	s.Socket = &a
	return nil
}

func (s *Watch) planField() yamlnode.Field {
	f := yamlnode.Text(&s.planFile)
	f.Read = s.readPlan
	return f
}

// readPlan takes the connection limits of services from a plan file.
func (s *Watch) readPlan(n yamlnode.Node) error {
	if err := yamlnode.Text(&s.planFile).Read(n); err != nil {
		return err
	}
	p, err := planfile.Read(s.planFile)
	if err != nil {
		return n.Errorf("%v", err)
	}
	budget, err := p.Budget.Connections()
	if err != nil {
		return n.Errorf("%v", err)
	}
	s.Reserve = int64(cmp.Or(p.Budget.MaxClients, plan.DefaultMaxClients) - budget)
	s.Ceilings = map[string]int64{}
	for _, service := range p.Services {
		if service.Bounded() && service.MaxConnections > 0 {
			s.Ceilings[service.Name] = int64(service.Total())
		}
	}
	return nil
}
