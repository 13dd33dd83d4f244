package session

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// multi is the state since MULTI. The server learns nothing of the transaction before EXEC.
type multi struct {
	open   bool
	dirty  bool // EXEC will abort
	queued *transaction
}

var (
	rawMulti   = makeRequest("MULTI")
	rawExec    = makeRequest("EXEC")
	rawUnwatch = makeRequest("UNWATCH")
	rawPing    = makeRequest("PING")
	rawHello   = makeRequest("HELLO")
)

// begin handles MULTI.
func (m *multi) begin(request) Step {
	if m.open {
		return failure("MULTI calls can not be nested")
	}
	*m = multi{open: true, queued: &transaction{slot: command.NoSlot}}
	return answer(replyOK)
}

// abort makes the EXEC of an open transaction fail, and drops the queued commands.
func (m *multi) abort() {
	if m.open {
		m.dirty, m.queued = true, nil
	}
}

// Queued returns the encoded commands of an open transaction, and their number. open is false if there is none.
func (s *Session) Queued() (commands []byte, n int, open bool) {
	if t := s.multi.queued; t != nil && t.raw != nil {
		commands, n = t.raw[len(rawMulti):], t.n
	}
	return commands, n, s.multi.open
}

// queueInfo returns the number of queued commands, or -1 without MULTI, and their size in bytes, for CLIENT LIST.
func (m *multi) queueInfo() (commands, bytes int) {
	switch {
	case !m.open:
		return -1, 0
	case m.queued == nil:
		return 0, 0
	}
	return m.queued.n, m.queued.bytes
}

// enqueue queues a command for EXEC.
func (s *Session) enqueue(r request) Step {
	if refusedInMulti(r, s.identity.Proto) {
		return s.reject(r, "respool: "+r.info.Name+" is not possible inside MULTI")
	}
	if s.multi.dirty {
		return answer(replyQueued)
	}
	t, limit := s.multi.queued, cmp.Or(s.cfg.QueueLimit, DefaultQueueLimit)
	if t.bytes += len(r.raw); t.bytes > limit {
		return s.reject(r, "respool: the transaction is larger than "+strconv.Itoa(limit)+" bytes")
	}
	if s.cfg.Cluster {
		if text := t.slotReason(r); text != "" {
			return s.reject(r, text)
		}
	}
	placeholder := rawPing
	if s.serverDecides {
		placeholder = rawHello // it needs no permission
	}
	t.add(r, answersQueued(r, s.pin.tracking()) && s.cfg.answersForCluster(r.info), placeholder)
	return answer(replyQueued)
}

// answersQueued reports whether the session answers a queued command.
func answersQueued(r request, tracking bool) bool {
	if r.rule == nil || r.rule.multi != multiLocal {
		return false
	}
	tracked := r.info == infoGetRedir || r.info == infoTrackingInfo
	return !tracked || !tracking
}

var (
	infoGetRedir     = command.LookupSub("CLIENT", "GETREDIR")
	infoTrackingInfo = command.LookupSub("CLIENT", "TRACKINGINFO")
	infoHello        = command.Lookup("HELLO")
)

// refusedInMulti reports whether a command would change the connection during a transaction.
func refusedInMulti(r request, proto int) bool {
	if r.info == infoHello {
		return changesIdentity(r.args, proto)
	}
	return r.rule != nil && r.rule.multi == multiRefuse
}

// endMulti ends the transaction without EXEC on the server. The step unwatches all keys.
func (s *Session) endMulti(reply []byte) Step {
	s.multi = multi{}
	return s.pin.clearWatch(reply)
}

func (s *Session) watch(r request) Step {
	if s.multi.open {
		return failure("WATCH inside MULTI is not allowed")
	}
	if s.cfg.Cluster {
		return s.watchOnCluster(r)
	}
	return s.pin.forwardPinning(r, pinWatch)
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
	case s.crossesSlots(t):
		return s.endMulti(resp.AppendError(nil, crossSlot))
	case s.pin.watchLost:
		return s.endMulti(s.protocol().nullArray())
	case t.n == 0 && !s.pin.held():
		return s.endMulti(replyEmpty)
	}
	s.multi = multi{}
	pinned := s.pin.held()
	s.pin.taint(t.selects > 0 || t.unknown)
	step := Step{
		Kind: Transaction, Raw: t.request(r.raw), Replies: t.n + 2, transaction: t,
		OnPin: pinned, Barrier: pinned || len(t.local) > 0 || t.unknown, Restore: t.unknown && !pinned,
		onDone: (*Session).executed,
	}
	if t.selects > 0 && !pinned {
		step.Kind = Dedicated // a user may have the permission to leave a database and not to return to it
	}
	return step
}

// executed handles the replies to MULTI, each command and EXEC.
func (s *Session) executed(step *Step, frames [][]byte) Outcome {
	out := Outcome{}
	if s.cfg.Cluster && step.OnPin && redirects(frames) {
		out.Reply = s.protocol().nullArray() // the watched keys have moved: they may have changed
	} else {
		out.Reply = step.transaction.reply(s, frames)
	}
	if step.OnPin {
		out.Release = s.pin.endWatch()
	}
	return out
}

// reject returns a step with an error reply. It aborts an open transaction. A rejected EXEC ends the transaction.
func (s *Session) reject(r request, text string) Step {
	if r.info != nil && r.info == infoExec {
		return s.endMulti(resp.AppendError(nil, "-EXECABORT Transaction discarded because of: "+strings.TrimPrefix(text, "-")))
	}
	s.multi.abort()
	return failure(text)
}
