package session

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// Kind says what to do for a request.
type Kind uint8

const (
	// Answer sends Reply, which may be empty, in the request's turn.
	Answer Kind = iota
	// Multiplexed sends Raw on a lane of Key. Its frame is the client's reply; of this kind
	// alone Done need not be told.
	Multiplexed
	// Transaction sends Raw, a whole MULTI with its commands and EXEC, as one contiguous
	// block on a lane of Key, or on the session's conn if OnPin is set, or on a dedicated one for Restore.
	Transaction
	// Dedicated sends Raw on a dedicated conn of Key for this command alone. The conn is
	// destroyed afterwards if Destroy is set, and whenever the client leaves before the reply.
	Dedicated
	// Wait is Dedicated for WAIT and WAITAOF: Raw begins with a write that propagates, outside
	// cluster mode. In cluster mode the lane that carried the client's writes must be taken over.
	Wait
	// Pin takes a dedicated conn of Key, which stays the session's if the outcome does not release it.
	Pin
	// Pinned sends Raw on the session's conn.
	Pinned
	// Monitor sends Raw on a conn of its own. Once its reply is done everything
	// that comes there goes to the client as it is.
	Monitor
	// Subscribe asks for Topics on the subscriber conns, and is done when all are confirmed.
	Subscribe
	// Unsubscribe takes Topics from the client, and then sends Reply.
	Unsubscribe
	// Identify verifies Credentials: against the gateway's users, or by Redis, whose
	// frame is then given to Done. With OnPin the session's conn has to change its user too.
	Identify
	// ClientCommand needs the other sessions: see Query. The reply is made by the gateway and given
	// to Done as the frame.
	ClientCommand
	// Learn asks the server about the command that Raw, the client's request, names. Then [Session.NextLearned] says what to do for it;
	// Done is not told.
	Learn
	// Console is a command of the gateway's own, RESPOOL: Raw holds it. The reply is given
	// to Done as the frame.
	Console
	// Close sends Reply and closes the client's connection.
	Close
)

var kindNames = [...]string{"Answer", "Multiplexed", "Transaction", "Dedicated", "Wait", "Pin", "Pinned", "Monitor",
	"Subscribe", "Unsubscribe", "Identify", "ClientCommand", "Learn", "Console", "Close"}

func (k Kind) String() string { return kindNames[k] }

// Upstream is whether Raw goes to a server.
func (k Kind) Upstream() bool { return k >= Multiplexed && k <= Monitor }

// Identity says which conns may carry a session's commands: all on them have the same user,
// database and protocol. The user's password is the gateway's to know.
type Identity struct {
	User  string
	DB    int
	Proto int // 2 or 3
}

// Step is what to do for one request.
type Step struct {
	Kind Kind
	// Barrier is whether every step before must have been answered first, and no request
	// may be taken before this step is done.
	Barrier bool
	// OnPin is whether the step belongs on the session's own conn.
	OnPin bool
	// Silent is whether the client gets no reply: it asked for none. The step is carried out
	// all the same, and Done leaves the reply out; of a Multiplexed the frame is dropped. Pushes, which
	// confirm subscriptions, are sent nevertheless.
	Silent bool
	// Destroy, of Dedicated, is whether nobody may use the conn afterwards.
	Destroy bool
	// Restore, of Dedicated and Transaction, is whether nobody may use the conn afterwards before it is restored: nothing is known
	// of what the command does to it. Such a Transaction needs a conn of its own.
	Restore bool
	// AnyDB, of Dedicated, is whether a conn with another database will do.
	AnyDB bool
	// Block is how long the server may hold the reply back.
	Block command.Block
	// Key is the session's when the step was made.
	Identity Identity
	// Replies is how many frames answer Raw.
	Replies int
	// Raw is what is sent. It is the request itself where that can be, and valid as long as that is.
	Raw []byte
	// Info is the command's, by which it is routed in a cluster. It is nil for unknown commands.
	Info *command.Info
	// Reply is what Answer, Unsubscribe and Close send. It may be everybody's: nobody changes it.
	Reply []byte
	// Reason says in a word or two why the conn is pinned or the command refused.
	Reason string
	// Topics are what Subscribe, Unsubscribe and Close change: new ones, or those that the client had.
	Topics []Topic
	// Credentials are what Identify verifies.
	Credentials *Credentials
	// Query is what ClientCommand asks for.
	Query *Query
	// Reset is whether the client is a new one from this step on, and nobody's user.
	Reset bool
	// Release is what the session no longer needs, once the step is answered. Its Topics are taken from the
	// client before that. Of steps that go upstream, Done tells it.
	Release Release

	onDone       func(*Session, *Step, [][]byte) Outcome
	db           int
	fixedReply   []byte // the reply, whatever the server says
	requested    []Topic
	helloOptions *helloOptions
	transaction  *transaction
	pin          pins

	broadcast bool // of CLIENT TRACKING
}

// NeedsDone is whether the gateway has to call Done with what came of the step.
func (st *Step) NeedsDone() bool {
	switch st.Kind {
	case Answer, Multiplexed, Unsubscribe, Learn, Close:
		return false
	}
	return true
}

// Waits is whether the server may hold the reply back.
func (st *Step) Waits() bool { return !st.Destroy && !st.Restore && st.Block != command.NoBlock }

// Writes is whether what goes to a server may change data or publish: what CLIENT PAUSE WRITE holds back.
func (st *Step) Writes() bool {
	switch {
	case !st.Kind.Upstream():
		return false
	case st.transaction != nil:
		return st.transaction.writes
	}
	return writes(st.Info)
}

func writes(info *command.Info) bool {
	return info == nil || info.Write || publishers[info] || info == infoPFCount
}

// SeesSubscribers is whether what goes to a server may publish to channels, or is answered by who is subscribed: it
// must not overtake a subscription.
func (st *Step) InvolvesSubscribers() bool {
	if st.transaction != nil {
		return st.transaction.involvesSubscribers
	}
	return st.Kind.Upstream() && involvesSubscribers(st.Info)
}

func involvesSubscribers(info *command.Info) bool { return publishers[info] || subscriberQueries[info] }

// String describes the step for logs, without data.
func (st *Step) String() string {
	var b strings.Builder
	b.WriteString(st.Kind.String())
	if st.Info != nil {
		b.WriteString(" " + st.Info.Name)
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{st.Barrier, "barrier"}, {st.OnPin, "pin"}, {st.Silent, "silent"}, {st.Destroy, "destroy"}, {st.Restore, "restore"}, {st.Block.Forever(), "forever"}, {st.Reset, "reset"}} {
		if f.set {
			b.WriteString(" " + f.name)
		}
	}
	if st.Block != command.NoBlock && !st.Block.Forever() {
		fmt.Fprintf(&b, " block=%v", st.Block)
	}
	if st.Reason != "" {
		fmt.Fprintf(&b, " (%s)", st.Reason)
	}
	return b.String()
}

// GoString is String: the fields hold data and secrets.
func (st *Step) GoString() string { return st.String() }

// Fate is what becomes of the session's dedicated conn.
type ConnAction uint8

const (
	// Keep leaves it to the session, if there is one.
	Keep ConnAction = iota
	// Clean gives it back: it is as a new conn of its Key.
	Clean
	// Destroy closes it: it is not.
	Destroy
)

func (f ConnAction) String() string { return [...]string{"keep", "clean", "destroy"}[f] }

// Release is what a session no longer needs.
type Release struct {
	// Conn is what becomes of the session's dedicated conn. After a Pin that failed there may be none.
	Conn ConnAction
	// Monitor is whether the conn of MONITOR is to be destroyed, if there is one.
	Monitor bool
	// Topics are to be unsubscribed.
	Topics []Topic
	// Reason says why, for logs.
	Reason string
}

// Outcome is what follows from a step that is done.
type Outcome struct {
	// Reply is what the client is sent. It may alias the frames.
	Reply []byte
	// Release is what the session no longer needs.
	Release Release
	// Close is whether the client's connection has to be closed after Reply: it counted on
	// something that is lost.
	Close bool
}

// Credentials are a user and a password that have to be verified. Printing them does not show
// the password.
type Credentials struct {
	User         string
	Password     string
	PasswordOnly bool // the password came without a user, and means the default one
}

// String leaves the password out.
func (c Credentials) String() string { return fmt.Sprintf("user %q", c.User) }

// GoString leaves the password out.
func (c Credentials) GoString() string { return c.String() }

// LogValue leaves the password out.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }
