package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// whole64 is whole for larger numbers.
func whole64(into *int64, least, most int) func(node) error {
	return func(n node) error {
		var i int
		err := whole(&i, least, most)(n)
		*into = int64(i)
		return err
	}
}

// text reads a word or a line. ${NAME} in it stands for that variable of the
// environment, which has to be set: so secrets need not stand in the file.
func text(into *string) func(node) error {
	return func(n node) error {
		v := n.resolved()
		if v.Kind != yaml.ScalarNode || v.ShortTag() == "!!null" || v.Value == "" {
			return n.wrong("text")
		}
		var err error
		*into, err = expand(v.Value)
		if err != nil {
			return n.errorf("%v", err)
		}
		return nil
	}
}

// urlText reads a URL, which is looked at once all is read, and how errors call its place.
func urlText(into, at *string) func(node) error {
	return func(n node) error {
		*at = fmt.Sprintf("%s:%d: %s: ", n.file, n.Line, n.path)
		return text(into)(n)
	}
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
			return "", errors.New("a ${ without a name and a }: want one such as ${REDIS_PASSWORD}")
		}
		value, set := os.LookupEnv(name)
		if !set {
			return "", fmt.Errorf("${%s}: there is no such variable in the environment", name)
		}
		b.WriteString(value)
		text = after
	}
}

// texts reads a list of texts.
func texts(into *[]string) func(node) error {
	return func(n node) error {
		if n.resolved().Kind != yaml.SequenceNode {
			return n.wrong("a list of texts")
		}
		for _, item := range n.resolved().Content {
			var one string
			if err := text(&one)(node{file: n.file, path: n.path, Node: item}); err != nil {
				return err
			}
			*into = append(*into, one)
		}
		return nil
	}
}

// limit reads a number, a share such as 70%, or a time, which counts in hours.
func limit(into *float64) func(node) error {
	return func(n node) error {
		if share, ok := n.percentage(1000); ok {
			*into = share
			return nil
		}
		if d, err := time.ParseDuration(n.resolved().Value); err == nil && d > 0 {
			*into = d.Hours()
			return nil
		}
		if decimal(into)(n) != nil {
			return n.wrong("a number, a share such as 70%, or a time such as 4h")
		}
		return nil
	}
}

func lastingOrNothing(into *time.Duration) func(node) error {
	return func(n node) error {
		if n.resolved().Value == "0" {
			*into = 0
			return nil
		}
		return lasting(into)(n)
	}
}

func severity(into *monitor.Severity) func(node) error {
	return func(n node) error {
		if into.UnmarshalText([]byte(n.resolved().Value)) != nil {
			return n.wrong("note, warn, ticket or page")
		}
		return nil
	}
}
