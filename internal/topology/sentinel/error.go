package sentinel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// What errors.Is finds in an *Error when at least one sentinel was found so.
var (
	ErrUnreachable   = errors.New("unreachable")
	ErrNeedsPassword = errors.New("refuses the credentials")
	ErrUnknownName   = errors.New("does not know the service")
	ErrNotSentinel   = errors.New("is no sentinel")
	ErrRefused       = errors.New("has no usable primary")
)

// Finding is how a sentinel was found when it was tried last.
type Finding int

// Findings.
const (
	Untried       Finding = iota // no outcome yet
	Usable                       // it names a primary that may be one
	Unreachable                  // no connection, or no answer in time
	NeedsPassword                // it wants credentials, or other ones
	UnknownName                  // it watches no service of that name
	NotSentinel                  // something else answers there, such as a plain Redis server
	Refused                      // it answers, but what it says can't be used
)

// String gives the finding in words.
func (f Finding) String() string {
	switch f {
	case Untried:
		return "no answer yet"
	case Usable:
		return "names a primary"
	}
	if err := f.err(); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("finding %d", int(f))
}

func (f Finding) err() error {
	switch f {
	case Unreachable:
		return ErrUnreachable
	case NeedsPassword:
		return ErrNeedsPassword
	case UnknownName:
		return ErrUnknownName
	case NotSentinel:
		return ErrNotSentinel
	case Refused:
		return ErrRefused
	}
	return nil
}

// Cause is what was found at one sentinel.
type Cause struct {
	Sentinel string
	Finding  Finding
	Detail   string // what it said, or what its primary said; may be empty
	Err      error  // of a dial or a connection; nil for what was said. Secrets are cut out
}

// Error gives the sentinel, the finding and the detail.
func (c *Cause) Error() string {
	text := c.Sentinel + " " + c.Finding.String()
	if c.Detail != "" {
		text += ": " + c.Detail
	}
	return text
}

// Is reports whether target is the error of the finding.
func (c *Cause) Is(target error) bool { return target != nil && target == c.Finding.err() }

// Unwrap gives Err.
func (c *Cause) Unwrap() error { return c.Err }

// Error says why no primary of a service is known: what each sentinel said when it
// was tried last.
type Error struct {
	Name   string // of the service
	Reason string // why the primary before was given up; empty if there was none
	Causes []*Cause
}

// Error gives the whole report in one line.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "no primary of service %q is known", e.Name)
	if e.Reason != "" {
		text.WriteString(" since " + e.Reason)
	}
	for i, c := range e.Causes {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		text.WriteString(sep + c.Error())
	}
	if len(e.Causes) == 0 {
		text.WriteString(": no sentinel is configured")
	}
	return text.String()
}

// Unwrap gives the causes, so that errors.Is and errors.As look into them.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Causes))
	for i, c := range e.Causes {
		errs[i] = c
	}
	return errs
}

// findingOf judges an error of a connection or of the server.
func findingOf(err error) (Finding, string) {
	if server, ok := errors.AsType[*resp.ServerError](err); ok {
		return findingOfReply(server), harmless(server.Error())
	}
	if protocol, ok := errors.AsType[*resp.ProtocolError](err); ok {
		_ = protocol // its reason quotes what was received, which may be anything
		return NotSentinel, "what it sends is not Redis' protocol"
	}
	if errors.Is(err, resp.ErrTooLarge) {
		return NotSentinel, "what it sends is too large"
	}
	if err == nil {
		return Unreachable, "connection closed"
	}
	return Unreachable, clip(err.Error())
}

func findingOfReply(e *resp.ServerError) Finding {
	text := strings.ToLower(e.Message)
	switch {
	case e.Code == "NOAUTH" || e.Code == "WRONGPASS" || e.Code == "NOPERM":
		return NeedsPassword
	case strings.Contains(text, "no password is set") || strings.Contains(text, "invalid password"):
		return NeedsPassword
	case strings.HasPrefix(text, "no such master"):
		return UnknownName
	case strings.HasPrefix(text, "unknown command") || strings.HasPrefix(text, "unknown sentinel subcommand") || strings.HasPrefix(text, "unknown subcommand"):
		return NotSentinel
	}
	return Refused
}

// harmless cuts a server's text before anything that it quotes: servers repeat
// the arguments of commands that they do not understand, AUTH included.
func harmless(text string) string {
	if i := strings.IndexAny(text, "'\"`"); i >= 0 {
		text = strings.TrimRight(text[:i], " ,:") + " ..."
	}
	return clip(text)
}

// clip bounds a text that somebody else wrote, and takes what would break a line out of it.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > 160 {
		text = strings.ToValidUTF8(text[:160], "") + "..."
	}
	return text
}

// keep gives what of an error may be kept: nothing of what a server wrote.
func keep(err error) error {
	if _, ok := errors.AsType[*resp.ServerError](err); ok {
		return nil
	}
	if _, ok := errors.AsType[*resp.ProtocolError](err); ok {
		return nil
	}
	return err
}
