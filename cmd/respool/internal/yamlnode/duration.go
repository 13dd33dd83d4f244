package yamlnode

import (
	"time"

	"go.yaml.in/yaml/v4"
)

// DurationOrZero reads a positive duration or 0.
func DurationOrZero(into *time.Duration) func(Node) error {
	return func(n Node) error {
		if n.Resolved().Value == "0" {
			*into = 0
			return nil
		}
		return Duration(into)(n)
	}
}

// MinDuration is the shortest duration that a configuration may have.
const MinDuration = time.Millisecond

// MillisecondsOrMore reads a duration of MinDuration or more.
func MillisecondsOrMore(into *time.Duration) func(Node) error {
	return func(n Node) error {
		if Duration(into)(n) != nil || *into < MinDuration {
			return n.Want("a time such as 30s")
		}
		return nil
	}
}

// Duration reads a positive duration.
func Duration(into *time.Duration) func(Node) error {
	return func(n Node) error {
		d, err := time.ParseDuration(n.Resolved().Value)
		if n.Resolved().Kind != yaml.ScalarNode || err != nil || d <= 0 {
			return n.Want("a time such as 1.2ms")
		}
		*into = d
		return nil
	}
}
