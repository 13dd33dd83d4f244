package yamlnode

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// topKeys names the keys of a configuration, for the error of an empty file.
const topKeys = "url, every, rules, tell and others (see docs/operate.md)"

// ReadProfile reads a configuration with the changes of one profile. An empty profile stands for
// the top level alone. It checks all other profiles too.
func ReadProfile[T any](file, profile string, parse func(Node) (T, error)) (none T, err error) {
	top, err := ReadFile(file, topKeys)
	if err != nil {
		return none, err
	}
	base, profiles, err := splitProfiles(top)
	if err != nil {
		return none, err
	}
	if _, ok := profiles[profile]; !ok && profile != "" {
		return none, fmt.Errorf("%s has no profile %.40q: %s", file, profile, WantOneOf(slices.Sorted(maps.Keys(profiles)), "there are no profiles"))
	}
	for _, name := range slices.Sorted(maps.Keys(profiles)) {
		if name == profile {
			continue
		}
		if _, err := parse(merge(base, profiles[name])); err != nil {
			return none, fmt.Errorf("in profile %s: %w", name, err)
		}
	}
	if profile != "" {
		base = merge(base, profiles[profile])
	}
	return parse(base)
}

// WantOneOf says "want one of" and the list, or none if the list is empty.
func WantOneOf(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return "want one of " + strings.Join(list, ", ")
}

// splitProfiles separates the profiles from the rest of a configuration.
func splitProfiles(top Node) (base Node, profiles map[string]Node, err error) {
	profiles = map[string]Node{}
	rest := *top.Resolved()
	rest.Content = nil
	err = top.Each("the keys "+topKeys, func(key string, value Node) error {
		if key != "profiles" {
			return nil
		}
		return value.Each("a mapping of profile names to changes", func(name string, p Node) error {
			if p.Resolved().Kind != yaml.MappingNode {
				return p.Want("a mapping of the keys that the profile changes")
			}
			profiles[name] = p
			return nil
		})
	})
	for i := 0; err == nil && i+1 < len(top.Resolved().Content); i += 2 {
		if key := top.Resolved().Content[i]; key.Value != "profiles" {
			rest.Content = append(rest.Content, key, top.Resolved().Content[i+1])
		}
	}
	return Node{File: top.File, Node: &rest}, profiles, err
}

// merge applies a profile to a configuration. It merges mappings key by key and replaces all other
// values.
func merge(base, over Node) Node {
	return Node{File: base.File, Path: base.Path, Node: mergeNodes(base.Resolved(), over.Resolved())}
}

func mergeNodes(base, over *yaml.Node) *yaml.Node {
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
			m.Content[at+1] = mergeNodes(m.Content[at+1], value)
		} else {
			m.Content = append(m.Content, key, value)
		}
	}
	return &m
}

// indexOf returns the index of a key in a mapping's content, or -1.
func indexOf(m *yaml.Node, key string) int {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i
		}
	}
	return -1
}
