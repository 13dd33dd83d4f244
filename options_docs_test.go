package respool

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Each section of an option states its default. Those of numbers and durations are compared with
// the code.
func TestTheDocumentStatesTheDefaults(t *testing.T) {
	raw, err := os.ReadFile("docs/options.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := regexp.MustCompile("(?m)^### `([A-Za-z.]+)`\n\n(Type: [^\n]*)$").FindAllStringSubmatch(string(raw), -1)
	if len(sections) == 0 {
		t.Fatal("docs/options.md has no options")
	}
	lines := map[string]string{}
	for _, s := range sections {
		lines[s[1]] = s[2]
	}
	opt, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	sentinel, err := SentinelOptions{Addrs: []string{"s1:26379"}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	compareDefaults(t, lines, "", reflect.ValueOf(opt))
	compareDefaults(t, lines, "Sentinel.", reflect.ValueOf(sentinel))
	clustered, err := Options{Cluster: &ClusterOptions{Addrs: []string{"h1:6379"}}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	compareDefaults(t, lines, "Cluster.", reflect.ValueOf(*clustered.Cluster))
}

// compareDefaults compares the numbers and durations of an options struct with the lines of their sections.
func compareDefaults(t *testing.T, lines map[string]string, prefix string, options reflect.Value) {
	t.Helper()
	for field, value := range options.Fields() {
		if !field.IsExported() {
			continue
		}
		line, ok := lines[prefix+field.Name]
		if !ok {
			t.Errorf("docs/options.md has no section on %s%s", prefix, field.Name)
			continue
		}
		_, text, _ := strings.Cut(line, "Default: ")
		text, _, _ = strings.Cut(text, ". ")
		if text = strings.TrimSuffix(text, "."); text == "" {
			t.Errorf("docs/options.md states no default of %s%s", prefix, field.Name)
			continue
		}
		want, compared := defaultText(prefix+field.Name, value)
		got, _, _ := strings.Cut(text, ", ")
		if compared && got != want {
			t.Errorf("docs/options.md: the default of %s%s is %q: want %q", prefix, field.Name, got, want)
		}
	}
}

// defaultText returns a default as the document writes it, and whether it is a number or a
// duration with a fixed value.
func defaultText(field string, value reflect.Value) (string, bool) {
	switch d := value.Interface().(type) {
	case time.Duration:
		switch {
		case field == "StallLimit": // depends on SocketTimeout
			return "", false
		case d == Never:
			return "none", true
		case d == 0:
			return "0", true
		case d >= time.Minute:
			return fmt.Sprintf("%d m", int(d.Minutes())), true
		case d >= time.Second:
			return fmt.Sprintf("%d s", int(d.Seconds())), true
		}
		return fmt.Sprintf("%d ms", d.Milliseconds()), true
	case int, int64:
		n := value.Int()
		switch {
		case field == "Protocol": // depends on the server
			return "", false
		case n >= 1<<20 && n%(1<<20) == 0:
			return fmt.Sprintf("%d MiB", n>>20), true
		}
		return strconv.FormatInt(n, 10), true
	case float64:
		return strconv.FormatFloat(d, 'g', -1, 64), true
	}
	return "", false
}
