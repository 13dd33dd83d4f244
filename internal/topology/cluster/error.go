package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// errors.Is finds these errors in an *Error if at least one node had the finding.
var (
	ErrUnreachable   = errors.New("unreachable")
	ErrNeedsPassword = errors.New("refuses the credentials")
	ErrNoPermission  = errors.New("refuses CLUSTER SLOTS")
	ErrNotCluster    = errors.New("is not in cluster mode")
	ErrRefused       = errors.New("has no usable map")
)

// Finding is the outcome of a query.
type Finding int

// Findings.
const (
	Unreachable   Finding = iota // no connection, or no reply in time
	NeedsPassword                // it requires credentials, or other ones
	NoPermission                 // the user may not call CLUSTER SLOTS
	NotCluster                   // it is not in cluster mode, or not a Redis server
	Refused                      // its answer is unusable
)

// String returns the finding in words.
func (f Finding) String() string {
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
	case NoPermission:
		return ErrNoPermission
	case NotCluster:
		return ErrNotCluster
	case Refused:
		return ErrRefused
	}
	return nil
}

// Cause is the finding at one node.
type Cause struct {
	Addr    string
	Finding Finding
	Detail  string
	Err     error // of a dial, a lookup or a connection; nil for an answer. It contains no secrets
}

// Error returns the node, the finding and the detail.
func (c *Cause) Error() string {
	text := c.Addr + " " + c.Finding.String()
	if c.Detail != "" {
		text += ": " + c.Detail
	}
	return text
}

// Is reports whether target is the error of the finding.
func (c *Cause) Is(target error) bool { return target != nil && target == c.Finding.err() }

// Unwrap returns Err.
func (c *Cause) Unwrap() error { return c.Err }

// Error states why slots have no owner, or why the map is unknown or cannot be refreshed.
type Error struct {
	Uncovered string   // slots without an owner, such as "0-99, 500"; empty if no usable map was returned
	Known     bool     // a map is in use
	Causes    []*Cause // the nodes queried last; empty if slots have no owner
}

// Error returns the report in one line.
func (e *Error) Error() string {
	if e.Uncovered != "" {
		return "slots " + e.Uncovered + " of the cluster have no owner"
	}
	text := "no node returns a map of the cluster"
	if e.Known {
		text = "no node returns a current map of the cluster"
	}
	causes := make([]string, len(e.Causes))
	for i, c := range e.Causes {
		causes[i] = c.Error()
	}
	if len(causes) == 0 {
		return text + ": no address is known"
	}
	return text + ": " + strings.Join(causes, "; ")
}

// Unwrap returns the causes, for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Causes))
	for i, c := range e.Causes {
		errs[i] = c
	}
	return errs
}

// causeOf classifies an error of a connection.
func causeOf(addr string, err error) *Cause {
	c := &Cause{Addr: addr, Err: topology.LocalError(err)}
	server, isServer := errors.AsType[*resp.ServerError](err)
	_, isProtocol := errors.AsType[*resp.ProtocolError](err)
	switch {
	case isServer:
		return refusal(addr, server, false)
	case isProtocol: // its reason quotes received bytes, which may contain anything
		c.Finding, c.Detail = NotCluster, "what it sends is not Redis' protocol"
	case errors.Is(err, resp.ErrTooLarge):
		c.Finding, c.Detail = NotCluster, "what it sends is too large"
	case err == nil:
		c.Detail = "connection closed"
	default:
		c.Detail = topology.Clip(err.Error())
	}
	return c
}

// refusal classifies an error reply. tls: the connection uses TLS.
func refusal(addr string, e *resp.ServerError, tls bool) *Cause {
	c := &Cause{Addr: addr, Finding: Refused, Detail: topology.Harmless(e.Error())}
	text := strings.ToLower(e.Message)
	switch {
	case e.Code == "NOAUTH" || e.Code == "WRONGPASS" || strings.Contains(text, "no password is set") || strings.Contains(text, "invalid password"):
		c.Finding = NeedsPassword
	case strings.Contains(text, "cluster support disabled") || unknownCommand(e):
		c.Finding, c.Detail = NotCluster, "use redis://"
		if tls {
			c.Detail = "use rediss://"
		}
	}
	return c
}

// unknownCommand reports whether the server does not know the command or subcommand.
func unknownCommand(e *resp.ServerError) bool {
	text := strings.ToLower(e.Message)
	return strings.HasPrefix(text, "unknown command") || strings.HasPrefix(text, "unknown subcommand")
}
