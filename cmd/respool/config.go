package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
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

// readConfig reads a configuration as a profile changes it; no profile stands
// for what stands on top alone. All other profiles have to be right as well.
func readConfig(file, profile string) (settings, error) {
	top, err := readFile(file, configKeys)
	if err != nil {
		return settings{}, err
	}
	base, profiles, err := splitProfiles(top)
	if err != nil {
		return settings{}, err
	}
	if _, ok := profiles[profile]; !ok && profile != "" {
		return settings{}, fmt.Errorf("%s has no profile %.40q: want one of %s", file, profile, listOr(slices.Sorted(maps.Keys(profiles)), "none: there are no profiles"))
	}
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		if name == profile {
			continue
		}
		if _, err := parseConfig(mixed(base, profiles[name])); err != nil {
			return settings{}, fmt.Errorf("in profile %s: %w", name, err)
		}
	}
	if profile != "" {
		base = mixed(base, profiles[profile])
	}
	return parseConfig(base)
}

func listOr(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return strings.Join(list, ", ")
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

// parseConfig reads a configuration without its profiles.
func parseConfig(top node) (settings, error) {
	s := defaultSettings()
	url := ""
	err := top.fields(map[string]func(node) error{
		"url":        text(&url),
		"every":      lasting(&s.sampler.Every),
		"list_every": s.readListEvery,
		"list_limit": s.readListLimit,
		"maxclients": whole64(&s.sampler.MaxClients, 1, mostCount),
		"listen":     s.readListen,
		"instance":   text(&s.instance),
		"plan":       s.readPlan,
		"rules":      s.readRules,
		"tell":       s.readSinks,
	})
	if err != nil {
		return s, err
	}
	if url == "" {
		return s, fmt.Errorf("%s: url is missing: want the server, or the service with its sentinels", top.file)
	}
	if s.sampler.Options, err = respool.ParseURL(url); err != nil {
		return s, fmt.Errorf("%s: url: %w", top.file, err)
	}
	if s.sampler.ListEvery != respool.Never {
		s.sampler.ListEvery = max(s.sampler.ListEvery, s.sampler.Every)
	}
	if _, err := monitor.NewSampler(s.sampler); err != nil {
		return s, fmt.Errorf("%s: %w", top.file, err)
	}
	return s, nil
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

// whole64 is whole for larger numbers.
func whole64(into *int64, least, most int) func(node) error {
	return func(n node) error {
		var i int
		err := whole(&i, least, most)(n)
		*into = int64(i)
		return err
	}
}

// text reads a word or a line. ${NAME} in it stands for that variable of the
// environment, which has to be set: so secrets need not stand in the file.
func text(into *string) func(node) error {
	return func(n node) error {
		v := n.resolved()
		if v.Kind != yaml.ScalarNode || v.ShortTag() == "!!null" || v.Value == "" {
			return n.wrong("text")
		}
		var err error
		*into, err = expand(v.Value)
		if err != nil {
			return n.errorf("%v", err)
		}
		return nil
	}
}

func expand(text string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" {
			return "", errors.New("a ${ without a name and a }: want one such as ${REDIS_PASSWORD}")
		}
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("${%s}: there is no such variable in the environment", name)
		}
		b.WriteString(value)
		text = after
	}
}

// texts reads a list of texts.
func texts(into *[]string) func(node) error {
	return func(n node) error {
		if n.resolved().Kind != yaml.SequenceNode {
			return n.wrong("a list of texts")
		}
		for _, item := range n.resolved().Content {
			var one string
			if err := text(&one)(node{file: n.file, path: n.path, Node: item}); err != nil {
				return err
			}
			*into = append(*into, one)
		}
		return nil
	}
}

// limit reads a number, a share such as 70%, or a time, which counts in hours.
func limit(into *float64) func(node) error {
	return func(n node) error {
		if share, ok := n.percentage(1000); ok {
			*into = share
			return nil
		}
		if d, err := time.ParseDuration(n.resolved().Value); err == nil && d > 0 {
			*into = d.Hours()
			return nil
		}
		if decimal(into)(n) != nil {
			return n.wrong("a number, a share such as 70%, or a time such as 4h")
		}
		return nil
	}
}

func lastingOrNothing(into *time.Duration) func(node) error {
	return func(n node) error {
		if n.resolved().Value == "0" {
			*into = 0
			return nil
		}
		return lasting(into)(n)
	}
}

func severity(into *monitor.Severity) func(node) error {
	return func(n node) error {
		if into.UnmarshalText([]byte(n.resolved().Value)) != nil {
			return n.wrong("note, warn, ticket or page")
		}
		return nil
	}
}
