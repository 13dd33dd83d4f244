package config

import (
	"cmp"
	"fmt"
	"regexp"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// section is the section serve of a configuration.
func (s *Serve) section() yamlnode.Field {
	f := yamlnode.Section(s.fields())
	f.Read = s.readSection
	return f
}

// fields are the keys of the section serve.
func (s *Serve) fields() yamlnode.Fields {
	g := &s.Gateway
	return yamlnode.Fields{
		"listen":                     s.listenField(),
		"url":                        yamlnode.URL(&s.url, &s.urlOrigin),
		"credentials":                credentials.Section(&s.source),
		"max_clients":                yamlnode.Int(&g.MaxClients, 1, yamlnode.MaxCount),
		"max_clients_per_address":    yamlnode.OrNone(&g.MaxClientsPerAddress, yamlnode.Int(&g.MaxClientsPerAddress, 1, yamlnode.MaxCount), "a whole number, or none"),
		"admin_clients":              yamlnode.Int(&g.AdminClients, 1, yamlnode.MaxCount),
		"input_buffer":               yamlnode.Size(&g.InputBuffer, 1<<10),
		"output_buffer":              yamlnode.Size(&g.OutputBuffer, 1<<10),
		"buffers":                    yamlnode.Size(&g.Buffers, 1<<20),
		"pipeline":                   yamlnode.Int(&g.Pipeline, 1, yamlnode.MaxCount),
		"loops":                      yamlnode.Int(&g.Loops, 1, gateway.MaxLoops),
		"idle_timeout":               yamlnode.OrNone(&g.IdleTimeout, yamlnode.MillisecondsOrMore(&g.IdleTimeout), "a time such as 30s, or none"),
		"request_timeout":            yamlnode.MillisecondsOrMore(&g.RequestTimeout),
		"write_timeout":              yamlnode.MillisecondsOrMore(&g.WriteTimeout),
		"limit_wait":                 yamlnode.MillisecondsOrMore(&g.LimitWait),
		"client_commands_per_second": yamlnode.Int(&g.ClientRate.Commands, 1, yamlnode.MaxCount),
		"client_bytes_per_second":    yamlnode.Size(&g.ClientRate.Bytes, 1<<10),
		"slow_threshold":             slowThreshold(&g.SlowThreshold),
		"hot_keys":                   hotKeys(&g.NoHotKeys),
		"on_failure":                 onFailure(&g.CloseOnFailure),
		"face":                       either(&g.Face, gateway.FaceSingle, gateway.FaceCluster),
		"announce":                   yamlnode.Text(&g.Announce),
		"order":                      either(&g.Order, gateway.OrderSlot, gateway.OrderStrict),
		"drain":                      yamlnode.MillisecondsOrMore(&s.Drain),
		"admin":                      yamlnode.Bool(&g.Admin),
		"takeover":                   yamlnode.Text(&s.Takeover),
		"users":                      s.usersField(),
		"pass_through":               yamlnode.Bool(&g.PassThrough),
		"need_auth":                  yamlnode.Bool(&g.NeedAuth),
		"server_version":             serverVersion(&g.ServerVersion),
	}
}

// readSection reads the section and checks its values against each other.
func (s *Serve) readSection(n yamlnode.Node) error {
	if err := n.Fields(s.fields()); err != nil {
		return err
	}
	g := &s.Gateway
	switch {
	case g.PassThrough && g.Users != nil:
		return n.Errorf("users and pass_through: want only one, since either the gateway or Redis has the users")
	case g.NeedAuth && !g.PassThrough:
		return n.Errorf("need_auth without pass_through: want both; users of the gateway always need AUTH")
	case g.Buffers > 0 && g.Buffers < int64(cmp.Or(g.OutputBuffer, gateway.DefaultOutputBuffer)):
		return n.Errorf("buffers is %d bytes, output_buffer is %d: want buffers, the total of all clients, to be at least output_buffer",
			g.Buffers, cmp.Or(g.OutputBuffer, gateway.DefaultOutputBuffer))
	}
	return nil
}

// serverVersion reads a version that clients can parse.
func serverVersion(into *string) yamlnode.Field {
	f := yamlnode.Text(into)
	f.Read = func(n yamlnode.Node) error {
		if err := yamlnode.Text(into).Read(n); err != nil {
			return err
		}
		if !versionPattern.MatchString(*into) {
			return n.Want("a version such as 7.2.0")
		}
		return nil
	}
	return f
}

var versionPattern = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)

// either reads the name of one of two values.
func either[T fmt.Stringer](into *T, a, b T) yamlnode.Field {
	return yamlnode.Field{
		Read: func(n yamlnode.Node) error {
			switch v := n.Resolved(); {
			case v.Kind == yaml.ScalarNode && v.Value == a.String():
				*into = a
			case v.Kind == yaml.ScalarNode && v.Value == b.String():
				*into = b
			default:
				return n.Want(fmt.Sprintf("%v or %v", a, b))
			}
			return nil
		},
		Schema: yamlnode.OneWord(a.String(), b.String()),
		Value:  func() any { return (*into).String() },
	}
}

// slowThreshold reads a time, or none, which is a negative one.
func slowThreshold(into *time.Duration) yamlnode.Field {
	f := yamlnode.MillisecondsOrMore(into)
	return yamlnode.Field{
		Read: func(n yamlnode.Node) error {
			if n.Resolved().Value == "none" {
				*into = -1
				return nil
			}
			if f.Read(n) != nil {
				return n.Want("a time such as 10ms, or none")
			}
			return nil
		},
		Schema: f.Schema.Or(yamlnode.OneWord("none")),
		Value: func() any {
			if *into < 0 {
				return "none"
			}
			return f.Value()
		},
	}
}

// hotKeys reads whether the gateway keeps a list of hot keys.
func hotKeys(off *bool) yamlnode.Field {
	on := !*off
	f := yamlnode.Bool(&on)
	read := f.Read
	f.Read = func(n yamlnode.Node) error {
		err := read(n)
		*off = !on
		return err
	}
	f.Value = func() any { return !*off }
	return f
}

// onFailure reads the reaction to a command that the server does not answer: an error reply, or the
// end of the connection.
func onFailure(closes *bool) yamlnode.Field {
	return yamlnode.Field{
		Read: func(n yamlnode.Node) error {
			v := n.Resolved()
			if v.Kind != yaml.ScalarNode || v.Value != "error" && v.Value != "close" {
				return n.Want("error or close")
			}
			*closes = v.Value == "close"
			return nil
		},
		Schema: yamlnode.OneWord("error", "close"),
		Value: func() any {
			if *closes {
				return "close"
			}
			return "error"
		},
	}
}
