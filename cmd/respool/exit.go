package main

import "fmt"

// The exit codes of all commands. Success is 0. docs/operate.md describes them.
const (
	exitFindings = 1 // it looked at everything, and something needs attention
	exitFailed   = 2 // it could not do or judge everything, or the command line or a file is wrong
)

// exitHelp is the rule of the exit codes, in the tool's help.
const exitHelp = `Exit codes of all commands: 0 all is fine, 1 something needs attention (a finding of severity warn or
more, a plan that does not fit, a drill that failed), 2 a failure: wrong usage, a wrong file, or
something that could not be read or judged.`

// exitCode is an error that ends the tool with that code and prints nothing.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// exitOf returns the exit code of a printed report. incomplete: it could not read or judge everything. findings:
// something needs attention.
func exitOf(incomplete, findings bool) error {
	switch {
	case incomplete:
		return exitCode(exitFailed)
	case findings:
		return exitCode(exitFindings)
	}
	return nil
}
