package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
	"github.com/seed-2b0d76a6/respool/plan"
)

// settings are what a watcher does, as a configuration says.
type settings struct {
	sampler  monitor.SamplerConfig
	url      string // that sampler.Options are from; empty: none is said yet
	urlAt    string // where the file has it, as errors begin
	source   credentialsSource
	listen   string // host:port of its pages; empty: none
	instance string // how it calls itself in alerts
	rules    []monitor.Rule
	sinks    []sinkSettings
	ceilings map[string]int64 // of services, from a plan
	reserve  int64            // that the plan keeps free
}

// sinkSettings are one that is told of alerts.
type sinkSettings struct {
	kind    string // log, webhook, alertmanager or command
	http    notify.HTTP
	run     []string
	timeout time.Duration
}

// defaultListen is where the pages are unless something else is said.
const defaultListen = "127.0.0.1:9736"

// defaultSettings are those of an empty configuration.
func defaultSettings() settings {
	return settings{
		sampler: monitor.SamplerConfig{Purpose: "watch", Every: monitor.DefaultEvery, ListEvery: monitor.DefaultListEvery},
		listen:  defaultListen, rules: monitor.DefaultRules(), sinks: []sinkSettings{{kind: "log"}},
	}
}

// configKeys are what a configuration may have on top.
const configKeys = "url, every, rules, tell and others (see docs/operate.md)"

// readConfig reads the configuration of a watch.
func readConfig(file, profile string) (settings, error) {
	return readProfiled(file, profile, parseConfig)
}

// readProfiled reads a configuration as a profile changes it; no profile stands
// for what stands on top alone. All other profiles have to be right as well.
func readProfiled[T any](file, profile string, parse func(node) (T, error)) (none T, err error) {
	top, err := readFile(file, configKeys)
	if err != nil {
		return none, err
	}
	base, profiles, err := splitProfiles(top)
	if err != nil {
		return none, err
	}
	if _, ok := profiles[profile]; !ok && profile != "" {
		return none, fmt.Errorf("%s has no profile %.40q: %s", file, profile, oneOf(slices.Sorted(maps.Keys(profiles)), "there are no profiles"))
	}
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		if name == profile {
			continue
		}
		if _, err := parse(mixed(base, profiles[name])); err != nil {
			return none, fmt.Errorf("in profile %s: %w", name, err)
		}
	}
	if profile != "" {
		base = mixed(base, profiles[profile])
	}
	return parse(base)
}

// oneOf says what is wanted: one of a list, or nothing where that is empty.
func oneOf(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return "want one of " + strings.Join(list, ", ")
}

// splitProfiles takes the profiles out of a configuration.
func splitProfiles(top node) (base node, profiles map[string]node, err error) {
	profiles = map[string]node{}
	rest := *top.resolved()
	rest.Content = nil
	err = top.each("the keys "+configKeys, func(key string, value node) error {
		if key != "profiles" {
			return nil
		}
		return value.each("profiles by their names", func(name string, p node) error {
			if p.resolved().Kind != yaml.MappingNode {
				return p.wrong("what the profile changes, by keys")
			}
			profiles[name] = p
			return nil
		})
	})
	for i := 0; err == nil && i+1 < len(top.resolved().Content); i += 2 {
		if key := top.resolved().Content[i]; key.Value != "profiles" {
			rest.Content = append(rest.Content, key, top.resolved().Content[i+1])
		}
	}
	return node{file: top.file, Node: &rest}, profiles, err
}

// mixed is a configuration changed by a profile: mappings are changed key by
// key, everything else is replaced.
func mixed(base, over node) node {
	return node{file: base.file, path: base.path, Node: mixNodes(base.resolved(), over.resolved())}
}

func mixNodes(base, over *yaml.Node) *yaml.Node {
	if over.Kind == yaml.AliasNode {
		over = over.Alias
	}
	if base.Kind == yaml.AliasNode {
		base = base.Alias
	}
	if base.Kind != yaml.MappingNode || over.Kind != yaml.MappingNode {
		return over
	}
	m := *base
	m.Content = slices.Clone(base.Content)
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		if at := indexOf(&m, key.Value); at >= 0 {
			m.Content[at+1] = mixNodes(m.Content[at+1], value)
		} else {
			m.Content = append(m.Content, key, value)
		}
	}
	return &m
}

// indexOf is where a key stands among a mapping's content; -1: nowhere.
func indexOf(m *yaml.Node, key string) int {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i
		}
	}
	return -1
}

// parseConfig reads a watch's configuration without its profiles. What it says
// of a gateway has to be right as well: one file may serve both.
func parseConfig(top node) (settings, error) {
	s := defaultSettings()
	if err := s.readSections(top, new(serveSettings)); err != nil {
		return s, err
	}
	if s.url == "" {
		return s, fmt.Errorf("%s: url is missing: want the server, or the service with its sentinels", top.file)
	}
	return s, s.lookAt(s.url, s.urlAt, top.file+": ")
}

// readSections reads all that a configuration may have on top but profiles.
func (s *settings) readSections(top node, serve *serveSettings) error {
	return top.fields(map[string]func(node) error{
		"url":         urlText(&s.url, &s.urlAt),
		"credentials": readCredentials(&s.source),
		"every":       lasting(&s.sampler.Every),
		"list_every":  s.readListEvery,
		"list_limit":  s.readListLimit,
		"maxclients":  whole64(&s.sampler.MaxClients, 1, mostCount),
		"listen":      s.readListen,
		"instance":    text(&s.instance),
		"plan":        s.readPlan,
		"rules":       s.readRules,
		"tell":        s.readSinks,
		"serve":       serve.readSection,
	})
}

// lookAt says which server it is. Errors begin with ofURL where the URL is
// wrong, and with ofRest where the rest is.
func (s *settings) lookAt(url, ofURL, ofRest string) (err error) {
	s.url = url
	if s.sampler.Options, err = respool.ParseURL(url); err != nil {
		return fmt.Errorf("%s%s", ofURL, strings.TrimPrefix(err.Error(), "respool: "))
	}
	if err := s.source.addTo(&s.sampler.Options); err != nil {
		return fmt.Errorf("%s%w", ofURL, err)
	}
	if s.sampler.ListEvery != respool.Never {
		s.sampler.ListEvery = max(s.sampler.ListEvery, s.sampler.Every)
	}
	if _, err := monitor.NewSampler(s.sampler); err != nil {
		return fmt.Errorf("%s%w", ofRest, err)
	}
	return nil
}

func (s *settings) readListEvery(n node) error {
	if n.resolved().Value == "never" {
		s.sampler.ListEvery = respool.Never
		return nil
	}
	return lasting(&s.sampler.ListEvery)(n)
}

func (s *settings) readListLimit(n node) error {
	if n.resolved().Value == "none" {
		s.sampler.ListLimit = -1
		return nil
	}
	return whole64(&s.sampler.ListLimit, 1, mostCount)(n)
}

func (s *settings) readListen(n node) error {
	if n.resolved().Value == "off" {
		s.listen = ""
		return nil
	}
	if err := text(&s.listen)(n); err != nil {
		return err
	}
	if err := checkListen(s.listen); err != nil {
		return n.wrong("host:port such as " + defaultListen + ", or off")
	}
	return nil
}

// readPlan takes the services' ceilings from a file as respool check reads it.
func (s *settings) readPlan(n node) error {
	var file string
	if err := text(&file)(n); err != nil {
		return err
	}
	p, err := readPlan(file)
	if err != nil {
		return n.errorf("%v", err)
	}
	budget, err := p.budget.Connections()
	if err != nil {
		return n.errorf("%v", err)
	}
	s.reserve = int64(cmp.Or(p.budget.MaxClients, plan.DefaultMaxClients) - budget)
	s.ceilings = map[string]int64{}
	for _, service := range p.services {
		if service.Bounded() && service.MaxConnections > 0 {
			s.ceilings[service.Name] = int64(service.Total())
		}
	}
	return nil
}

// readRules changes the default rules, or switches them off.
func (s *settings) readRules(n node) error {
	return n.each("rules by their names", func(name string, value node) error {
		at := slices.IndexFunc(s.rules, func(r monitor.Rule) bool { return r.Name == name })
		if at < 0 {
			return value.errorf("there is no such rule: want one of %s", strings.Join(monitor.RuleNames(), ", "))
		}
		if value.resolved().Kind == yaml.ScalarNode && value.resolved().Value == "off" {
			s.rules = slices.Delete(s.rules, at, at+1)
			return nil
		}
		r := &s.rules[at]
		err := value.fields(map[string]func(node) error{
			"limit":    limit(&r.Limit),
			"for":      lastingOrNothing(&r.For),
			"keep":     lastingOrNothing(&r.Keep),
			"severity": severity(&r.Severity),
		})
		if err != nil {
			return err
		}
		if _, err := monitor.NewJudge([]monitor.Rule{*r}); err != nil {
			return value.errorf("%s", strings.TrimPrefix(err.Error(), "monitor: rule "+name+": "))
		}
		return nil
	})
}

func (s *settings) readSinks(n node) error {
	s.sinks = nil
	list := n.resolved()
	if list.Kind != yaml.SequenceNode {
		return n.wrong("a list of log, webhook, alertmanager and command")
	}
	for i, item := range list.Content {
		at := node{file: n.file, path: fmt.Sprintf("%s[%d]", n.path, i), Node: item}
		one, err := readSink(at)
		if err != nil {
			return err
		}
		s.sinks = append(s.sinks, one)
	}
	return nil
}

func readSink(n node) (one sinkSettings, err error) {
	if n.resolved().Kind == yaml.ScalarNode && n.resolved().Value == "log" {
		return sinkSettings{kind: "log"}, nil
	}
	receiver := func(n node) error {
		return n.fields(map[string]func(node) error{
			"url": text(&one.http.URL), "timeout": lasting(&one.http.Timeout), "headers": one.readHeaders,
		})
	}
	kinds := map[string]func(node) error{
		"webhook": receiver, "alertmanager": receiver,
		"command": func(n node) error {
			return n.fields(map[string]func(node) error{"run": texts(&one.run), "timeout": lasting(&one.timeout)})
		},
	}
	count := 0
	err = n.each("log, or one of the keys alertmanager, command, webhook", func(key string, value node) error {
		read, ok := kinds[key]
		if count++; !ok || count > 1 {
			return value.errorf("unknown, or the second one: want log, or one of the keys alertmanager, command, webhook")
		}
		one.kind = key
		return read(value)
	})
	if err != nil {
		return one, err
	}
	sink, err := one.sink(nil)
	if err != nil {
		return one, n.errorf("%s", strings.TrimPrefix(err.Error(), "notify: "))
	}
	if c, ok := sink.(interface{ Close() }); ok {
		c.Close()
	}
	return one, nil
}

func (s *sinkSettings) readHeaders(n node) error {
	s.http.Headers = map[string]string{}
	return n.each("headers by their names", func(key string, value node) error {
		var v string
		err := text(&v)(value)
		s.http.Headers[key] = v
		return err
	})
}
