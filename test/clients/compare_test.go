package clients

import (
	"fmt"
	"slices"
	"testing"
)

// shownDifferences is how many differing lines the report shows.
const shownDifferences = 5

// differences tells the first lines that are not alike.
func differences(straight, through []string) []string {
	var told []string
	for i := range max(len(straight), len(through)) {
		s, th := at(straight, i), at(through, i)
		if s == th {
			continue
		}
		if len(told) == shownDifferences {
			return append(told, "and more")
		}
		s, th = around(s, th)
		told = append(told, fmt.Sprintf("line %d\n  straight  %s\n  through   %s", i+1, s, th))
	}
	return told
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(no line)"
}

// around shortens two long lines to where they differ first.
func around(a, b string) (string, string) {
	const before, length = 100, 300
	first := 0
	for first < min(len(a), len(b)) && a[first] == b[first] {
		first++
	}
	cut := func(s string) string {
		start := max(0, first-before)
		end := min(len(s), start+length)
		short := s[start:end]
		if start > 0 {
			short = "…" + short
		}
		if end < len(s) {
			short += "…"
		}
		return short
	}
	return cut(a), cut(b)
}

func TestDifferencesAreTold(t *testing.T) {
	for _, c := range []struct {
		straight, through, want []string
	}{
		{[]string{"a", "b"}, []string{"a", "b"}, nil},
		{[]string{"a", "b"}, []string{"a", "c"}, []string{"line 2\n  straight  b\n  through   c"}},
		{[]string{"a"}, []string{"a", "c"}, []string{"line 2\n  straight  (no line)\n  through   c"}},
		{[]string{"a"}, nil, []string{"line 1\n  straight  a\n  through   (no line)"}},
	} {
		if got := differences(c.straight, c.through); !slices.Equal(got, c.want) {
			t.Errorf("%q and %q: %q, want %q", c.straight, c.through, got, c.want)
		}
	}
}
