package session

import (
	"math"

	"github.com/seed-2b0d76a6/respool/resp"
)

func (s *Session) ping(r request) Step {
	switch {
	case len(r.args) > 2:
		return failure("wrong number of arguments for 'ping' command")
	case s.subscriberMode():
		reply := resp.AppendBulkString(resp.AppendArrayHeader(nil, 2), "pong")
		if len(r.args) == 1 {
			return answer(resp.AppendBulk(reply, nil))
		}
		return answer(resp.AppendBulk(reply, r.args[1]))
	case s.pin.held(), s.serverDecides:
		return s.pin.forward(r) // on the session's connection the reply comes after earlier pushes
	case len(r.args) == 1:
		return answer(replyPong)
	}
	return answer(bulk(r.args[1]))
}

func (s *Session) echo(r request) Step {
	if s.pin.held() || s.serverDecides {
		return s.pin.forward(r)
	}
	return answer(bulk(r.args[1]))
}

func (s *Session) quit(request) Step {
	return Step{Kind: Close, Reply: replyOK, Topics: s.subscriptions.all()}
}

// reset handles RESET. Like a server, it keeps the library of CLIENT SETINFO.
func (s *Session) reset(request) Step {
	step := Step{Barrier: true, Reset: true, Reply: replyReset, Release: s.releaseAll("RESET")}
	s.clear()
	return step
}

// clusterMode answers READONLY, READWRITE and ASKING. They do not affect the routing of the gateway.
func (s *Session) clusterMode(r request) Step {
	if !s.cfg.ClusterFace && !s.cfg.greeting().acceptsClusterMode(r.info.Name) {
		return failure(clusterDisabled)
	}
	switch r.info.Name {
	case "READONLY":
		s.readOnly = true
	case "READWRITE":
		s.readOnly = false
	}
	return answer(replyOK)
}

func (s *Session) selectDB(r request) Step {
	db, text := parseDB(r.args[1])
	switch {
	case text != "":
		return failure(text)
	case s.cfg.Cluster && db != 0 && s.cfg.Databases <= 1:
		return failure("SELECT is not allowed in cluster mode")
	case db < 0 || s.cfg.Databases > 0 && db >= s.cfg.Databases:
		return failure("DB index is out of range")
	case s.pin.held():
		s.pin.taint(true)
		return Step{Kind: Pinned, OnPin: true, Barrier: true, Replies: 1, Raw: r.raw, Info: r.info, db: db, onDone: (*Session).selected}
	case db == s.identity.DB && s.serverDecides:
		return s.pin.forward(r)
	case db == s.identity.DB:
		return answer(replyOK)
	case s.cfg.Databases == 0, s.serverDecides:
		return Step{Kind: Dedicated, Barrier: true, Replies: 1, Raw: r.raw, Info: r.info, db: db, onDone: (*Session).selected}
	}
	s.identity.DB = db
	return Step{Barrier: true, Reply: replyOK}
}

func (s *Session) selected(step *Step, frames [][]byte) Outcome {
	if !isError(frames[0]) {
		s.identity.DB = step.db
	}
	return Outcome{Reply: frames[0]}
}

// Database returns the database of the connection of a Dedicated after its commands, from their replies. known is false
// if the replies do not show it.
func (st *Step) Database(frames [][]byte) (db int, known bool) {
	switch {
	case st.transaction != nil:
		return st.transaction.database(st.Identity.DB, frames)
	case st.Info == infoSelect && !isError(frames[0]):
		return st.db, true
	}
	return st.Identity.DB, true
}

func parseDB(b []byte) (db int, text string) {
	n, ok := parseInt(b)
	switch {
	case !ok:
		return 0, "value is not an integer or out of range"
	case n < math.MinInt32 || n > math.MaxInt32:
		return 0, "value is out of range, value must between -2147483648 and 2147483647"
	}
	return int(n), ""
}
