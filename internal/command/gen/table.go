package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// command is an entry of commands.json.
type command struct {
	Name  string   `json:"name"`
	Arity int      `json:"arity"`
	Flags []string `json:"flags"`
	ACL   []string `json:"acl"`
	Tips  []string `json:"tips"`
	Keys  []struct {
		Begin struct {
			Index   *struct{ Pos int }
			Keyword *struct {
				Keyword   string
				StartFrom int
			}
		}
		Find struct {
			Range  *struct{ LastKey, Step, Limit int }
			KeyNum *struct{ KeyNumIdx, FirstKey, Step int }
		}
	} `json:"keys"`
}

func (c *command) has(flag string) bool { return slices.Contains(c.Flags, flag) }

// entry is a command in the form of the table.
type entry struct {
	command
	class, effect, use, timeout string
	finder, request, reply      string
	readOnly                    bool
	subs                        []*entry
}

// parse reads commands.json. It returns the entries by name, with subcommands in their containers,
// and a flat list of all entries.
func parse(data []byte) (top, all []*entry, err error) {
	var commands []command
	if err := json.Unmarshal(data, &commands); err != nil {
		return nil, nil, fmt.Errorf("parse the commands: %w", err)
	}
	slices.SortFunc(commands, func(a, b command) int { return strings.Compare(a.Name, b.Name) })
	containers := map[string]*entry{}
	for i, c := range commands {
		if i > 0 && c.Name == commands[i-1].Name {
			return nil, nil, fmt.Errorf("%s is there twice", c.Name)
		}
		e := &entry{command: c}
		all = append(all, e)
		container, _, isSub := strings.Cut(c.Name, " ")
		if !isSub {
			top = append(top, e)
			containers[c.Name] = e
			continue
		}
		parent := containers[container]
		if parent == nil {
			return nil, nil, fmt.Errorf("%s has no container", c.Name)
		}
		parent.subs = append(parent.subs, e)
	}
	return top, all, nil
}

// correct completes the entries from their flags and the tables of overrides.
func correct(all []*entry) error {
	for _, r := range rules {
		err := each(all, r.names, func(e *entry) error {
			if e.class != "" {
				return fmt.Errorf("%s has two classes", e.Name)
			}
			e.class, e.effect, e.use = r.class, r.effect, r.use
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, e := range all {
		e.readOnly = e.has("readonly")
		if e.class == "" {
			e.class = classByFlags(e)
		}
		if e.class == "" {
			return fmt.Errorf("%s has no class: add it to the rules", e.Name)
		}
	}
	if err := each(all, readOnly, func(e *entry) error {
		if e.readOnly || e.has("write") {
			return fmt.Errorf("%s has a flag that says whether it writes", e.Name)
		}
		e.readOnly = true
		return nil
	}); err != nil {
		return err
	}
	for finder, names := range finders {
		if err := each(all, names, func(e *entry) error { e.finder = finder; return nil }); err != nil {
			return err
		}
	}
	if err := correctPolicies(all); err != nil {
		return err
	}
	return correctTimeouts(all)
}

// The policies of package command, by the names that tips have for them.
var (
	requestPolicies = map[string]string{
		"all_nodes": "AllNodes", "all_shards": "AllShards", "multi_shard": "MultiShard", "special": "SpecialRequest",
	}
	replyPolicies = map[string]string{
		"one_succeeded": "OneSucceeded", "all_succeeded": "AllSucceeded", "agg_sum": "AggSum", "agg_min": "AggMin",
		"agg_max": "AggMax", "agg_logical_and": "AggLogicalAnd", "agg_logical_or": "AggLogicalOr", "special": "SpecialReply",
	}
	// defaultReplies apply to commands whose tips name only their request policy.
	defaultReplies = map[string]string{"AllNodes": "Joined", "AllShards": "Joined", "MultiShard": "KeyOrder"}
)

func correctPolicies(all []*entry) error {
	for _, e := range all {
		for _, tip := range e.Tips {
			kind, value, _ := strings.Cut(tip, ":")
			known := true
			switch kind {
			case "request_policy":
				e.request, known = requestPolicies[value], requestPolicies[value] != ""
			case "response_policy":
				e.reply, known = replyPolicies[value], replyPolicies[value] != ""
			}
			if !known {
				return fmt.Errorf("%s: its tip %q is unknown", e.Name, tip)
			}
		}
		if e.reply == "" {
			e.reply = defaultReplies[e.request]
		}
	}
	for _, p := range policies {
		if err := each(all, p.names, func(e *entry) error { e.request, e.reply = p.request, p.reply; return nil }); err != nil {
			return err
		}
	}
	return nil
}

func correctTimeouts(all []*entry) error {
	for kind, names := range timeouts {
		if err := each(all, names, func(e *entry) error { e.timeout = kind; return nil }); err != nil {
			return err
		}
	}
	for _, e := range all {
		if e.has("blocking") != (e.timeout != "") {
			return fmt.Errorf("%s: its flag \"blocking\" and its timeout disagree", e.Name)
		}
	}
	return nil
}

// classByFlags returns the class of a command that reads or writes data. Flags do not determine the
// class of others.
func classByFlags(e *entry) string {
	switch {
	case e.has("blocking"):
		return "Blocking"
	case e.has("pubsub"):
		return ""
	case e.has("readonly"), e.has("write"):
		return "Multiplexed"
	}
	return ""
}

// each calls f for every command that names selects.
func each(all []*entry, names []string, f func(*entry) error) error {
	for _, name := range names {
		container, whole := strings.CutSuffix(name, " *")
		container, below := strings.CutSuffix(container, " /*")
		found := false
		for _, e := range all {
			if (e.Name != container || below) && !((whole || below) && strings.HasPrefix(e.Name, container+" ")) {
				continue
			}
			found = true
			if err := f(e); err != nil {
				return err
			}
		}
		if !found {
			return fmt.Errorf("there is no command %s", name)
		}
	}
	return nil
}
