// Package manual writes the manual page and the completion scripts of shells from the model of a
// command line. It parses no arguments. It starts no goroutines.
package manual

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// Page is the manual page of a program, for section 1.
func Page(app *kong.Application, version string) string {
	var b strings.Builder
	name := app.Name
	fmt.Fprintf(&b, ".TH %s 1 \"\" %s\n", roffWord(strings.ToUpper(name)), roffWord(name+" "+version))
	summary, more, _ := strings.Cut(app.Help, "\n\n")
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(strings.TrimSuffix(summary, ".")))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I command\n[\\fIflags\\fR]\n", roff(name))
	b.WriteString(".SH DESCRIPTION\n")
	verbatim(&b, more)
	b.WriteString(".SH FLAGS\n")
	writeFlags(&b, app.Node)
	b.WriteString(".SH COMMANDS\n")
	for _, c := range commands(app) {
		writeCommand(&b, c)
	}
	return b.String()
}

// commands are the visible commands.
func commands(app *kong.Application) (list []*kong.Node) {
	for _, c := range app.Children {
		if !c.Hidden {
			list = append(list, c)
		}
	}
	return list
}

// flags are the visible flags of a node itself.
func flags(n *kong.Node) (list []*kong.Flag) {
	for _, f := range n.Flags {
		if !f.Hidden {
			list = append(list, f)
		}
	}
	return list
}

func writeCommand(b *strings.Builder, c *kong.Node) {
	fmt.Fprintf(b, ".SS %s\n%s\n", roffWord(c.FullPath()+arguments(c)), roff(c.Help))
	for _, a := range c.Positional {
		fmt.Fprintf(b, ".TP\n.I %s\n%s\n", roff(a.Name), roff(a.Help))
	}
	writeFlags(b, c)
	if c.Detail != "" {
		b.WriteString(".PP\n")
		verbatim(b, c.Detail)
	}
}

// arguments shows the positional arguments of a command.
func arguments(c *kong.Node) string {
	text := ""
	for _, a := range c.Positional {
		text += " " + a.Summary()
	}
	return text
}

func writeFlags(b *strings.Builder, n *kong.Node) {
	for _, f := range flags(n) {
		b.WriteString(".TP\n")
		if f.Short != 0 {
			fmt.Fprintf(b, "\\fB\\-%c\\fR, ", f.Short)
		}
		fmt.Fprintf(b, "\\fB%s\\fR", roff("--"+f.Name))
		if takesValue(f) {
			fmt.Fprintf(b, "=\\fI%s\\fR", roff(placeholder(f)))
		}
		fmt.Fprintf(b, "\n%s\n", roff(f.Help))
	}
}

// takesValue reports whether a flag has a value on the command line.
func takesValue(f *kong.Flag) bool { return !f.IsBool() && !f.IsCounter() }

func placeholder(f *kong.Flag) string {
	if f.PlaceHolder != "" {
		return f.PlaceHolder
	}
	return strings.ToUpper(f.Name)
}

// verbatim writes text with its line breaks.
func verbatim(b *strings.Builder, text string) {
	b.WriteString(".nf\n")
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		b.WriteString(roff(strings.TrimSuffix(line, "\n")) + "\n")
	}
	b.WriteString(".fi\n")
}

// roff escapes a line of text.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// roffWord escapes an argument of a macro.
func roffWord(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }
