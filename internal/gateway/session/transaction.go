package session

import (
	"bytes"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// transaction holds the commands of a MULTI in the form in which they are sent.
type transaction struct {
	raw     []byte // MULTI and the commands
	n       int    // number of commands in raw
	bytes   int    // size of all commands as the client sent them
	local   []localCommand
	selects int // number of SELECTs

	writes, involvesSubscribers bool // of at least one of the commands
	unknown                     bool // the effect of at least one command is unknown

	// In a cluster:
	slot      int  // of the keys; command.NoSlot: there are none
	crossSlot bool // the keys lie in several slots
}

// localCommand is a command that the session handles after EXEC: a SELECT, or a command that the session answers. The
// transaction contains a placeholder for the latter.
type localCommand struct {
	index int
	raw   []byte
	info  *command.Info
	rule  *rule
}

// add queues a command, or the placeholder if the session answers the command (local).
func (t *transaction) add(r request, local bool, placeholder []byte) {
	if t.raw == nil {
		t.raw = append(make([]byte, 0, len(rawMulti)+len(r.raw)+len(rawExec)), rawMulti...)
	}
	raw := r.raw
	if r.info == infoSelect {
		t.selects++
	}
	if local || r.info == infoSelect {
		t.local = append(t.local, localCommand{t.n, bytes.Clone(r.raw), r.info, r.rule})
	}
	if local {
		raw = placeholder
	}
	t.raw = append(t.raw, raw...)
	t.n++
	t.writes = t.writes || !local && writes(r.info)
	t.unknown = t.unknown || r.unknown
	t.involvesSubscribers = t.involvesSubscribers || involvesSubscribers(r.info)
}

// request returns the complete transaction. exec is the client's EXEC.
func (t *transaction) request(exec []byte) []byte {
	if t.raw == nil {
		t.raw = append(t.raw, rawMulti...)
	}
	t.raw = append(t.raw, exec...)
	return t.raw
}

// reply returns the client's reply, from the replies to MULTI, each command and EXEC.
func (t *transaction) reply(s *Session, frames [][]byte) []byte {
	last := frames[len(frames)-1]
	if text, failed := errorText(frames[0]); failed {
		return resp.AppendError(nil, "respool: the server refused MULTI, so the commands ran one by one: "+text)
	}
	if isError(last) {
		for _, frame := range frames[1 : len(frames)-1] {
			if text, failed := errorText(frame); failed {
				return resp.AppendError(nil, "-EXECABORT Transaction discarded because of: "+text)
			}
		}
		return last
	}
	if len(t.local) == 0 {
		return last
	}
	elements, err := resp.Elements(last)
	if err != nil || len(elements) < t.n {
		return last // a watched key has changed
	}
	return t.withLocalReplies(s, elements)
}

// withLocalReplies replaces the replies to the placeholders by the session's replies.
func (t *transaction) withLocalReplies(s *Session, elements [][]byte) []byte {
	for _, local := range t.local {
		args := split(local.raw)
		if local.info != infoSelect {
			r := request{raw: local.raw, args: args, info: local.info, class: local.info.Class, rule: local.rule}
			elements[local.index] = local.rule.run(s, r).Reply
		}
	}
	s.identity.DB = t.selected(s.identity.DB, elements)
	return append(resp.AppendArrayHeader(nil, len(elements)), bytes.Join(elements, nil)...)
}

// selected returns the database after EXEC. db is the database before it.
func (t *transaction) selected(db int, elements [][]byte) int {
	for _, local := range t.local {
		if local.info != infoSelect || isError(elements[local.index]) {
			continue
		}
		if to, text := parseDB(split(local.raw)[1]); text == "" {
			db = to
		}
	}
	return db
}

// database returns the database of the connection after the transaction, from all its replies. known is false if the
// replies do not show it. db is the database before it.
func (t *transaction) database(db int, frames [][]byte) (after int, known bool) {
	last := frames[len(frames)-1]
	if isError(frames[0]) {
		return 0, false // the commands ran one by one
	}
	elements, err := resp.Elements(last)
	if isError(last) || err != nil || len(elements) < t.n {
		return db, true // no command ran
	}
	return t.selected(db, elements), true
}

// split returns the arguments of a request in canonical form.
func split(raw []byte) [][]byte {
	args, err := resp.Elements(raw)
	if err != nil {
		panic("session: a queued request is not an array: " + err.Error())
	}
	for i := range args {
		args[i], _ = resp.StringOf(args[i])
	}
	return args
}
