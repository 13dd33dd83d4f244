package session

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// QueryOp says what a ClientCommand step asks for.
type QueryOp uint8

const (
	// QueryInfo asks for the session's own line, from AppendInfo, as [Session.Text] gives it.
	QueryInfo QueryOp = iota
	// QueryList asks for the lines of all sessions that match, as one text.
	QueryList
	// QueryKill disconnects the sessions that match and answers their number. With One set it
	// answers OK, or that there is no such client.
	QueryKill
	// QueryUnblock ends a blocking command of the session with the ID and answers 1, or 0 if
	// there is none.
	QueryUnblock
	// QueryPause holds the sessions' commands back for a time and answers OK.
	QueryPause
	// QueryUnpause ends a pause and answers OK.
	QueryUnpause
)

func (op QueryOp) String() string {
	return [...]string{"info", "list", "kill", "unblock", "pause", "unpause"}[op]
}

// Query is what a ClientCommand step asks for. Every filter that is set has to match.
type Query struct {
	Op        QueryOp
	IDs       []int64
	Type      string // normal, master, replica or pubsub
	User      string
	Addr      string
	LocalAddr string
	// MinAge is how long ago the sessions have connected, at least: what CLIENT KILL calls MAXAGE.
	MinAge time.Duration
	// SkipMe leaves the asking session out of Kill.
	SkipMe bool
	// One is the old form of CLIENT KILL, which names an address alone.
	OldForm bool
	// Fail, of Unblock, is whether the command fails rather than runs into its timeout.
	WithError bool
	// Writes, of Pause, leaves commands that write nothing alone.
	OnlyWrites bool
	// For is how long Pause lasts.
	Duration time.Duration
}

func clientCommand(q Query) Step { return Step{Kind: ClientCommand, Barrier: true, Query: &q} }

func (s *Session) clientInfo(request) Step { return clientCommand(Query{Op: QueryInfo}) }

func (s *Session) clientUnpause(request) Step { return clientCommand(Query{Op: QueryUnpause}) }

func (s *Session) clientList(r request) Step {
	q := Query{Op: QueryList}
	options := r.args[2:]
	switch {
	case len(options) == 0:
	case len(options) == 2 && equalFold(options[0], "type"):
		kind, text := parseType(options[1])
		if text != "" {
			return failure(text)
		}
		q.Type = kind
	case len(options) > 1 && equalFold(options[0], "id"):
		for _, arg := range options[1:] {
			id, ok := parseInt(arg)
			if !ok {
				return failure("Invalid client ID")
			}
			q.IDs = append(q.IDs, id)
		}
	default:
		return failure("syntax error")
	}
	return clientCommand(q)
}

func (s *Session) clientKill(r request) Step {
	if len(r.args) == 3 {
		return clientCommand(Query{Op: QueryKill, Addr: string(r.args[2]), OldForm: true})
	}
	q := Query{Op: QueryKill, SkipMe: true}
	options := r.args[2:]
	for len(options) > 0 {
		if len(options) == 1 {
			return failure("syntax error")
		}
		if text := q.filter(options[0], options[1]); text != "" {
			return failure(text)
		}
		more := equalFold(options[0], "id")
		for options = options[2:]; more && len(options) > 0; options = options[1:] {
			id, ok := parseInt(options[0])
			if !ok {
				break
			}
			if id < 1 {
				return failure(badClientID)
			}
			q.IDs = append(q.IDs, id)
		}
	}
	return clientCommand(q)
}

const badClientID = "client-id should be greater than 0"

// filter takes one filter of CLIENT KILL; text is the error, if there is one.
func (q *Query) filter(name, value []byte) (text string) {
	switch {
	case equalFold(name, "id"):
		id, ok := parseInt(value)
		if !ok || id < 1 {
			return badClientID
		}
		q.IDs = []int64{id}
	case equalFold(name, "maxage"):
		seconds, ok := parseInt(value)
		switch {
		case !ok:
			return "maxage is not an integer or out of range"
		case seconds < 1:
			return "maxage should be greater than 0"
		}
		q.MinAge = time.Duration(min(seconds, math.MaxInt64/int64(time.Second))) * time.Second
	case equalFold(name, "type"):
		q.Type, text = parseType(value)
	case equalFold(name, "addr"):
		q.Addr = string(value)
	case equalFold(name, "laddr"):
		q.LocalAddr = string(value)
	case equalFold(name, "user"):
		q.User = string(value)
	case equalFold(name, "skipme") && equalFold(value, "yes"):
		q.SkipMe = true
	case equalFold(name, "skipme") && equalFold(value, "no"):
		q.SkipMe = false
	default:
		return "syntax error"
	}
	return text
}

func parseType(b []byte) (kind, text string) {
	switch kind = strings.ToLower(string(b)); kind {
	case "normal", "master", "replica", "pubsub":
		return kind, ""
	case "slave":
		return "replica", ""
	}
	return "", fmt.Sprintf("Unknown client type '%s'", cString(b, len(b)))
}

// wrongForm is a server's text for a subcommand that is given too many arguments.
func wrongArgumentCount(r request) string {
	return fmt.Sprintf("unknown subcommand or wrong number of arguments for '%s'. Try CLIENT HELP.", cString(r.args[1], 128))
}

func (s *Session) clientUnblock(r request) Step {
	q := Query{Op: QueryUnblock}
	switch {
	case len(r.args) == 3:
	case len(r.args) == 4 && equalFold(r.args[3], "timeout"):
	case len(r.args) == 4 && equalFold(r.args[3], "error"):
		q.WithError = true
	case len(r.args) == 4:
		return failure("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
	default:
		return failure(wrongArgumentCount(r))
	}
	id, ok := parseInt(r.args[2])
	if !ok {
		return failure("value is not an integer or out of range")
	}
	q.IDs = []int64{id}
	return clientCommand(q)
}

func (s *Session) clientPause(r request) Step {
	q := Query{Op: QueryPause}
	switch {
	case len(r.args) == 3:
	case len(r.args) == 4 && equalFold(r.args[3], "write"):
		q.OnlyWrites = true
	case len(r.args) == 4 && equalFold(r.args[3], "all"):
	case len(r.args) == 4:
		return failure("CLIENT PAUSE mode must be WRITE or ALL")
	default:
		return failure(wrongArgumentCount(r))
	}
	ms, ok := parseInt(r.args[2])
	switch {
	case !ok:
		return failure("timeout is not an integer or out of range")
	case ms < 0:
		return failure("timeout is negative")
	}
	q.Duration = time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
	return clientCommand(q)
}
