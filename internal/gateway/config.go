package gateway

import (
	"log/slog"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// Defaults of the fields of Config.
const (
	DefaultMaxClients     = 10_000 // as in Redis
	DefaultAdminClients   = 4
	DefaultInputBuffer    = request.DefaultTotal
	DefaultOutputBuffer   = 8 << 20
	DefaultBuffers        = 1 << 30
	DefaultPipeline       = 1024
	DefaultRequestTimeout = 30 * time.Second
	DefaultWriteTimeout   = 30 * time.Second
)

// Config says whom a gateway serves and within which bounds. The zero value of a
// field stands for its default; negative values are errors of New and Reload.
type Config struct {
	// MaxClients bounds the client connections of all listeners. Default: 10,000, as
	// in Redis.
	MaxClients int
	// MaxClientsPerAddress bounds those from one address; unix sockets and dialers
	// in memory count as one address each. Default: 0, no limit.
	MaxClientsPerAddress int
	// AdminClients is how many more connections are let in, beyond MaxClients, that may
	// do nothing but AUTH, HELLO, PING, QUIT, RESPOOL and CLIENT: so that an operator gets in.
	// Default: 4.
	AdminClients int

	// InputBuffer is the largest request in bytes, which is held until it is whole.
	// Default: 1 GiB, as in Redis.
	InputBuffer int
	// OutputBuffer is how many bytes of replies may wait for one client; past it nothing
	// more is read from the client, and of a subscriber the connection is closed. A
	// single reply may be larger. Default: 8 MiB.
	OutputBuffer int
	// Buffers bounds the bytes that are held for all clients, in and out. Past it the client that
	// holds most is closed, within half a second. Default: 1 GiB.
	Buffers int64
	// Pipeline is how many commands of one client may be under way. Default: 1,024.
	Pipeline int
	// Request bounds what a client may send as one request.
	Request request.Limits

	// IdleTimeout closes clients from which nothing came for so long, but for blocked and
	// subscribed ones. Default: 0, never.
	IdleTimeout time.Duration
	// RequestTimeout closes clients whose begun request is not whole within it, and those
	// that do not authenticate within it where they have to. Default: 30 s.
	RequestTimeout time.Duration
	// WriteTimeout closes clients that take none of what waits for them for so long.
	// Default: 30 s.
	WriteTimeout time.Duration

	// CloseOnFailure ends a client's connection where the server's connection is lost, or none is to be had, in
	// place of an error reply.
	CloseOnFailure bool

	// Admin lets clients run what belongs to the server's operator.
	Admin bool
	// Users are the gateway's own. A client that names none is the user default, if
	// there is one without a password. Nil: everybody is let in, as Client.
	Users map[string]User
	// PassThrough has Redis verify AUTH and HELLO, and each user's commands go out on
	// connections of his own. It excludes Users. NeedAuth says whether clients have to
	// name themselves.
	PassThrough, NeedAuth bool
	// TLS of the listeners that ServeTLS serves is the listener's own business.

	// ServerVersion is what HELLO tells. Default: what the server says.
	ServerVersion string
	// Log receives what an operator wants to know; nil discards it.
	Log *slog.Logger
}

// User is one of the gateway's own users.
type User struct {
	// Passwords are hex SHA-256 hashes, any of which opens. None: no password is needed.
	Passwords []string
	// Commands are the classes of commands that he may use: read, write, pubsub, blocking,
	// scripting, admin, or all. None: all but admin.
	Commands []string
	// Disabled refuses him.
	Disabled bool
}
