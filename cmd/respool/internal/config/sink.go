package config

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// Sink configures a receiver of alerts.
type Sink struct {
	kind    string // log, webhook, alertmanager or command
	http    notify.HTTP
	run     []string
	timeout time.Duration
}

// sinksField is the key tell.
func (s *Watch) sinksField() yamlnode.Field {
	var one Sink
	kinds := []yamlnode.Schema{}
	for _, kind := range slices.Sorted(maps.Keys(one.kinds())) {
		kinds = append(kinds, yamlnode.Fields{kind: yamlnode.Section(one.kinds()[kind])}.Schema())
	}
	return yamlnode.Field{
		Read:   s.readSinks,
		Schema: yamlnode.ListOf(yamlnode.OneWord("log").Or(kinds...)),
		Value: func() any {
			list := []any{}
			for i := range s.Sinks {
				if sink := &s.Sinks[i]; sink.kind == "log" {
					list = append(list, "log")
				} else {
					list = append(list, map[string]any{sink.kind: sink.kinds()[sink.kind].Values()})
				}
			}
			return list
		},
	}
}

// kinds are the kinds of sinks with keys, and the keys of each.
func (s *Sink) kinds() map[string]yamlnode.Fields {
	url := yamlnode.Text(&s.http.URL)
	url.Value = func() any { return yamlnode.HidePath(s.http.URL) }
	headers := yamlnode.Field{
		Read:   s.readHeaders,
		Schema: yamlnode.Named(yamlnode.TextSchema),
		Value: func() any {
			hidden := map[string]string{}
			for name := range s.http.Headers {
				hidden[name] = yamlnode.Hidden
			}
			if len(hidden) == 0 {
				return nil
			}
			return hidden
		},
	}
	receiver := yamlnode.Fields{"url": url, "timeout": yamlnode.Duration(&s.http.Timeout), "headers": headers}
	run := yamlnode.Texts(&s.run)
	run.Value = func() any { return credentials.HideArguments(s.run) }
	return map[string]yamlnode.Fields{
		"webhook": receiver, "alertmanager": receiver,
		"command": {"run": run, "timeout": yamlnode.Duration(&s.timeout)},
	}
}

func (s *Watch) readSinks(n yamlnode.Node) error {
	s.Sinks = nil
	list := n.Resolved()
	if list.Kind != yaml.SequenceNode {
		return n.Want("a list of log, webhook, alertmanager and command")
	}
	for i, item := range list.Content {
		at := yamlnode.Node{File: n.File, Path: fmt.Sprintf("%s[%d]", n.Path, i), Node: item}
		one, err := readSink(at)
		if err != nil {
			return err
		}
		s.Sinks = append(s.Sinks, one)
	}
	return nil
}

func readSink(n yamlnode.Node) (one Sink, err error) {
	if n.Resolved().Kind == yaml.ScalarNode && n.Resolved().Value == "log" {
		return Sink{kind: "log"}, nil
	}
	kinds := one.kinds()
	count := 0
	err = n.Each("log, or one of the keys alertmanager, command, webhook", func(key string, value yamlnode.Node) error {
		fields, ok := kinds[key]
		if count++; !ok || count > 1 {
			return value.Errorf("unknown or second key: want log, or one of the keys alertmanager, command, webhook")
		}
		one.kind = key
		return value.Fields(fields)
	})
	if err != nil {
		return one, err
	}
	sink, err := one.Open(nil)
	if err != nil {
		return one, n.Errorf("%s", strings.TrimPrefix(err.Error(), "notify: "))
	}
	if c, ok := sink.(interface{ Close() }); ok {
		c.Close()
	}
	return one, nil
}

func (s *Sink) readHeaders(n yamlnode.Node) error {
	s.http.Headers = map[string]string{}
	return n.Each("a mapping of header names to values", func(key string, value yamlnode.Node) error {
		var v string
		err := yamlnode.Text(&v).Read(value)
		s.http.Headers[key] = v
		return err
	})
}

// Open opens the sink.
func (s *Sink) Open(log *slog.Logger) (notify.Sink, error) {
	switch s.kind {
	case "webhook":
		return notify.NewWebhook(s.http)
	case "alertmanager":
		return notify.NewAlertmanager(s.http)
	case "command":
		return notify.NewCommand(s.run, s.timeout)
	}
	return notify.Log{Logger: log}, nil
}
