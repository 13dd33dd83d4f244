// Package output formats reports for terminals and pipes. Servers and other
// clients wrote some of the text: none of it may reach a terminal as a control
// sequence. The package lays out no tables. It starts no goroutines.
package output

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// What servers and their clients wrote is foreign text: nothing of it may
// reach a terminal as a control sequence.

// Printable makes text of others harmless for a terminal, on one line.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Error is an error on one line, as harmless text.
func Error(err error) string {
	text := strings.TrimPrefix(err.Error(), "respool: ")
	return Cell(strings.NewReplacer(":\n", ": ", "\n", "; ").Replace(text))
}

// Cell makes foreign text harmless, and as wide on any terminal: what can't
// be printed becomes a ?, and so does what terminals do not agree on, such as
// joined emojis.
func Cell(s string) string {
	s = Printable(s)
	var b strings.Builder
	for s != "" {
		cluster, width := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		s = s[len(cluster):]
		beside := " " + cluster + " " // marks at the begin of a text join what stands before it
		if width <= 0 || width+2 != ansi.StringWidth(beside) || width+2 != ansi.StringWidthWc(beside) || len(cluster) > maxCluster {
			cluster = "?"
		}
		b.WriteString(cluster)
	}
	return b.String()
}

// maxCluster bounds what is piled up on one character, in bytes.
const maxCluster = 12
