package yamlnode

import (
	"time"

	"go.yaml.in/yaml/v4"
)

// DurationOrZero reads a positive duration or 0.
func DurationOrZero(into *time.Duration) Field {
	f := Duration(into)
	return Field{
		Read: func(n Node) error {
			if n.Resolved().Value == "0" {
				*into = 0
				return nil
			}
			return f.Read(n)
		},
		Schema: f.Schema.Or(Schema{"enum": []any{0, "0"}}),
		Value:  func() any { return durationText(*into) },
	}
}

// MinDuration is the shortest duration that a configuration may have.
const MinDuration = time.Millisecond

// MillisecondsOrMore reads a duration of MinDuration or more.
func MillisecondsOrMore(into *time.Duration) Field {
	f := Duration(into)
	f.Read = func(n Node) error {
		if Duration(into).Read(n) != nil || *into < MinDuration {
			return n.Want("a time such as 30s")
		}
		return nil
	}
	return f
}

// Duration reads a positive duration.
func Duration(into *time.Duration) Field {
	return Field{
		Read: func(n Node) error {
			d, err := time.ParseDuration(n.Resolved().Value)
			if n.Resolved().Kind != yaml.ScalarNode || err != nil || d <= 0 {
				return n.Want("a time such as 1.2ms")
			}
			*into = d
			return nil
		},
		Schema: DurationSchema,
		Value: func() any {
			if *into == 0 {
				return nil
			}
			return durationText(*into)
		},
	}
}

// durationText formats a duration as this package reads it.
func durationText(d time.Duration) any {
	if d == 0 {
		return 0
	}
	return d.String()
}
