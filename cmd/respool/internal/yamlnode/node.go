// Package yamlnode reads YAML files key by key, so that each error names the file,
// the line and the path of keys. It is not for writing YAML, nor for files whose
// keys nobody checks. It starts no goroutines.
package yamlnode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/input"
)

// Node is a value in a YAML file, and its place for error messages.
type Node struct {
	File string
	Path string // its keys, such as services.orders.pods
	*yaml.Node
}

// maxFile is the maximum size of a file, in bytes.
const maxFile = 4 << 20

// ReadFile reads a YAML file, or standard input if name is "-". keys names the expected keys, for
// the error of an empty file.
func ReadFile(name, keys string) (Node, error) {
	in := io.Reader(os.Stdin)
	if name == "-" {
		name = "standard input"
	} else {
		file, err := input.Open(name)
		if err != nil {
			return Node{}, err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return Node{}, err
	}
	if len(text) > maxFile {
		return Node{}, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return Parse(name, text, keys)
}

// Parse parses a file that holds exactly one document.
func Parse(file string, text []byte, keys string) (Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return Node{}, err
	}
	var document, more yaml.Node
	switch err := loader.Load(&document); {
	case errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0:
		return Node{}, fmt.Errorf("%s is empty: want the keys %s", file, keys)
	case err != nil:
		return Node{}, parseError(file, err)
	}
	switch err := loader.Load(&more); {
	case err == nil:
		return Node{}, fmt.Errorf("%s:%d: a second YAML document: want one", file, more.Line)
	case !errors.Is(err, io.EOF):
		return Node{}, parseError(file, err)
	}
	return Node{File: file, Node: document.Content[0]}, nil
}

func parseError(file string, err error) error {
	if at, ok := errors.AsType[*yaml.LoadError](err); ok {
		return fmt.Errorf("%s:%d: invalid YAML: %s", file, at.Mark.Line, at.Message)
	}
	return fmt.Errorf("%s: invalid YAML: %w", file, err)
}

// Errorf returns an error that begins with the node's place.
func (n Node) Errorf(format string, args ...any) error {
	where := ""
	if n.Path != "" {
		where = n.Path + ": "
	}
	return fmt.Errorf("%s:%d: %s%s", n.File, n.Line, where, fmt.Sprintf(format, args...))
}

// Want returns the error of a value other than the expected one.
func (n Node) Want(want string) error {
	switch n.Resolved().Kind {
	case yaml.MappingNode:
		return n.Errorf("keys: want %s", want)
	case yaml.SequenceNode:
		return n.Errorf("a list: want %s", want)
	}
	if n.Resolved().ShortTag() == "!!null" {
		return n.Errorf("no value: want %s", want)
	}
	return n.Errorf("%.40q: want %s", n.Resolved().Value, want)
}

// Resolved returns the node that an alias refers to, or the node itself.
func (n Node) Resolved() *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n.Node
}

// Each calls do for each key of a mapping, in order. A repeated key is an error.
func (n Node) Each(want string, do func(key string, value Node) error) error {
	m := n.Resolved()
	if m.Kind != yaml.MappingNode {
		return n.Want(want)
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key := m.Content[i]
		value := Node{File: n.File, Path: key.Value, Node: m.Content[i+1]}
		if n.Path != "" {
			value.Path = n.Path + "." + key.Value
		}
		at := Node{File: n.File, Path: value.Path, Node: key}
		if key.Kind != yaml.ScalarNode {
			return at.Errorf("a key that is not a plain word: want %s", want)
		}
		if line := lines[key.Value]; line > 0 {
			return at.Errorf("duplicate of the key in line %d: want it once", line)
		}
		lines[key.Value] = key.Line
		if err := do(key.Value, value); err != nil {
			return err
		}
	}
	return nil
}

// Fields reads a mapping with these optional keys. Any other key is an error.
func (n Node) Fields(known Fields) error {
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	return n.Each("the keys "+names, func(key string, value Node) error {
		f, ok := known[key]
		if !ok {
			return value.Errorf("unknown key: want one of %s", names)
		}
		return f.Read(value)
	})
}
