package yamlnode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// MaxCount is the largest number of things that a file may name.
const MaxCount = 10_000_000

// Int reads a whole number. Its value is absent if it is 0 and 0 is not allowed.
func Int[T ~int | ~int64](into *T, least, most int) Field {
	return Field{
		Read: func(n Node) error {
			i, ok := n.Int()
			if !ok || i < least || i > most {
				return n.Want(fmt.Sprintf("a whole number from %d to %d", least, most))
			}
			*into = T(i)
			return nil
		},
		Schema: WholeNumber(least, most),
		Value: func() any {
			if *into == 0 && least > 0 {
				return nil
			}
			return *into
		},
	}
}

// Limit reads a number, a share such as 70%, or a duration, which is converted to hours.
func Limit(into *float64) Field {
	f := Float(into)
	return Field{
		Read: func(n Node) error {
			if share, ok := n.Percentage(1000); ok {
				*into = share
				return nil
			}
			if d, err := time.ParseDuration(n.Resolved().Value); err == nil && d > 0 {
				*into = d.Hours()
				return nil
			}
			if f.Read(n) != nil {
				return n.Want("a number, a share such as 70%, or a time such as 4h")
			}
			return nil
		},
		Schema: f.Schema.Or(Share(), DurationSchema),
		Value:  f.Value,
	}
}

// Size reads a number of bytes, optionally with the unit KiB, MiB or GiB.
func Size[T ~int | ~int64](into *T, least int64) Field {
	return Field{
		Read: func(n Node) error {
			digits, unit := n.Resolved().Value, int64(1)
			for _, u := range sizeUnits {
				if d, ok := strings.CutSuffix(digits, u.suffix); ok {
					digits, unit = d, u.bytes
					break
				}
			}
			i, err := strconv.ParseInt(digits, 10, 64)
			if n.Resolved().Kind != yaml.ScalarNode || err != nil || i > math.MaxInt/unit || i*unit < least {
				return n.Want(fmt.Sprintf("a size such as 8MiB, at least %d bytes", least))
			}
			*into = T(i * unit)
			return nil
		},
		Schema: Schema{"type": "integer", "minimum": least}.Or(pattern(`^\+?[0-9]+(KiB|MiB|GiB)?$`)),
		Value: func() any {
			bytes := int64(*into)
			for _, u := range sizeUnits {
				if bytes > 0 && bytes%u.bytes == 0 {
					return fmt.Sprint(bytes/u.bytes, u.suffix)
				}
			}
			if bytes == 0 {
				return nil
			}
			return bytes
		},
	}
}

// sizeUnits are the units of a size, the largest first.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// Int returns a whole number.
func (n Node) Int() (int, bool) {
	v := n.Resolved()
	if v.Kind != yaml.ScalarNode || v.ShortTag() != "!!int" {
		return 0, false
	}
	i, err := strconv.Atoi(strings.ReplaceAll(v.Value, "_", ""))
	return i, err == nil
}

// Float reads a number with an optional fraction.
func Float(into *float64) Field {
	return Field{
		Read: func(n Node) error {
			v := n.Resolved()
			f, err := strconv.ParseFloat(v.Value, 64)
			if tag := v.ShortTag(); v.Kind != yaml.ScalarNode || err != nil || tag != "!!int" && tag != "!!float" {
				return n.Want("a number")
			}
			*into = f
			return nil
		},
		Schema: Schema{"type": "number"},
		Value:  func() any { return *into },
	}
}

// Percentage returns a share such as 25% as 0.25. It reports false for shares above most.
func (n Node) Percentage(most float64) (float64, bool) {
	v := n.Resolved()
	digits, ok := strings.CutSuffix(v.Value, "%")
	f, err := strconv.ParseFloat(digits, 64)
	return f / 100, ok && err == nil && v.Kind == yaml.ScalarNode && f >= 0 && f/100 <= most
}
