package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// rulesField is the key rules.
func (s *Watch) rulesField() yamlnode.Field {
	properties := map[string]any{}
	for _, name := range monitor.RuleNames() {
		properties[name] = ruleFields(&monitor.Rule{}).Schema().Or(yamlnode.OneWord("off"))
	}
	return yamlnode.Field{
		Read:   s.readRules,
		Schema: yamlnode.Schema{"type": "object", "properties": properties, "additionalProperties": false},
		Value: func() any {
			rules := map[string]any{}
			for _, name := range monitor.RuleNames() {
				rules[name] = "off"
			}
			for i := range s.Rules {
				rules[s.Rules[i].Name] = ruleFields(&s.Rules[i]).Values()
			}
			return rules
		},
	}
}

// ruleFields are the keys of one rule.
func ruleFields(r *monitor.Rule) yamlnode.Fields {
	return yamlnode.Fields{
		"limit":    yamlnode.Limit(&r.Limit),
		"for":      yamlnode.DurationOrZero(&r.For),
		"keep":     yamlnode.DurationOrZero(&r.Keep),
		"severity": severity(&r.Severity),
	}
}

// readRules changes or disables default rules.
func (s *Watch) readRules(n yamlnode.Node) error {
	return n.Each("a mapping of rule names to changes", func(name string, value yamlnode.Node) error {
		at := slices.IndexFunc(s.Rules, func(r monitor.Rule) bool { return r.Name == name })
		if at < 0 {
			return value.Errorf("unknown rule: want one of %s", strings.Join(monitor.RuleNames(), ", "))
		}
		if value.Resolved().Kind == yaml.ScalarNode && value.Resolved().Value == "off" {
			s.Rules = slices.Delete(s.Rules, at, at+1)
			return nil
		}
		r := &s.Rules[at]
		if err := value.Fields(ruleFields(r)); err != nil {
			return err
		}
		if _, err := monitor.NewJudge([]monitor.Rule{*r}); err != nil {
			return value.Errorf("%s", strings.TrimPrefix(err.Error(), "monitor: rule "+name+": "))
		}
		return nil
	})
}

func severity(into *monitor.Severity) yamlnode.Field {
	return yamlnode.Field{
		Read: func(n yamlnode.Node) error {
			if into.UnmarshalText([]byte(n.Resolved().Value)) != nil {
				return n.Want("note, warn, ticket or page")
			}
			return nil
		},
		Schema: yamlnode.OneWord("note", "warn", "ticket", "page"),
		Value:  func() any { return into.String() },
	}
}
