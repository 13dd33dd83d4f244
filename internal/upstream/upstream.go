// Package upstream is what the gateway has of a client beyond the client's public
// face: its lanes, for commands that nobody waits for, and connections of other users,
// databases and protocols within the same bound. It holds no code but the types:
// package respool implements them.
package upstream

import (
	"context"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Of gives what the gateway has of a *respool.Client. Package respool sets it
// when the program starts, and nobody changes it.
var Of func(client any) Upstream

// Key says which connections may carry a command. Its user is one that Verify gave, or
// empty for the client's own.
type Key = pool.Key

// Upstream is safe for concurrent use.
type Upstream interface {
	// Lanes gives those of a key.
	Lanes(key Key) Lanes
	// NoTimeout reports whether nobody has set a timeout for replies: a command of the gateway's clients
	// waits as long as its client does.
	NoTimeout() bool
	// Exchange sends raw, and waits for its n replies as Client.Do does: for a lane, for a
	// server that is found anew; it sends again what was not sent, was refused, or only reads. before is a refusal that
	// came already, or nil: it may be the answer.
	Exchange(ctx context.Context, key Key, raw []byte, n int, reads bool, before *Refusal) ([][]byte, error)
	// Acquire has a connection lent, as Client.Acquire does.
	Acquire(ctx context.Context, key Key) (Held, error)
	// OnLent has a connection lent for each attempt at the commands in raw, and makes another attempt where Exchange would.
	OnLent(ctx context.Context, key Key, raw []byte, reads bool, attempt Attempt) ([][]byte, error)
	// Again reports whether a command that failed so, with one try made, may be sent again.
	Again(err error, reads bool) bool
	// Refused reports whether replies to raw seem to say that nothing was done because of the server's role
	// or state. It does not block: Exchange is to be given them, to decide.
	Refused(raw []byte, frames [][]byte) bool
	// Verify has the server verify a password, and gives the Key's user for those who know it: the empty
	// one if these are the client's own, else the user's name. Without a user the password is the
	// default one's. The user is kept until Leave was called as often. An error is a
	// *resp.ServerError if the server refuses.
	Verify(ctx context.Context, user, password string) (token string, err error)
	// Leave takes note that a client does not work as the user any more. It does not block.
	Leave(token string)
	// OnDisowned has fn called with users who have clients, but no connections and get none, since the server
	// does not let them in: they were deleted or switched off, or their password has changed. cancel ends that.
	OnDisowned(fn func(token string)) (cancel func())
	// Own reports whether these are the client's own user and password, as far as those are known, and
	// Password whether it has one.
	Own(user, password string) bool
	Password() bool
	// User is the client's own user, and empty where each dial asks for the credentials.
	User() string
	// Hub carries the subscriptions of a user.
	Hub(token string) *pubsub.Hub
	// Lookup tells what is known of a command that the table lacks, without waiting.
	Lookup(args [][]byte) (*command.Info, command.Known)
	// Learn asks the server about a command if Lookup says that this is to be done, on a connection that is held if
	// there is one. A server that does not tell is no error.
	Learn(ctx context.Context, args [][]byte, on Held) error
	// Reconnect replaces all connections, each once nothing is due on it.
	Reconnect()
	// Greeting is what the server that commands go to last answered to HELLO, in a handshake: nil while there was none. It
	// is another pointer after each handshake, and what it points to is not to be changed.
	Greeting() *resp.Value
}

// Lanes are those of one key, whichever server they lead to.
type Lanes interface {
	// Lane picks a lane that takes commands now, without waiting for anything: nil if
	// there is none, or if such commands have to wait. What is posted there takes the options.
	Lane(reads bool) (*lane.Lane, lane.Options)
}

// Held is a connection that is lent.
type Held interface {
	Lane() *lane.Lane
	// Release gives it back as it was; Destroy closes it. The first call counts.
	Release()
	Destroy(reason string)
	// Notice takes a reply that came here as evidence of the server's role and state.
	Notice(frame []byte)
}

// Refusal is what came of commands that seem to have been refused.
type Refusal struct {
	Lane   *lane.Lane // on which they were sent
	Frames [][]byte
}

// Attempt sends commands on a lent connection and waits for their replies.
type Attempt func(l *lane.Lane) (frames [][]byte, after After, err error)

// After says what becomes of a connection that was lent. The zero After lends it again as it is.
type After struct {
	Spoilt string // why it is closed, if it is
	Unsure string // why nobody knows its state, if nobody does: it is restored
	DB     *int   // the database in which the commands have left it; nil: its own
}
