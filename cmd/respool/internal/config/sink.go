package config

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

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
	receiver := func(n yamlnode.Node) error {
		return n.Fields(map[string]func(yamlnode.Node) error{
			"url": yamlnode.Text(&one.http.URL), "timeout": yamlnode.Duration(&one.http.Timeout), "headers": one.readHeaders,
		})
	}
	kinds := map[string]func(yamlnode.Node) error{
		"webhook": receiver, "alertmanager": receiver,
		"command": func(n yamlnode.Node) error {
			return n.Fields(map[string]func(yamlnode.Node) error{"run": yamlnode.Texts(&one.run), "timeout": yamlnode.Duration(&one.timeout)})
		},
	}
	count := 0
	err = n.Each("log, or one of the keys alertmanager, command, webhook", func(key string, value yamlnode.Node) error {
		read, ok := kinds[key]
		if count++; !ok || count > 1 {
			return value.Errorf("unknown or second key: want log, or one of the keys alertmanager, command, webhook")
		}
		one.kind = key
		return read(value)
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
		err := yamlnode.Text(&v)(value)
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
