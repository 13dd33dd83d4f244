package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// listenField is the key listen of the section serve.
func (s *Serve) listenField() yamlnode.Field {
	var files TLSFiles
	entry := yamlnode.Fields{
		"address": {Schema: yamlnode.TextSchema},
		"mode":    {Schema: yamlnode.Matching("^[0-7]{3,4}$").Or(yamlnode.WholeNumber(0, 7777))},
		"tls":     {Schema: files.fields().Schema()},
	}
	return yamlnode.Field{
		Read:   s.readListen,
		Schema: yamlnode.ListOf(yamlnode.TextSchema.Or(entry.Schema())),
		Value: func() any {
			list := []any{}
			for i := range s.Listen {
				list = append(list, s.Listen[i].value())
			}
			return list
		},
	}
}

// value is the address as a configuration writes it.
func (a *Address) value() any {
	files := a.Files.fields().Values()
	if a.Network != "unix" && len(files) == 0 || strings.HasPrefix(a.Name, SystemdPrefix) && len(files) == 0 {
		return a.Name
	}
	entry := map[string]any{"address": a.Name}
	if len(files) > 0 {
		entry["tls"] = files
	} else {
		entry["mode"] = fmt.Sprintf("%04o", a.Mode)
	}
	return entry
}

// fields are the keys of tls.
func (f *TLSFiles) fields() yamlnode.Fields {
	return yamlnode.Fields{"cert": yamlnode.Text(&f.Cert), "key": yamlnode.Text(&f.Key), "client_ca": yamlnode.Text(&f.ClientCA)}
}

// readListen reads the list of addresses. Each is a text or a mapping.
func (s *Serve) readListen(n yamlnode.Node) error {
	list := n.Resolved()
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return n.Want("a list of addresses such as " + DefaultListen)
	}
	for i, item := range list.Content {
		at := yamlnode.Node{File: n.File, Path: fmt.Sprintf("%s[%d]", n.Path, i), Node: item}
		a, err := readAddress(at)
		if err != nil {
			return err
		}
		a.Origin = fmt.Sprintf("%s:%d: %s: %s", at.File, at.Line, at.Path, a.Name)
		if s.Listen, err = AppendAddress(s.Listen, a); err != nil {
			return err
		}
	}
	return nil
}

func readAddress(n yamlnode.Node) (a Address, err error) {
	address := func(n yamlnode.Node) error {
		var name string
		if err := yamlnode.Text(&name).Read(n); err != nil {
			return err
		}
		if a, err = ParseAddress(name); err != nil {
			return n.Want(err.Error())
		}
		return nil
	}
	if n.Resolved().Kind == yaml.ScalarNode {
		err = address(n)
		return a, err
	}
	// The address decides which other keys are allowed, whatever their order.
	var files TLSFiles
	var mode, tlsAt *yamlnode.Node
	keep := func(into **yamlnode.Node) yamlnode.Field {
		return yamlnode.Field{Read: func(n yamlnode.Node) error { *into = &n; return nil }}
	}
	err = n.Fields(yamlnode.Fields{"address": {Read: address}, "tls": keep(&tlsAt), "mode": keep(&mode)})
	switch {
	case err != nil:
		return a, err
	case a.Name == "":
		return a, n.Errorf("address is missing: want one such as %s", DefaultListen)
	case tlsAt != nil && a.Network == "unix":
		return a, tlsAt.Errorf("TLS on a unix socket: want TLS only for host:port")
	case mode != nil && a.Network != "unix":
		return a, mode.Errorf("a mode for %s: want a mode only for unix:///path", a.Name)
	}
	if tlsAt != nil {
		if err := files.read(*tlsAt); err != nil {
			return a, err
		}
		a.Files = files
	}
	if mode != nil {
		if a.Mode, err = parseMode(mode.Resolved().Value); err != nil || mode.Resolved().Kind != yaml.ScalarNode {
			return a, mode.Want(wantMode)
		}
	}
	return a, nil
}

// read reads the TLS files of one listener.
func (f *TLSFiles) read(n yamlnode.Node) error {
	if err := n.Fields(f.fields()); err != nil {
		return err
	}
	if f.Cert == "" || f.Key == "" {
		return n.Errorf("cert or key is missing: want both")
	}
	return nil
}
