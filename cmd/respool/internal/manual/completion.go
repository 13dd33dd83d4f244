package manual

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// Completion is the script that completes the commands and flags of a program in a shell: bash, zsh
// or fish. It is empty for other shells.
func Completion(app *kong.Application, shell string) string {
	var b strings.Builder
	switch shell {
	case "bash":
		writeBash(&b, app)
	case "zsh":
		writeZsh(&b, app)
	case "fish":
		writeFish(&b, app)
	}
	return b.String()
}

// all are the flags of a command and of the program.
func all(app *kong.Application, c *kong.Node) []*kong.Flag {
	list := flags(app.Node)
	if c != app.Node {
		list = append(list, flags(c)...)
	}
	return list
}

// values are the values of a flag or an argument, if it has only a few.
func values(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// isFile reports whether a flag names a file.
func isFile(f *kong.Flag) bool { return f.Tag.Type == "path" }

func writeBash(b *strings.Builder, app *kong.Application) {
	var names, top []string
	for _, c := range commands(app) {
		names = append(names, c.Name)
	}
	for _, f := range flags(app.Node) {
		top = append(top, "--"+f.Name)
	}
	fmt.Fprintf(b, `# bash completion for %[1]s

_%[1]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W '%[2]s' -- "$cur"))
		return
	fi
	case ${COMP_WORDS[1]} in
`, app.Name, strings.Join(append(names, top...), " "))
	for _, c := range commands(app) {
		fmt.Fprintf(b, "\t%s)\n\t\tcase $prev in\n", c.Name)
		var list []string
		for _, f := range all(app, c) {
			list = append(list, "--"+f.Name)
			if !takesValue(f) {
				continue
			}
			pattern := "--" + f.Name
			if f.Short != 0 {
				pattern += fmt.Sprintf(" | -%c", f.Short)
			}
			switch {
			case isFile(f):
				fmt.Fprintf(b, "\t\t%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", pattern)
			case len(values(f.Value)) > 0:
				fmt.Fprintf(b, "\t\t%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", pattern, strings.Join(values(f.Value), " "))
			default:
				fmt.Fprintf(b, "\t\t%s) return ;;\n", pattern)
			}
		}
		for _, a := range c.Positional {
			list = append(list, values(a)...)
		}
		fmt.Fprintf(b, "\t\tesac\n\t\twords='%s'\n\t\t;;\n", strings.Join(list, " "))
	}
	fmt.Fprintf(b, `	esac
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -o default -F _%[1]s %[1]s
`, app.Name)
}

func writeZsh(b *strings.Builder, app *kong.Application) {
	fmt.Fprintf(b, "#compdef %[1]s\n\n_%[1]s() {\n\tlocal -a commands=(\n", app.Name)
	for _, c := range commands(app) {
		fmt.Fprintf(b, "\t\t%s\n", quote(c.Name+":"+c.Help))
	}
	b.WriteString("\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tlocal command=$words[2]\n" +
		"\tshift words\n\t((CURRENT--))\n\tcase $command in\n")
	special := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`)
	for _, c := range commands(app) {
		fmt.Fprintf(b, "\t%s)\n\t\t_arguments -s", c.Name)
		for _, f := range all(app, c) {
			text := "[" + special.Replace(f.Help) + "]"
			if takesValue(f) {
				text = "=" + text + ":" + special.Replace(f.Name) + ":" + zshValue(isFile(f), values(f.Value))
			}
			fmt.Fprintf(b, " \\\n\t\t\t%s", quote("*--"+f.Name+text))
		}
		for _, a := range c.Positional {
			fmt.Fprintf(b, " \\\n\t\t\t%s", quote("*:"+special.Replace(a.Name)+":"+zshValue(true, values(a))))
		}
		b.WriteString("\n\t\t;;\n")
	}
	fmt.Fprintf(b, "\tesac\n}\n\nif [ \"$funcstack[1]\" = _%[1]s ]; then\n\t_%[1]s \"$@\"\nelse\n\tcompdef _%[1]s %[1]s\nfi\n", app.Name)
}

// zshValue is the action of zsh that completes a value.
func zshValue(file bool, values []string) string {
	switch {
	case len(values) > 0:
		return "(" + strings.Join(values, " ") + ")"
	case file:
		return "_files"
	}
	return " "
}

func writeFish(b *strings.Builder, app *kong.Application) {
	fmt.Fprintf(b, "# fish completion for %s\n", app.Name)
	line := func(condition, rest string) {
		fmt.Fprintf(b, "complete -c %s -n %s %s\n", app.Name, quote(condition), rest)
	}
	for _, c := range commands(app) {
		line("__fish_use_subcommand", "-f -a "+c.Name+" -d "+quoteFish(c.Help))
		seen := "__fish_seen_subcommand_from " + c.Name
		for _, f := range all(app, c) {
			text := "-l " + f.Name
			if f.Short != 0 {
				text += fmt.Sprintf(" -s %c", f.Short)
			}
			switch {
			case takesValue(f) && isFile(f):
				text += " -r -F"
			case takesValue(f) && len(values(f.Value)) > 0:
				text += " -x -a " + quoteFish(strings.Join(values(f.Value), " "))
			case takesValue(f):
				text += " -x"
			}
			line(seen, text+" -d "+quoteFish(f.Help))
		}
		for _, a := range c.Positional {
			if list := values(a); len(list) > 0 {
				line(seen, "-f -a "+quoteFish(strings.Join(list, " ")))
			}
		}
	}
}

// quote quotes a text for a POSIX shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// quoteFish quotes a text for fish.
func quoteFish(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
