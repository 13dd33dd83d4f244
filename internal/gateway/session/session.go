// Package session holds the protocol state of one client connection of the gateway: requests go in, steps come out. A
// [Session] answers commands that concern only the connection, with the texts of redis-server. For every other command
// it returns which kind of server connection the command needs, which steps must be complete before it, and what to
// release after it.
//
// The package does no I/O and has no goroutines, locks or clock. It neither frames nor routes requests: the gateway
// does both, and drives the session. One goroutine at a time may use a session.
package session

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// Defaults of the fields of Config.
const (
	DefaultQueueLimit = 16 << 20
	DefaultMaxTopics  = 10_000
)

// Config is the configuration of sessions. All sessions of a gateway share one. It is immutable.
type Config struct {
	// Admin allows administrative commands such as CONFIG SET, DEBUG and CLIENT PAUSE.
	Admin bool
	// NeedAuth requires clients to authenticate with AUTH or HELLO before any other command.
	NeedAuth bool
	// Password accepts AUTH with only a password even if NeedAuth is not set. Servers without a password refuse it.
	Password bool
	// OwnUser is the server user of the gateway, if its login does not change at run time, or empty. Clients may not
	// change the login of this user.
	OwnUser string
	// Cluster reports whether the servers form a cluster. It does not change for a session.
	Cluster bool
	// ClusterFace makes the gateway appear as the only node of a cluster. It requires Cluster. Otherwise the gateway
	// appears as one server outside a cluster.
	ClusterFace bool
	// Announce is the host:port of that node. Default: the address to which the client connected.
	Announce string
	// Greeting, if set, returns the latest description of the server, or nil while it is unknown.
	Greeting func() *Greeting
	// ServerVersion and Role are the version and the role that HELLO returns. They default to the server's version and to "master".
	ServerVersion string
	Role          string
	// Databases is the number of databases that SELECT accepts. If it is 0, each SELECT goes to the server. In a
	// cluster, 0 means 1.
	Databases int
	// QueueLimit limits the bytes that a transaction may queue. Default: DefaultQueueLimit.
	QueueLimit int
	// MaxTopics limits the subscriptions of one client. Default: DefaultMaxTopics.
	MaxTopics int
	// WaitChannel is the channel of the PUBLISH before WAIT. Default: respool:wait.
	WaitChannel string
	// Lookup, if set, describes commands and subcommands that are missing in the command table. The Info is nil unless
	// the result is Learned. Lookup must not keep args. If it is nil, the server has none of these commands.
	Lookup func(args [][]byte) (*command.Info, command.Known)
}

// Session is the state of one client connection. Its methods are not safe for concurrent use.
type Session struct {
	cfg       *Config
	id        int64
	addr      string
	localAddr *string // of the gateway; nil: unknown

	// fastPath is true while the step of a request depends only on its command. updateFastPath sets it.
	fastPath bool

	authenticated bool
	serverDecides bool // the server checks permissions, also for commands that the session answers
	monitor       bool // MONITOR runs
	ended         bool // the client has left
	readOnly      bool // READONLY
	replies       replyMode
	pin           pinnedConn
	identity      Identity
	attributes    attributes
	last          *command.Info // of the last command, for CLIENT LIST

	multi         multi
	subscriptions subscriptions
}

// New returns the session of a new client connection. id is the reply to CLIENT ID, addr the client's address.
func New(cfg *Config, id int64, addr string) *Session {
	s := &Session{cfg: cfg, id: id, addr: addr}
	s.clear()
	return s
}

// clear resets everything that RESET resets.
func (s *Session) clear() {
	*s = Session{
		cfg: s.cfg, id: s.id, addr: s.addr, localAddr: s.localAddr, last: s.last, pin: pinnedConn{watchOnly: s.cfg.Cluster},
		attributes: attributes{library: s.attributes.library}, replies: replyMode{skip: s.replies.skip},
		authenticated: !s.cfg.NeedAuth, identity: Identity{User: command.DefaultUser, Proto: 2},
	}
	s.updateFastPath()
}

// updateFastPath follows every change of the state.
func (s *Session) updateFastPath() {
	s.fastPath = s.authenticated && !s.multi.open && !s.pin.held() && !s.monitor && s.replies == (replyMode{}) && !s.subscriberMode()
}

// Refuse returns the step for a request that the client is not allowed to run. text is the error message.
func (s *Session) Refuse(raw []byte, args [][]byte, text string) Step {
	if len(args) == 0 {
		return Step{}
	}
	info, class := command.ClassifyBytes(args)
	s.replies.begin()
	step := s.reject(request{raw: raw, args: args, info: info, class: class}, text)
	s.finish(&step)
	return step
}

// Reconfigure replaces the configuration from the next request on.
func (s *Session) Reconfigure(cfg *Config) {
	s.cfg = cfg
	s.updateFastPath()
}

// LetServerDecide sets whether the server checks the permissions of the user. If it does, PING, ECHO and SELECT go to
// the server too.
func (s *Session) LetServerDecide(decides bool) { s.serverDecides = decides }

// Identity returns the identity that the session's next commands run under.
func (s *Session) Identity() Identity { return s.identity }

// Name returns the name that CLIENT SETNAME or HELLO set.
func (s *Session) Name() string { return s.attributes.name }

// Authenticated reports whether the client may run more than AUTH, HELLO, RESET and QUIT.
func (s *Session) Authenticated() bool { return s.authenticated }

// Pins returns the reasons why the session holds a dedicated connection.
func (s *Session) Pins() []string { return s.pin.names() }

// protocol returns the protocol version of the client.
func (s *Session) protocol() protocol { return protocol(s.identity.Proto) }

// String describes the session for logs. It contains no secrets and no data.
func (s *Session) String() string {
	return fmt.Sprintf("session %d of %s: user %q, db %d, RESP%d, flags %s",
		s.id, s.addr, s.identity.User, s.identity.DB, s.identity.Proto, s.flags(ConnInfo{}))
}

// Next returns the step for one complete request. args are its arguments and raw its canonical form, an array of bulk
// strings. The step may refer to raw until it is done. Next does not keep args.
//
// The requests of a client come in order. No request may come while the step before it is a Barrier and not done.
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

// NextMultiplexed is a cheaper Next for the most frequent requests: those whose step is Multiplexed and changes nothing
// in the session. It returns the description of the command. It returns false for all other requests; call Next for
// these.
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

// IsMultiplexed reports whether a server answers a request on a connection that many clients share. It reports that of a
// transaction for its EXEC.
func IsMultiplexed(args [][]byte) bool {
	info, class := command.ClassifyBytes(args)
	if r := rules[info]; r != nil && r.run != nil {
		return info.Name == "EXEC"
	}
	return class == command.Multiplexed
}

// NextLearned is Next for a request whose step was Learn, after the server was queried.
func (s *Session) NextLearned(raw []byte, args [][]byte) Step {
	if len(args) == 0 {
		return Step{}
	}
	info, class := command.ClassifyBytes(args)
	return s.next(request{raw: raw, args: args, info: info, class: class, learned: true})
}

// Learn returns the step that queries the server for the command of a request.
func (s *Session) Learn(raw []byte) Step {
	return Step{Kind: Learn, Barrier: true, OnPin: s.pin.held(), Raw: raw, Identity: s.identity}
}

// next returns the step of a request that does not take the fast path.
func (s *Session) next(r request) Step {
	if known := r.resolve(s.cfg, s.authenticated); known == command.NotAsked && !r.learned && s.authenticated {
		return s.Learn(r.raw)
	}
	s.replies.begin()
	if r.info != nil && !r.unknown {
		s.last = r.info
	}
	step := s.decide(r)
	s.finish(&step)
	return step
}

// finish completes the step of a request.
func (s *Session) finish(step *Step) {
	step.Identity = s.identity
	if step.Silent = s.replies.silent() && step.Kind != Unsubscribe; step.Silent {
		step.Reply = nil
	}
	s.replies.end()
	s.updateFastPath()
}

// decide returns the step of a request. The order of the checks is that of a server.
func (s *Session) decide(r request) Step {
	if equalFold(r.args[0], "host:") || equalFold(r.args[0], "post") {
		return Step{Kind: Close} // an HTTP request, which an attacker may have made a browser send
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
		return s.pin.forwardAndRestore(r)
	case r.info.Answers() != command.Once:
		return s.pin.forwardAndDestroy(r)
	case r.class == command.Blocking:
		return s.pin.forwardBlocking(r)
	}
	return s.pin.forward(r)
}

// End ends the session because the client has left. It returns what the session still holds. The gateway must cancel a
// pending command on a dedicated connection; Done then returns what happens to that connection. The session accepts no
// more requests.
func (s *Session) End() Release {
	rel := s.releaseAll("the client is gone")
	s.attributes, s.replies, s.last = attributes{}, replyMode{}, nil
	s.clear()
	s.ended = true
	return rel
}

// releaseAll returns everything that the session holds.
func (s *Session) releaseAll(reason string) Release {
	rel := Release{Monitor: s.monitor, Topics: s.subscriptions.all()}
	if s.pin.held() {
		rel.Conn = Destroy
	}
	if rel.Conn != Keep || rel.Monitor || len(rel.Topics) > 0 {
		rel.Reason = reason
	}
	return rel
}
