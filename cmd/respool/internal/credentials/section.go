package credentials

import (
	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// Section reads the section credentials of a configuration into a Source.
func Section(into *Source) yamlnode.Field {
	fields := func() yamlnode.Fields {
		command := yamlnode.Texts(&into.command)
		command.Value = func() any { return HideArguments(into.command) }
		return yamlnode.Fields{
			"command": command, "file": yamlnode.Text(&into.file), "env": yamlnode.Text(&into.env), "timeout": yamlnode.Duration(&into.timeout),
		}
	}
	f := yamlnode.Section(fields())
	f.Read = func(n yamlnode.Node) error {
		*into = Source{}
		if err := n.Fields(fields()); err != nil {
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
	return f
}

// HideArguments returns a command with its arguments hidden: they may be secrets.
func HideArguments(command []string) any {
	if len(command) == 0 {
		return nil
	}
	hidden := []string{command[0]}
	for range command[1:] {
		hidden = append(hidden, yamlnode.Hidden)
	}
	return hidden
}
