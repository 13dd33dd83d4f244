// Package session holds the state of one client connection of the gateway: requests go
// in, steps come out. A [Session] answers commands that concern only the connection,
// with the words of redis-server, and says of everything else which kind of server
// connection it needs, what must have ended before it, and what it leaves behind.
//
// The package does no I/O and has no goroutines, no locks and no clock. It neither frames
// requests nor routes them: the gateway does, and drives the session. A session belongs
// to one goroutine at a time.
package session

import (
	"bytes"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// The limits of a Config that sets none.
const (
	DefaultQueueLimit = 16 << 20
	DefaultMaxTopics  = 10_000
)

// Config is what the gateway allows and what it says of itself. All sessions share one
// and none changes it.
type Config struct {
	// Admin lets through what belongs to the server's operator: CONFIG SET, DEBUG, CLIENT PAUSE.
	Admin bool
	// NeedAuth is whether a client has to name itself, by AUTH or HELLO, before anything else:
	// the default user has a password.
	NeedAuth bool
	// Password is whether AUTH with a password alone is verified although nobody has to name
	// himself: servers without a password refuse it.
	Password bool
	// OwnUser is the server's user as whom the gateway logs in with a password, or without one, that it cannot
	// change; empty if there is none. Clients may not change how it logs in.
	OwnUser string
	// Cluster is whether the servers are a cluster.
	Cluster bool
	// Greeting, if set, gives what the server last told of itself, or nil while that is not known.
	Greeting func() *Greeting
	// ServerVersion and Role are what HELLO tells; without a version it is the server's, without a Role master.
	ServerVersion string
	Role          string
	// Databases is the number of databases that SELECT may choose from. With 0 the
	// server is asked by each SELECT.
	Databases int
	// QueueLimit bounds the bytes that a transaction may queue, DefaultQueueLimit if 0.
	QueueLimit int
	// MaxTopics bounds the subscriptions of one client, DefaultMaxTopics if 0.
	MaxTopics int
	// WaitChannel is the channel of the PUBLISH that goes ahead of WAIT, respool:wait if empty.
	WaitChannel string
	// Lookup, if set, tells what is known of commands and subcommands that the command table lacks. The Info is
	// nil unless it is Learned. It must not keep args. Without it the server lacks them all.
	Lookup func(args [][]byte) (*command.Info, command.Known)
}

// Session is the state of one client connection. Its methods are not safe for
// concurrent use.
type Session struct {
	cfg  *Config
	id   int64
	addr string

	// plain is whether nothing but the command decides what becomes of a request.
	fastPath bool

	authenticated bool
	serverDecides bool // the server decides what the user may, also of what is answered here
	identity      Identity
	name          string
	lib           library
	last          *command.Info

	replyOff bool // CLIENT REPLY OFF
	skipThis bool // this request is not answered
	skipNext bool // nor will be the next one

	noEvict, noTouch, readOnly bool

	multi     multi
	pins      pins
	tainted   bool // the dedicated conn differs from a new one by more than WATCH
	watchLost bool // watched keys were forgotten: the next EXEC must fail
	broadcast bool // CLIENT TRACKING was asked for with BCAST
	monitor   bool
	ended     bool

	topics [topicKinds]topicSet
}

// library is what CLIENT SETINFO tells. RESET leaves it, as servers do.
type library struct{ name, version string }

// New makes the session of a client that has just connected. id is what CLIENT ID
// answers, addr the client's address.
func New(cfg *Config, id int64, addr string) *Session {
	s := &Session{cfg: cfg, id: id, addr: addr}
	s.clear()
	return s
}

// clear makes the session a new one.
func (s *Session) clear() {
	*s = Session{
		cfg: s.cfg, id: s.id, addr: s.addr, lib: s.lib, last: s.last,
		skipThis:      s.skipThis,
		authenticated: !s.cfg.NeedAuth, identity: Identity{User: DefaultUser, Proto: 2},
	}
	s.updateFastPath()
}

// settle finds out whether the fast way is open. It follows every change.
func (s *Session) updateFastPath() {
	s.fastPath = s.authenticated && !s.multi.open && s.pins == 0 && !s.monitor &&
		!s.replyOff && !s.skipThis && !s.skipNext && !s.subscriberMode()
}

// Refuse is Next for a request that the client may not make: text is the error.
func (s *Session) Refuse(raw []byte, args [][]byte, text string) Step {
	if len(args) == 0 {
		return Step{}
	}
	info, class := command.ClassifyBytes(args)
	s.skipThis, s.skipNext = s.skipNext, false
	step := s.reject(request{raw: raw, args: args, info: info, class: class}, text)
	step.Identity = s.identity
	if step.Silent = s.replyOff || s.skipThis; step.Silent {
		step.Reply = nil
	}
	s.skipThis = false
	s.updateFastPath()
	return step
}

// Reconfigure makes another configuration hold from the next request on.
func (s *Session) Reconfigure(cfg *Config) {
	s.cfg = cfg
	s.updateFastPath()
}

// LetServerDecide says whether the server decides what the user may: then it is asked to PING, to ECHO and to SELECT.
func (s *Session) LetServerDecide(asks bool) { s.serverDecides = asks }

// ID is the number that CLIENT ID answers.
func (s *Session) ID() int64 { return s.id }

// Addr is the client's address.
func (s *Session) Addr() string { return s.addr }

// Identity says which lanes and dedicated conns are the session's now.
func (s *Session) Identity() Identity { return s.identity }

// Name is what CLIENT SETNAME set.
func (s *Session) Name() string { return s.name }

// Authenticated is whether the client may send more than AUTH, HELLO, RESET and QUIT.
func (s *Session) Authenticated() bool { return s.authenticated }

// String describes the session for logs. It holds no secret and no data.
func (s *Session) String() string {
	return fmt.Sprintf("session %d of %s: user %q, db %d, RESP%d, flags %s",
		s.id, s.addr, s.identity.User, s.identity.DB, s.identity.Proto, s.flags(ConnInfo{}))
}

// request is one request on its way through the session.
type request struct {
	raw  []byte
	args [][]byte
	info *command.Info // nil for a command that nobody knows
	rule *rule         // nil for ordinary commands
	// class is the command's, given its arguments.
	class command.Class
	// unknown is whether nothing tells what the command, or the subcommand of info, does to its connection.
	unknown bool
	// absent is whether the server lacks it.
	notOnServer bool
	// learnt is whether the server was asked about it.
	learned bool
}

// Next takes one whole request and says what to do. args are its arguments and raw its
// canonical form, an array of bulk strings. Both are views: a step may refer to raw until
// it is done, args are used no longer than Next runs.
//
// The requests of a client come in their order, and none while the step before is a
// Barrier that is not done.
func (s *Session) Next(raw []byte, args [][]byte) Step {
	if len(args) == 0 {
		return Step{}
	}
	info, class := command.ClassifyBytes(args)
	if s.takesFastPath(args, info, class) {
		return Step{Kind: Multiplexed, Replies: 1, Raw: raw, Info: info, Identity: s.identity}
	}
	return s.next(request{raw: raw, args: args, info: info, class: class})
}

// NextMultiplexed is Next for most requests, at less cost: those whose step is Multiplexed, and that change nothing of the
// session's. It gives what is known of the command, and false for all others, about which Next is to be asked.
func (s *Session) NextMultiplexed(args [][]byte) (*command.Info, bool) {
	if len(args) == 0 {
		return nil, false
	}
	info, class := command.ClassifyBytes(args)
	return info, s.takesFastPath(args, info, class)
}

func (s *Session) takesFastPath(args [][]byte, info *command.Info, class command.Class) bool {
	if s.fastPath && class == command.Multiplexed && rules[info] == nil && !(info.Container() && len(args) > 1) {
		s.last = info
		return true
	}
	return false
}

// NextLearned is Next for a request whose step was to Learn, once that is done.
func (s *Session) NextLearned(raw []byte, args [][]byte) Step {
	if len(args) == 0 {
		return Step{}
	}
	info, class := command.ClassifyBytes(args)
	return s.next(request{raw: raw, args: args, info: info, class: class, learned: true})
}

// Learn is the step that asks the server what a request is.
func (s *Session) Learn(raw []byte) Step {
	return Step{Kind: Learn, Barrier: true, OnPin: s.pins != 0, Raw: raw, Identity: s.identity}
}

func (s *Session) next(r request) Step {
	if known := s.resolve(&r); known == command.NotAsked && !r.learned && s.authenticated {
		return s.Learn(r.raw)
	}
	s.skipThis, s.skipNext = s.skipNext, false
	if r.info != nil && !r.unknown {
		s.last = r.info
	}
	step := s.decide(r)
	step.Identity = s.identity
	if step.Silent = (s.replyOff || s.skipThis) && step.Kind != Unsubscribe; step.Silent {
		step.Reply = nil
	}
	s.skipThis = false
	s.updateFastPath()
	return step
}

// complete finds out what else is known about the command, and how much that is.
func (s *Session) resolve(r *request) (known command.Known) {
	r.unknown = r.info == nil || r.info.Container() && len(r.args) > 1
	if !r.unknown {
		r.rule = rules[r.info]
		return command.Learned
	}
	switch {
	case r.zeroInName():
		r.notOnServer = true
		return command.Absent
	case equalFold(r.args[0], "respool"):
		r.unknown, r.info, r.rule = false, consoleInfo, consoleRule
		return command.Learned
	}
	r.rule = rules[r.info] // the container's stands for subcommands that the table lacks
	if s.cfg.Lookup == nil || r.rule != nil && !s.mayLearn(r) {
		r.notOnServer = true
		return command.Absent
	}
	info, known := s.cfg.Lookup(r.args)
	if known == command.Learned {
		r.unknown, r.info, r.class = info.Class == command.Unknown, info, info.Class
	}
	r.notOnServer = known == command.Absent || known == command.NotAsked && !s.authenticated
	return known
}

// asksOf is whether the server is asked about subcommands of a container that has a rule: if they may be sent.
func (s *Session) mayLearn(r *request) bool {
	return !isClient(r.info) && r.rule.policy != noClient && (s.cfg.Admin || r.rule.policy == anyClient)
}

// misnamed is whether the name, or that of the subcommand, holds a zero byte. A server compares names up to there if
// they meet in its hash table, and so may carry out what has another name here.
func (r *request) zeroInName() bool {
	return hasZero(r.args[0]) || r.info != nil && r.info.Container() && hasZero(r.args[1])
}

func hasZero(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }

// decide says what becomes of a request, in the order of a server's checks.
func (s *Session) decide(r request) Step {
	if equalFold(r.args[0], "host:") || equalFold(r.args[0], "post") {
		return Step{Kind: Close} // an HTTP request that a browser was made to send
	}
	if text := s.denyReason(r); text != "" {
		return s.reject(r, text)
	}
	switch {
	case s.multi.open && (r.rule == nil || r.rule.multi != multiNow):
		return s.enqueue(r)
	case r.rule != nil && r.rule.run != nil:
		return r.rule.run(s, r)
	case r.unknown:
		return s.forwardAndRestore(r)
	case r.info.Answers() != command.Once:
		return s.forwardAndDestroy(r)
	case r.class == command.Blocking:
		return s.forwardBlocking(r)
	}
	return s.forward(r)
}

// share sends a command to a lane, or to the session's own conn if it holds one.
func (s *Session) forward(r request) Step {
	if s.pins != 0 {
		return Step{Kind: Pinned, OnPin: true, Replies: 1, Raw: r.raw, Info: r.info}
	}
	return Step{Kind: Multiplexed, Replies: 1, Raw: r.raw, Info: r.info}
}

// hold gives a command a conn of its own.
func (s *Session) forwardDedicated(r request) Step {
	step := s.forward(r)
	if !step.OnPin {
		step.Kind, step.Barrier = Dedicated, true
	}
	return step
}

// holdInAnyDB is hold for what a server answers while a script runs too long, when it selects no database.
func (s *Session) forwardInAnyDB(r request) Step {
	step := s.forwardDedicated(r)
	step.AnyDB = true
	return step
}

// block sends a command that the server may hold back.
func (s *Session) forwardBlocking(r request) Step {
	step := s.forwardDedicated(r)
	step.Barrier = true
	step.Block = command.BlockForBytes(r.info, r.args)
	return step
}

// onceDestroyed gives a command a conn that nobody uses afterwards.
func (s *Session) forwardAndDestroy(r request) Step {
	step := s.forwardDedicated(r)
	step.Barrier, step.Destroy = true, !step.OnPin
	step.Block = command.BlockForever
	s.tainted = s.tainted || step.OnPin
	return step
}

// unsure gives a command a conn that is restored before anybody uses it, since nothing is known of what it does there.
func (s *Session) forwardAndRestore(r request) Step {
	step := s.forwardAndDestroy(r)
	step.Restore, step.Destroy = step.Destroy, false
	return step
}

// Ended takes the client's end and says what the session still holds. A command that
// is under way on a conn of its own is the gateway's to cut; what becomes of its conn, Done
// tells as ever. The session takes no more requests.
func (s *Session) End() Release {
	rel := s.releaseAll("the client is gone")
	s.lib, s.last, s.skipThis = library{}, nil, false
	s.clear()
	s.ended = true
	return rel
}

// releaseAll lists what the session holds.
func (s *Session) releaseAll(why string) Release {
	rel := Release{Monitor: s.monitor, Topics: s.allTopics()}
	if s.pins != 0 {
		rel.Conn = Destroy
	}
	if rel.Conn != Keep || rel.Monitor || len(rel.Topics) > 0 {
		rel.Reason = why
	}
	return rel
}
