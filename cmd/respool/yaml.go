package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// node is a place in a YAML file: what stands there, and how errors call it.
type node struct {
	file string
	path string // its keys, as services.orders.pods
	*yaml.Node
}

// mostYAML bounds a file, in bytes.
const mostYAML = 4 << 20

// readFile reads a YAML file, or standard input if its name is "-". keys are
// what it should have.
func readFile(name, keys string) (node, error) {
	in := io.Reader(os.Stdin)
	if name == "-" {
		name = "standard input"
	} else {
		file, err := openFile(name)
		if err != nil {
			return node{}, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, mostYAML+1))
	if err != nil {
		return node{}, err
	}
	if len(text) > mostYAML {
		return node{}, fmt.Errorf("%s is larger than %d bytes", name, mostYAML)
	}
	return readNode(name, text, keys)
}

// readNode reads the one document of a file.
func readNode(file string, text []byte, keys string) (node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return node{}, err
	}
	var document, more yaml.Node
	switch err := loader.Load(&document); {
	case errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0:
		return node{}, fmt.Errorf("%s is empty: want the keys %s", file, keys)
	case err != nil:
		return node{}, notYAML(file, err)
	}
	switch err := loader.Load(&more); {
	case err == nil:
		return node{}, fmt.Errorf("%s:%d: a second document: want one", file, more.Line)
	case !errors.Is(err, io.EOF):
		return node{}, notYAML(file, err)
	}
	return node{file: file, Node: document.Content[0]}, nil
}

func notYAML(file string, err error) error {
	if at, ok := errors.AsType[*yaml.LoadError](err); ok {
		return fmt.Errorf("%s:%d: this is no YAML: %s", file, at.Mark.Line, at.Message)
	}
	return fmt.Errorf("%s: this is no YAML: %w", file, err)
}

// errorf is an error of this place.
func (n node) errorf(format string, args ...any) error {
	where := ""
	if n.path != "" {
		where = n.path + ": "
	}
	return fmt.Errorf("%s:%d: %s%s", n.file, n.Line, where, fmt.Sprintf(format, args...))
}

// wrong is the error of a value that is not what was expected.
func (n node) wrong(want string) error {
	switch n.resolved().Kind {
	case yaml.MappingNode:
		return n.errorf("keys: want %s", want)
	case yaml.SequenceNode:
		return n.errorf("a list: want %s", want)
	}
	if n.resolved().ShortTag() == "!!null" {
		return n.errorf("no value: want %s", want)
	}
	return n.errorf("%.40q: want %s", n.resolved().Value, want)
}

// resolved is what an alias stands for.
func (n node) resolved() *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n.Node
}

// each calls do for the keys of a mapping, in their order. No key may be twice.
func (n node) each(want string, do func(key string, value node) error) error {
	m := n.resolved()
	if m.Kind != yaml.MappingNode {
		return n.wrong(want)
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := m.Content[i]
		value := node{file: n.file, path: key.Value, Node: m.Content[i+1]}
		if n.path != "" {
			value.path = n.path + "." + key.Value
		}
		at := node{file: n.file, path: value.path, Node: key}
		if key.Kind != yaml.ScalarNode {
			return at.errorf("a key that is no word: want %s", want)
		}
		if line := lines[key.Value]; line > 0 {
			return at.errorf("the same key as in line %d: want it once", line)
		}
		lines[key.Value] = key.Line
		if err := do(key.Value, value); err != nil {
			return err
		}
	}
	return nil
}

// fields reads a mapping with these keys, each of which may be left out.
func (n node) fields(known map[string]func(node) error) error {
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	return n.each("the keys "+names, func(key string, value node) error {
		read, ok := known[key]
		if !ok {
			return value.errorf("unknown key: want one of %s", names)
		}
		return read(value)
	})
}

// whole reads a whole number.
func whole(into *int, least, most int) func(node) error {
	return func(n node) error {
		i, ok := n.number()
		if !ok || i < least || i > most {
			return n.wrong(fmt.Sprintf("a whole number from %d to %d", least, most))
		}
		*into = i
		return nil
	}
}

func (n node) number() (int, bool) {
	v := n.resolved()
	if v.Kind != yaml.ScalarNode || v.ShortTag() != "!!int" {
		return 0, false
	}
	i, err := strconv.Atoi(strings.ReplaceAll(v.Value, "_", ""))
	return i, err == nil
}

// decimal reads a number that may have a fraction.
func decimal(into *float64) func(node) error {
	return func(n node) error {
		v := n.resolved()
		f, err := strconv.ParseFloat(v.Value, 64)
		if tag := v.ShortTag(); v.Kind != yaml.ScalarNode || err != nil || tag != "!!int" && tag != "!!float" {
			return n.wrong("a number")
		}
		*into = f
		return nil
	}
}

// lasting reads a duration.
func lasting(into *time.Duration) func(node) error {
	return func(n node) error {
		d, err := time.ParseDuration(n.resolved().Value)
		if n.resolved().Kind != yaml.ScalarNode || err != nil || d <= 0 {
			return n.wrong("a time such as 1.2ms")
		}
		*into = d
		return nil
	}
}

// percentage reads a share such as 25%, below most.
func (n node) percentage(most float64) (float64, bool) {
	v := n.resolved()
	digits, ok := strings.CutSuffix(v.Value, "%")
	f, err := strconv.ParseFloat(digits, 64)
	return f / 100, ok && err == nil && v.Kind == yaml.ScalarNode && f >= 0 && f/100 <= most
}
