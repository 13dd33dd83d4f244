// Package output formats reports for terminals and pipes. Servers and other
// clients wrote some of the text: none of it may reach a terminal as a control
// sequence. The package does not format tables. It starts no goroutines.
package output

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Printable makes foreign text safe for a terminal, on one line.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// Error formats an error as one line of safe text, without the library's prefix. It does not mention commands that were not
// sent, because the user sent none.
func Error(err error) string {
	text := strings.TrimPrefix(err.Error(), "respool: ")
	text = strings.ReplaceAll(text, " (the command was not sent)", "")
	return Cell(strings.NewReplacer(":\n", ": ", "\n", "; ").Replace(text))
}

// Cell makes foreign text safe and equally wide on every terminal. It replaces unprintable
// characters by ?, and also characters whose width terminals disagree on, such as joined emojis.
func Cell(s string) string {
	s = Printable(s)
	var b strings.Builder
	for s != "" {
		if s[0] < utf8.RuneSelf && (len(s) == 1 || s[1] < utf8.RuneSelf) { // most names; no mark follows
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		cluster, width := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		s = s[len(cluster):]
		beside := " " + cluster + " " // marks at the beginning of a text combine with the character before it
		if width <= 0 || width+2 != ansi.StringWidth(beside) || width+2 != ansi.StringWidthWc(beside) || len(cluster) > maxCluster {
			cluster = "?"
		}
		b.WriteString(cluster)
	}
	return b.String()
}

// LongestName is the part of a foreign name that is shown, in bytes. Names may have 64 KiB.
const LongestName = 200

// Shorten cuts a text of more than most bytes behind a whole character.
func Shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%s... (%d bytes)", s[:end], len(s))
}

// maxCluster limits the combining marks on one character, in bytes.
const maxCluster = 12
