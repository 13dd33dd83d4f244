package top

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// shorten sets the short names of rows: no wider than width, and distinct.
func shorten(rows []serviceRow, width int) {
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].Name
	}
	for i, short := range distinct(names, width) {
		rows[i].short = short
	}
}

// distinct shortens names to a width. It omits the middle of a name. Names that would look the same
// omit the part that they share, so that the part in which they differ stays visible.
func distinct(names []string, width int) []string {
	short := make([]string, len(names))
	same := map[string][]int{} // by short name: the indexes
	for i, name := range names {
		short[i] = middle(name, width)
		same[short[i]] = append(same[short[i]], i)
	}
	for _, group := range same {
		if len(group) == 1 {
			continue
		}
		shared := names[group[0]]
		for _, i := range group {
			shared = commonPrefix(shared, names[i])
		}
		for _, i := range group {
			short[i] = without(names[i], shared, width)
		}
	}
	number(short, width)
	return short
}

const (
	ellipsis = "…"
	headKept = 3 // cells of the beginning that stay
)

// middle omits the middle of a text that is too wide.
func middle(s string, width int) string {
	whole := ansi.StringWidth(s)
	if whole <= width {
		return s
	}
	if width < 3 {
		return ansi.Truncate(s, max(0, width), ellipsis)
	}
	tail := (width - 1) / 2
	return ansi.Truncate(s, width-1-tail, "") + ellipsis + end(s, tail)
}

// end returns the end of a text, at most so many cells wide.
func end(s string, width int) string {
	whole := ansi.StringWidth(s)
	last := ansi.TruncateLeft(s, max(0, whole-width), "")
	if ansi.StringWidth(last) > width { // the cut is within a wide character
		last = ansi.TruncateLeft(s, whole-width+1, "")
	}
	return last
}

// without omits the end of a prefix from a text that is too wide, and more if that is not enough.
func without(s, prefix string, width int) string {
	if ansi.StringWidth(s) <= width {
		return s
	}
	head := ansi.Truncate(prefix, min(headKept, max(0, width-2)), "")
	room := max(0, width-ansi.StringWidth(head)-1)
	rest := s[len(prefix):]
	if missing := room - ansi.StringWidth(rest); missing > 0 { // show more of the prefix
		rest = end(s, room)
	}
	return head + ellipsis + ansi.Truncate(rest, room, "")
}

// commonPrefix returns the text with which both begin.
func commonPrefix(a, b string) string {
	var n int
	for i, r := range a {
		if !strings.HasPrefix(b[min(i, len(b)):], string(r)) {
			break
		}
		n = i + len(string(r))
	}
	return a[:n]
}

// number appends a number to names that are still equal.
func number(names []string, width int) {
	taken := map[string]bool{}
	for i, name := range names {
		for n := 2; taken[names[i]] && n <= len(names)+1; n++ {
			mark := fmt.Sprintf("~%d", n)
			names[i] = ansi.Truncate(name, max(0, width-len(mark)), "") + mark
		}
		taken[names[i]] = true
	}
}
