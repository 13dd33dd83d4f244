package yamlnode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

const MaxCount = 10_000_000

// Int64 is Int for an int64.
func Int64(into *int64, least, most int) func(Node) error {
	return func(n Node) error {
		var i int
		err := Int(&i, least, most)(n)
		*into = int64(i)
		return err
	}
}

// Limit reads a number, a share such as 70%, or a duration, which is converted to hours.
func Limit(into *float64) func(Node) error {
	return func(n Node) error {
		if share, ok := n.Percentage(1000); ok {
			*into = share
			return nil
		}
		if d, err := time.ParseDuration(n.Resolved().Value); err == nil && d > 0 {
			*into = d.Hours()
			return nil
		}
		if Float(into)(n) != nil {
			return n.Want("a number, a share such as 70%, or a time such as 4h")
		}
		return nil
	}
}

// Size reads a number of bytes, optionally with the unit KiB, MiB or GiB.
func Size[T ~int | ~int64](into *T, least int64) func(Node) error {
	return func(n Node) error {
		digits, unit := n.Resolved().Value, int64(1)
		for suffix, bytes := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
			if d, ok := strings.CutSuffix(digits, suffix); ok {
				digits, unit = d, bytes
				break
			}
		}
		i, err := strconv.ParseInt(digits, 10, 64)
		if n.Resolved().Kind != yaml.ScalarNode || err != nil || i > math.MaxInt/unit || i*unit < least {
			return n.Want(fmt.Sprintf("a size such as 8MiB, at least %d bytes", least))
		}
		*into = T(i * unit)
		return nil
	}
}

// Int reads a whole number.
func Int(into *int, least, most int) func(Node) error {
	return func(n Node) error {
		i, ok := n.Int()
		if !ok || i < least || i > most {
			return n.Want(fmt.Sprintf("a whole number from %d to %d", least, most))
		}
		*into = i
		return nil
	}
}

func (n Node) Int() (int, bool) {
	v := n.Resolved()
	if v.Kind != yaml.ScalarNode || v.ShortTag() != "!!int" {
		return 0, false
	}
	i, err := strconv.Atoi(strings.ReplaceAll(v.Value, "_", ""))
	return i, err == nil
}

// Float reads a number with an optional fraction.
func Float(into *float64) func(Node) error {
	return func(n Node) error {
		v := n.Resolved()
		f, err := strconv.ParseFloat(v.Value, 64)
		if tag := v.ShortTag(); v.Kind != yaml.ScalarNode || err != nil || tag != "!!int" && tag != "!!float" {
			return n.Want("a number")
		}
		*into = f
		return nil
	}
}

// Percentage returns a share such as 25% as 0.25. It reports false for shares above most.
func (n Node) Percentage(most float64) (float64, bool) {
	v := n.Resolved()
	digits, ok := strings.CutSuffix(v.Value, "%")
	f, err := strconv.ParseFloat(digits, 64)
	return f / 100, ok && err == nil && v.Kind == yaml.ScalarNode && f >= 0 && f/100 <= most
}
