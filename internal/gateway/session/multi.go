package session

import (
	"bytes"
	"strconv"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// multi is what has happened since MULTI. Nothing of it is known to a server before EXEC.
type multi struct {
	open   bool
	dirty  bool // EXEC will abort
	queued *transaction
}

// transaction is a MULTI with its commands, ready to be sent.
type transaction struct {
	raw     []byte // from MULTI on
	n       int    // commands in raw
	bytes   int    // of raw and own
	local   []localCommand
	selects int // SELECTs among the commands

	writes, involvesSubscribers bool // one of the commands does, or may
	unknown                     bool // nothing is known of one of them
}

// ownCommand is one that the session looks at again when EXEC has run: a SELECT, or one that
// it answers, for which a placeholder stands in the transaction.
type localCommand struct {
	index int
	raw   []byte
	info  *command.Info
	rule  *rule
}

var (
	rawMulti   = makeRequest("MULTI")
	rawExec    = makeRequest("EXEC")
	rawUnwatch = makeRequest("UNWATCH")
	rawPing    = makeRequest("PING")
	rawHello   = makeRequest("HELLO")
)

func (s *Session) multiCommand(request) Step {
	if s.multi.open {
		return failure("MULTI calls can not be nested")
	}
	s.multi = multi{open: true, queued: &transaction{}}
	return answer(replyOK)
}

// spoil makes the EXEC of an open transaction abort. What is queued is not needed any more.
func (s *Session) abortMulti() {
	if s.multi.open {
		s.multi.dirty, s.multi.queued = true, nil
	}
}

// enqueue keeps a command for EXEC.
func (s *Session) enqueue(r request) Step {
	if text := s.multiReason(r); text != "" {
		return s.reject(r, text)
	}
	if s.multi.dirty {
		return answer(replyQueued)
	}
	t, own := s.multi.queued, s.answersQueued(r)
	limit := s.cfg.QueueLimit
	if limit == 0 {
		limit = DefaultQueueLimit
	}
	if t.bytes += len(r.raw); t.bytes > limit {
		return s.reject(r, "respool: the transaction is larger than "+strconv.Itoa(limit)+" bytes")
	}
	if t.raw == nil {
		t.raw = append(make([]byte, 0, len(rawMulti)+len(r.raw)+len(rawExec)), rawMulti...)
	}
	raw := r.raw
	if r.info == infoSelect {
		t.selects++
	}
	if own || r.info == infoSelect {
		t.local = append(t.local, localCommand{t.n, bytes.Clone(r.raw), r.info, r.rule})
	}
	if own {
		raw = s.placeholder()
	}
	t.raw = append(t.raw, raw...)
	t.n++
	t.writes = t.writes || !own && writes(r.info)
	t.unknown = t.unknown || r.unknown
	t.involvesSubscribers = t.involvesSubscribers || involvesSubscribers(r.info)
	return answer(replyQueued)
}

// placeholder stands in a transaction for what the session answers. HELLO takes no right.
func (s *Session) placeholder() []byte {
	if s.serverDecides {
		return rawHello
	}
	return rawPing
}

// ownWord is whether the session answers a queued command.
func (s *Session) answersQueued(r request) bool {
	if r.rule == nil || r.rule.multi != multiLocal {
		return false
	}
	tracked := r.info == infoGetRedir || r.info == infoTrackingInfo
	return !tracked || s.pins&pinTracking == 0
}

var (
	infoGetRedir     = command.LookupSub("CLIENT", "GETREDIR")
	infoTrackingInfo = command.LookupSub("CLIENT", "TRACKINGINFO")
	infoHello        = command.Lookup("HELLO")
)

// notInMulti refuses what would change the conn under a transaction.
func (s *Session) multiReason(r request) string {
	refused := r.rule != nil && r.rule.multi == multiRefuse
	if r.info == infoHello {
		refused = changesIdentity(r.args, s.identity.Proto)
	}
	if refused {
		return "respool: " + r.info.Name + " is not possible inside MULTI"
	}
	return ""
}

// endMulti ends the transaction with a reply of the session's own. Watched keys have to be
// forgotten on their conn.
func (s *Session) endMulti(reply []byte) Step {
	s.multi = multi{}
	return s.clearWatch(reply)
}

func (s *Session) discard(request) Step {
	if !s.multi.open {
		return failure("DISCARD without MULTI")
	}
	return s.endMulti(replyOK)
}

func (s *Session) exec(r request) Step {
	t := s.multi.queued
	switch {
	case !s.multi.open:
		return failure("EXEC without MULTI")
	case s.multi.dirty:
		return s.endMulti(resp.AppendError(nil, "-EXECABORT Transaction discarded because of previous errors."))
	case s.watchLost:
		return s.endMulti(s.nullArray())
	case t.n == 0 && s.pins == 0:
		return s.endMulti(replyEmpty)
	}
	s.multi = multi{}
	if t.raw == nil {
		t.raw = append(t.raw, rawMulti...)
	}
	t.raw = append(t.raw, r.raw...)
	s.tainted = s.tainted || (t.selects > 0 || t.unknown) && s.pins != 0
	step := Step{
		Kind: Transaction, Raw: t.raw, Replies: t.n + 2, transaction: t,
		OnPin: s.pins != 0, Barrier: s.pins != 0 || len(t.local) > 0 || t.unknown, Restore: t.unknown && s.pins == 0,
		onDone: (*Session).executed,
	}
	if t.selects > 0 && s.pins == 0 {
		step.Kind = Dedicated // a user may have the right to leave a database and not to come back
	}
	return step
}

// executed finds the client's reply among those to MULTI, each command and EXEC.
func (s *Session) executed(step *Step, frames [][]byte) Outcome {
	out := Outcome{Reply: s.execReply(step.transaction, frames)}
	if step.OnPin {
		out.Release = s.endWatch()
	}
	return out
}

func (s *Session) execReply(t *transaction, frames [][]byte) []byte {
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
	return s.withLocalReplies(t, elements)
}

// withOwnWords puts the session's own replies where others stood for them.
func (s *Session) withLocalReplies(t *transaction, elements [][]byte) []byte {
	for _, own := range t.local {
		args := split(own.raw)
		if own.info != infoSelect {
			r := request{raw: own.raw, args: args, info: own.info, class: own.info.Class, rule: own.rule}
			elements[own.index] = own.rule.run(s, r).Reply
		}
	}
	s.identity.DB = t.selected(s.identity.DB, elements)
	return append(resp.AppendArrayHeader(nil, len(elements)), bytes.Join(elements, nil)...)
}

// selected is the database after EXEC that began in one.
func (t *transaction) selected(db int, elements [][]byte) int {
	for _, own := range t.local {
		if own.info != infoSelect || isError(elements[own.index]) {
			continue
		}
		if to, text := parseDB(split(own.raw)[1]); text == "" {
			db = to
		}
	}
	return db
}

// database is selected for all replies to the transaction, if they tell.
func (t *transaction) database(db int, frames [][]byte) (after int, known bool) {
	last := frames[len(frames)-1]
	if isError(frames[0]) {
		return 0, false // the commands ran one by one
	}
	elements, err := resp.Elements(last)
	if isError(last) || err != nil || len(elements) < t.n {
		return db, true // none ran
	}
	return t.selected(db, elements), true
}

// split takes a request in canonical form apart.
func split(raw []byte) [][]byte {
	args, err := resp.Elements(raw)
	if err != nil {
		panic("session: a queued request is no array: " + err.Error())
	}
	for i := range args {
		args[i], _ = resp.StringOf(args[i])
	}
	return args
}
