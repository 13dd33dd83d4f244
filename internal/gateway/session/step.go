package session

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// Kind is the action for a request.
type Kind uint8

const (
	// Answer sends Reply, which may be empty, after the replies to earlier requests.
	Answer Kind = iota
	// Multiplexed sends Raw on a lane of Identity. Its frame is the client's reply. Done is optional.
	Multiplexed
	// Transaction sends Raw (MULTI, its commands and EXEC) as one contiguous write: on the session's connection if
	// OnPin is set, on a dedicated one if Restore is set, and otherwise on a lane of Identity.
	Transaction
	// Dedicated sends Raw on a dedicated connection of Identity for this command. The connection is destroyed
	// afterwards if Destroy is set, or if the client leaves before the reply.
	Dedicated
	// Wait is Dedicated for WAIT and WAITAOF. Outside cluster mode, Raw begins with a write that the server replicates.
	// In cluster mode the command needs the lane that carried the client's writes.
	Wait
	// Pin sends Raw on a dedicated connection of Identity, which becomes the session's unless the outcome releases it.
	Pin
	// Pinned sends Raw on the session's connection.
	Pinned
	// Monitor sends Raw on a dedicated connection. After its reply, the client gets everything that comes there
	// unchanged.
	Monitor
	// Subscribe subscribes to Topics. It is done when all of them are confirmed.
	Subscribe
	// Unsubscribe removes Topics from the client, and then sends Reply.
	Unsubscribe
	// Identify verifies Credentials against the gateway's users, or lets Redis verify them and passes its frame to
	// Done. With OnPin, the session's connection must change its user too.
	Identify
	// ClientCommand needs the other sessions: see Query. The gateway creates the reply and passes it to Done as the
	// frame.
	ClientCommand
	// Learn queries the server for the command of Raw, the client's request. [Session.NextLearned] then returns the
	// step for the request. Do not call Done.
	Learn
	// Console is a RESPOOL command, in Raw. The gateway creates the reply and passes it to Done as the frame.
	Console
	// Close sends Reply and closes the client's connection.
	Close
)

var kindNames = [...]string{"Answer", "Multiplexed", "Transaction", "Dedicated", "Wait", "Pin", "Pinned", "Monitor",
	"Subscribe", "Unsubscribe", "Identify", "ClientCommand", "Learn", "Console", "Close"}

func (k Kind) String() string { return kindNames[k] }

// Upstream reports whether Raw goes to a server.
func (k Kind) Upstream() bool { return k >= Multiplexed && k <= Monitor }

// Identity is the user, database and protocol of the connections that may carry a session's commands.
type Identity struct {
	User  string
	DB    int
	Proto int // 2 or 3
}

// Step is the action for one request.
type Step struct {
	Kind Kind
	// Barrier means that all earlier steps must be complete first, and that no request may be taken before this step is
	// done.
	Barrier bool
	// OnPin means that the step runs on the session's dedicated connection.
	OnPin bool
	// Silent means that the client gets no reply, because of CLIENT REPLY. The step runs nevertheless. Done omits the
	// reply; drop the frame of a Multiplexed. Pushes that confirm subscriptions are sent nevertheless.
	Silent bool
	// Destroy means that a Dedicated destroys its connection afterwards.
	Destroy bool
	// Restore means that a Dedicated or Transaction restores its connection before the next use, because the effect of
	// the command is unknown. Such a Transaction needs a dedicated connection.
	Restore bool
	// AnyDB means that the connection of a Dedicated may have another database.
	AnyDB bool
	// Block is how long the server may delay the reply.
	Block command.Block
	// Identity is the session's identity when the step was created.
	Identity Identity
	// Replies is the number of frames that reply to Raw.
	Replies int
	// Raw is the bytes to send. It may alias the request, and is valid as long as the request is.
	Raw []byte
	// Info is the description of the command, for the routing in a cluster. It is nil for unknown commands.
	Info *command.Info
	// Reply is the reply of Answer, Unsubscribe and Close. It may be shared: do not change it.
	Reply []byte
	// Reason is the reason of a Pin or Monitor for the log.
	Reason string
	// Topics are the topics that Subscribe adds, or that Unsubscribe and Close remove.
	Topics []Topic
	// Credentials are the credentials for Identify.
	Credentials *Credentials
	// Query is the request of ClientCommand.
	Query *Query
	// Reset means that the client has the state of a new client from this step on, without a user.
	Reset bool
	// Release is what the session releases after the reply to a step that does not go upstream. Its Topics are removed
	// before the reply. For other steps, Done returns it.
	Release Release

	onDone       func(*Session, *Step, [][]byte) Outcome
	db           int    // the database of SELECT
	fixedReply   []byte // the reply, whatever the server replies
	requested    []Topic
	helloOptions *helloOptions
	transaction  *transaction
	pinReason    pinReasons
	broadcast    bool // CLIENT TRACKING with BCAST
}

// NeedsDone reports whether the gateway must call Done for the step.
func (st *Step) NeedsDone() bool {
	switch st.Kind {
	case Answer, Multiplexed, Unsubscribe, Learn, Close:
		return false
	}
	return true
}

// Waits reports whether the server may delay the reply.
func (st *Step) Waits() bool { return !st.Destroy && !st.Restore && st.Block != command.NoBlock }

// Writes reports whether the step may change data or publish on a server. CLIENT PAUSE WRITE holds back such steps.
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

// InvolvesSubscribers reports whether the step may publish to channels or returns information about subscribers. Such a
// step must not overtake a subscription.
func (st *Step) InvolvesSubscribers() bool {
	if st.transaction != nil {
		return st.transaction.involvesSubscribers
	}
	return st.Kind.Upstream() && involvesSubscribers(st.Info)
}

func involvesSubscribers(info *command.Info) bool { return publishers[info] || subscriberQueries[info] }

// String describes the step for logs. It contains no data.
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

// GoString returns String: the fields contain data and secrets.
func (st *Step) GoString() string { return st.String() }

// ConnAction is the gateway's action for the session's dedicated connection.
type ConnAction uint8

const (
	// Keep leaves the connection, if there is one, to the session.
	Keep ConnAction = iota
	// Clean releases the connection, which is like a new one of its identity.
	Clean
	// Destroy closes the connection.
	Destroy
)

func (a ConnAction) String() string { return [...]string{"keep", "clean", "destroy"}[a] }

// Release is what a session does not need any more.
type Release struct {
	// Conn is the action for the session's dedicated connection. After a failed Pin there may be no connection.
	Conn ConnAction
	// Monitor means that the connection of MONITOR, if there is one, must be destroyed.
	Monitor bool
	// Topics are the topics to unsubscribe.
	Topics []Topic
	// Reason is the reason for the log.
	Reason string
}

// Outcome is the consequence of a completed step.
type Outcome struct {
	// Reply is the client's reply. It may alias the frames.
	Reply []byte
	// Release is what the session does not need any more.
	Release Release
	// Close means that the client's connection must be closed after Reply, because state that the client relies on is
	// lost.
	Close bool
}

// Credentials are a user and a password to verify. Formatting them does not show the password.
type Credentials struct {
	User         string
	Password     string
	PasswordOnly bool // AUTH without a user: User is the default user
}

// String omits the password.
func (c Credentials) String() string { return fmt.Sprintf("user %q", c.User) }

// GoString omits the password.
func (c Credentials) GoString() string { return c.String() }

// LogValue omits the password.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }
