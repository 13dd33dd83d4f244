package session

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// QueryOp is the operation of a ClientCommand step.
type QueryOp uint8

const (
	// QueryInfo returns the session's own line of AppendInfo, through [Session.Text].
	QueryInfo QueryOp = iota
	// QueryList returns the lines of all matching sessions as one text.
	QueryList
	// QueryKill closes the matching clients and returns their number. With OldForm it returns OK, or an error if no
	// client matches.
	QueryKill
	// QueryUnblock ends the blocking command of the session with the ID and returns 1, or 0 if there is no such
	// command.
	QueryUnblock
	// QueryPause holds back the commands of all sessions for Duration and returns OK.
	QueryPause
	// QueryUnpause ends the pause and returns OK.
	QueryUnpause
)

func (op QueryOp) String() string {
	return [...]string{"info", "list", "kill", "unblock", "pause", "unpause"}[op]
}

// Query is the request of a ClientCommand step. A session matches if it matches all filters that are set.
type Query struct {
	Op        QueryOp
	IDs       []int64
	Type      string // normal, master, replica or pubsub
	User      string
	Addr      string
	LocalAddr string
	// MinAge is the least age of the connection: the MAXAGE of CLIENT KILL.
	MinAge time.Duration
	// SkipMe excludes the session that sent the command, for QueryKill.
	SkipMe bool
	// OldForm is true for CLIENT KILL with only an address.
	OldForm bool
	// WithError ends the command with an error instead of its timeout reply, for QueryUnblock.
	WithError bool
	// OnlyWrites holds back only commands that may write, for QueryPause.
	OnlyWrites bool
	// Duration is the length of the pause, for QueryPause.
	Duration time.Duration
}

func clientCommand(q Query) Step { return Step{Kind: ClientCommand, Barrier: true, Query: &q} }

func clientInfo(request) Step { return clientCommand(Query{Op: QueryInfo}) }

func clientUnpause(request) Step { return clientCommand(Query{Op: QueryUnpause}) }

func clientList(r request) Step {
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

func clientKill(r request) Step {
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

// filter adds one filter of CLIENT KILL. text is the error, if there is one.
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

// wrongArgumentCount returns a server's error text for a subcommand with too many arguments.
func wrongArgumentCount(r request) string {
	return fmt.Sprintf("unknown subcommand or wrong number of arguments for '%s'. Try CLIENT HELP.", cString(r.args[1], 128))
}

func clientUnblock(r request) Step {
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

func clientPause(r request) Step {
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
