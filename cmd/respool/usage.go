package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// decodeDuration decodes a flag that is a duration.
func decodeDuration(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration: want a number with a unit, such as 500ms, 10s or 2h", text)
	}
	target.Set(reflect.ValueOf(d))
	return nil
}

var (
	isFlag           = regexp.MustCompile(`^--[a-z-]+$`)
	isNegativeNumber = regexp.MustCompile(`^-[0-9.]`)
)

// joinNegative writes a negative number after a flag as --flag=-1, so that it is the flag's value and not another flag.
func joinNegative(args []string) []string {
	var joined []string
	for _, arg := range args {
		if last := len(joined) - 1; last >= 0 && isFlag.MatchString(joined[last]) && isNegativeNumber.MatchString(arg) {
			joined[last] += "=" + arg
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}

// usage explains an error of the command line, with an example of the command if it is known.
func usage(err error) string {
	command, example := "respool", ""
	if pe, ok := errors.AsType[*kong.ParseError](err); ok && pe.Context != nil && pe.Context.Selected() != nil {
		selected := pe.Context.Selected()
		command += " " + selected.Name
		_, examples, _ := strings.Cut(selected.Detail, "Examples:\n")
		example, _, _ = strings.Cut(strings.TrimSpace(examples), "\n")
	}
	text := message(err) + "\nTry: " + command + " --help"
	if example != "" {
		text += ", for example " + example
	}
	return text
}
