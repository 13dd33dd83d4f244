package yamlnode

// Field is a key of a file: it reads the value, describes it for editors, and returns the current one.
type Field struct {
	Read   func(Node) error
	Schema Schema
	Value  func() any // as YAML writes it; nil, or a nil result: the key is absent
}

// Fields are the keys of a mapping. All of them are optional.
type Fields map[string]Field

// Schema is a JSON schema of draft 2020-12. It accepts all values that the reader accepts, and may
// accept others: the reader also checks values against each other.
type Schema map[string]any

// Schema describes a mapping with these keys and no others.
func (f Fields) Schema() Schema {
	properties := map[string]any{}
	for key, field := range f {
		properties[key] = field.Schema
	}
	return Schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// Values returns the current value of each key that has one.
func (f Fields) Values() map[string]any {
	values := map[string]any{}
	for key, field := range f {
		if field.Value == nil {
			continue
		}
		if v := field.Value(); v != nil {
			values[key] = v
		}
	}
	return values
}

// Section is a mapping within a mapping.
func Section(f Fields) Field {
	return Field{
		Read:   func(n Node) error { return n.Fields(f) },
		Schema: f.Schema(),
		Value: func() any {
			if values := f.Values(); len(values) > 0 {
				return values
			}
			return nil
		},
	}
}

// Named describes a mapping of free names to values of one kind.
func Named(value Schema) Schema {
	return Schema{"type": "object", "additionalProperties": value}
}

// ListOf describes a list of values of one kind.
func ListOf(item Schema) Schema { return Schema{"type": "array", "items": item} }

// OneWord describes a value that is one of a few words.
func OneWord(words ...string) Schema { return Schema{"enum": words} }

// Or describes a value of one of several kinds.
func (s Schema) Or(others ...Schema) Schema { return Schema{"anyOf": append([]Schema{s}, others...)} }

// Schemas of scalars. YAML need not quote a text that looks like a number.
var (
	TextSchema     = Schema{"type": []string{"string", "number", "boolean"}, "minLength": 1}
	DurationSchema = pattern(durationPattern)
	shareSchema    = pattern(`^([0-9]+\.?[0-9]*|\.[0-9]+)%$`)
)

const durationPattern = `^\+?(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`

func pattern(p string) Schema { return Schema{"type": "string", "pattern": p} }

// Share describes a share such as 25%.
func Share() Schema { return shareSchema }

// Matching describes a text by a regular expression.
func Matching(expression string) Schema { return pattern(expression) }

// WholeNumber describes a whole number within limits.
func WholeNumber(least, most int) Schema {
	return Schema{"type": "integer", "minimum": least, "maximum": most}
}

// Hidden is the value that stands for a secret.
const Hidden = "***"
