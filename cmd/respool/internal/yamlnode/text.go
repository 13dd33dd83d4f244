package yamlnode

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Text reads a text. It replaces ${NAME} by that environment variable, which has to be set, so that
// secrets need not be in the file.
func Text(into *string) Field {
	return Field{
		Read: func(n Node) error {
			v := n.Resolved()
			if v.Kind != yaml.ScalarNode || v.ShortTag() == "!!null" || v.Value == "" {
				return n.Want("text")
			}
			var err error
			*into, err = expand(v.Value)
			if err != nil {
				return n.Errorf("%v", err)
			}
			return nil
		},
		Schema: TextSchema,
		Value: func() any {
			if *into == "" {
				return nil
			}
			return *into
		},
	}
}

// Secret is Text whose value is hidden.
func Secret(into *string) Field {
	f := Text(into)
	f.Value = func() any {
		if *into == "" {
			return nil
		}
		return Hidden
	}
	return f
}

// URL reads a URL of a server without parsing it, and the prefix of errors about it. Its value hides
// the secrets.
func URL(into, at *string) Field {
	f := Text(into)
	f.Read = func(n Node) error {
		*at = fmt.Sprintf("%s:%d: %s: ", n.File, n.Line, n.Path)
		return Text(into).Read(n)
	}
	f.Value = func() any {
		if *into == "" {
			return nil
		}
		return HideSecrets(*into)
	}
	return f
}

func expand(text string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" {
			return "", errors.New("a ${ without a name or a }: want one such as ${REDIS_PASSWORD}")
		}
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("${%s}: the environment variable is not set", name)
		}
		b.WriteString(value)
		text = after
	}
}

// Texts reads a list of strings.
func Texts(into *[]string) Field {
	return Field{
		Read: func(n Node) error {
			if n.Resolved().Kind != yaml.SequenceNode {
				return n.Want("a list of strings")
			}
			for _, item := range n.Resolved().Content {
				var one string
				if err := Text(&one).Read(Node{File: n.File, Path: n.Path, Node: item}); err != nil {
					return err
				}
				*into = append(*into, one)
			}
			return nil
		},
		Schema: ListOf(TextSchema),
		Value: func() any {
			if *into == nil {
				return nil
			}
			return *into
		},
	}
}

// OrNone reads a value, or "none", which stands for 0 and no limit.
func OrNone[T ~int | ~int64](into *T, f Field, want string) Field {
	return Field{
		Read: func(n Node) error {
			if n.Resolved().Value == "none" {
				*into = 0
				return nil
			}
			if f.Read(n) != nil {
				return n.Want(want)
			}
			return nil
		},
		Schema: f.Schema.Or(OneWord("none")),
		Value: func() any {
			if *into == 0 {
				return "none"
			}
			return f.Value()
		},
	}
}

// Bool reads true or false.
func Bool(into *bool) Field {
	return Field{
		Read: func(n Node) error {
			v := n.Resolved()
			if v.Kind != yaml.ScalarNode || v.Value != "true" && v.Value != "false" {
				return n.Want("true or false")
			}
			*into = v.Value == "true"
			return nil
		},
		Schema: Schema{"enum": []any{true, false, "true", "false"}},
		Value:  func() any { return *into },
	}
}
