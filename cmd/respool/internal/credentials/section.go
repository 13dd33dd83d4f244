package credentials

import (
	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// Section reads the section credentials of a configuration into a Source.
func Section(into *Source) func(yamlnode.Node) error {
	return func(n yamlnode.Node) error {
		*into = Source{}
		err := n.Fields(map[string]func(yamlnode.Node) error{
			"command": yamlnode.Texts(&into.command), "file": yamlnode.Text(&into.file), "env": yamlnode.Text(&into.env), "timeout": yamlnode.Duration(&into.timeout),
		})
		if err != nil {
			return err
		}
		set := 0
		for _, is := range []bool{into.command != nil, into.file != "", into.env != ""} {
			if is {
				set++
			}
		}
		switch {
		case set != 1 || n.Resolved().Kind != yaml.MappingNode:
			return n.Errorf("want one of the keys command, file and env")
		case into.timeout > 0 && into.command == nil:
			return n.Errorf("a timeout without a command: want timeout only with command")
		}
		if err := into.checkCommand(); err != nil {
			return n.Errorf("%v", err)
		}
		return nil
	}
}
