package sentinel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// errors.Is finds these errors in an *Error if at least one sentinel had the finding.
var (
	ErrUnreachable   = errors.New("unreachable")
	ErrNeedsPassword = errors.New("refuses the credentials")
	ErrUnknownName   = errors.New("does not know the service")
	ErrNotSentinel   = errors.New("is no sentinel")
	ErrRefused       = errors.New("has no usable primary")
)

// Finding is the outcome of the last attempt at a sentinel.
type Finding int

// Findings.
const (
	Untried       Finding = iota // no outcome yet
	Usable                       // it names a plausible primary
	Unreachable                  // no connection, or no reply in time
	NeedsPassword                // it requires credentials, or other ones
	UnknownName                  // it monitors no service of that name
	NotSentinel                  // another kind of server, such as plain Redis
	Refused                      // its answer is unusable
)

// String returns the finding in words.
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

// Cause is the finding at one sentinel.
type Cause struct {
	Sentinel string
	Finding  Finding
	Detail   string // its answer, or that of its primary; may be empty
	Err      error  // of a dial or a connection; nil for an answer. It contains no secrets
}

// Error returns the sentinel, the finding and the detail.
func (c *Cause) Error() string {
	text := c.Sentinel + " " + c.Finding.String()
	if c.Detail != "" {
		text += ": " + c.Detail
	}
	return text
}

// Is reports whether target is the error of the finding.
func (c *Cause) Is(target error) bool { return target != nil && target == c.Finding.err() }

// Unwrap returns Err.
func (c *Cause) Unwrap() error { return c.Err }

// Error states why no primary of a service is known, with the finding at each sentinel.
type Error struct {
	Name   string // of the service
	Reason string // why the machine abandoned the previous primary; empty if there was none
	Causes []*Cause
}

// Error returns the report in one line.
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

// Unwrap returns the causes, for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Causes))
	for i, c := range e.Causes {
		errs[i] = c
	}
	return errs
}

// findingOf classifies an error of a connection or a server.
func findingOf(err error) (Finding, string) {
	if server, ok := errors.AsType[*resp.ServerError](err); ok {
		return findingOfReply(server), topology.Harmless(server.Error())
	}
	if protocol, ok := errors.AsType[*resp.ProtocolError](err); ok {
		_ = protocol // its reason quotes received bytes, which may contain anything
		return NotSentinel, "what it sends is not Redis' protocol"
	}
	if errors.Is(err, resp.ErrTooLarge) {
		return NotSentinel, "what it sends is too large"
	}
	if err == nil {
		return Unreachable, "connection closed"
	}
	return Unreachable, topology.Clip(err.Error())
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
