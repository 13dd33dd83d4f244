package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// user is one of the gateway's own, ready for use.
type user struct {
	name     string
	hashes   [][sha256.Size]byte
	may      classes
	disabled bool
}

// classes are the kinds of commands that a user may use.
type classes uint8

const (
	reads classes = 1 << iota
	writes
	pubsubs
	blocks
	scripts
	admins
)

// classNames are what a configuration calls them.
var classNames = map[string]classes{
	"read": reads, "write": writes, "pubsub": pubsubs, "blocking": blocks, "scripting": scripts, "admin": admins,
	"all": reads | writes | pubsubs | blocks | scripts | admins,
}

// ClassNames lists what User.Commands may name.
func ClassNames() []string {
	return []string{"read", "write", "pubsub", "blocking", "scripting", "admin", "all"}
}

func newUser(name string, cfg User) (*user, error) {
	u := &user{name: name, disabled: cfg.Disabled}
	for _, text := range cfg.Passwords {
		var hash [sha256.Size]byte
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != len(hash) {
			return nil, fmt.Errorf("gateway: a password of user %q is no SHA-256 hash: want %d hex digits", name, 2*len(hash))
		}
		u.hashes = append(u.hashes, [sha256.Size]byte(raw))
	}
	for _, text := range cfg.Commands {
		class, ok := classNames[text]
		if !ok {
			return nil, fmt.Errorf("gateway: user %q may use the class of commands %q: want %s", name, text, strings.Join(ClassNames(), ", "))
		}
		u.may |= class
	}
	if len(cfg.Commands) == 0 {
		u.may = classNames["all"] &^ admins
	}
	return u, nil
}

// accepts reports whether a password is the user's.
func (u *user) accepts(password string) bool {
	if u == nil || u.disabled {
		return false
	}
	hash := sha256.Sum256([]byte(password))
	ok := len(u.hashes) == 0
	for i := range u.hashes {
		ok = subtle.ConstantTimeCompare(hash[:], u.hashes[i][:]) == 1 || ok
	}
	return ok
}

// connectionCommands are commands that concern the connection alone.
var connectionCommands = []string{"AUTH", "HELLO", "PING", "ECHO", "QUIT", "RESET", "SELECT", "CLIENT", "COMMAND", "MULTI", "EXEC", "DISCARD",
	"WATCH", "UNWATCH", "READONLY", "READWRITE", "ASKING"}

// unrestricted reports whether the user may run everything, so that nobody needs to know what it is.
func (u *user) unrestricted() bool { return u.may == classNames["all"] }

// denyReason says why the user may not run a command; empty if he may. info is nil where nothing tells what it is.
func (u *user) denyReason(args [][]byte, info *command.Info, class command.Class) string {
	if info == nil {
		if bytes.EqualFold(args[0], []byte("respool")) && u.may&admins == 0 {
			return fmt.Sprintf("-NOPERM User %s has no permissions to run the 'respool' command", u.name)
		}
		if u.unrestricted() || u.may == classNames["all"]&^admins {
			return ""
		}
		return fmt.Sprintf("-NOPERM User %s has no permissions to run the '%s' command", u.name, printable(args[0]))
	}
	name, _, _ := strings.Cut(info.Name, " ")
	if need := requiredClasses(info, class); u.may&need == need && (!info.Admin || u.may&admins != 0) || slices.Contains(connectionCommands, name) && !info.Admin {
		return ""
	}
	return fmt.Sprintf("-NOPERM User %s has no permissions to run the '%s' command", u.name, strings.ToLower(info.Name))
}

// requiredClasses tells the classes that a command takes.
func requiredClasses(info *command.Info, class command.Class) classes {
	name, _, _ := strings.Cut(info.Name, " ")
	switch {
	case info.Admin || name == "MONITOR" || name == "DEBUG" || name == "CONFIG":
		return admins
	case strings.HasSuffix(name, "SUBSCRIBE") || strings.HasSuffix(name, "PUBLISH") || name == "PUBSUB":
		return pubsubs
	case strings.HasPrefix(name, "EVAL") || strings.HasPrefix(name, "FCALL") || name == "SCRIPT" || name == "FUNCTION":
		return scripts
	case class == command.Blocking && info.ReadOnly:
		return blocks | reads
	case class == command.Blocking:
		return blocks | writes
	case info.ReadOnly:
		return reads
	}
	return writes
}

// identify verifies a password: by the gateway's users, or by Redis. Where everybody is let in, clients that still
// send what they needed before need not be changed.
func (w *worker) identify(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	set, c := w.c.g.settings.Load(), w.step.Credentials
	switch {
	case set.PassThrough:
		return w.identifyByRedis(ctx, pin)
	case set.users == nil:
		if e := w.c.g.engine; !e.IsOwn(c.User, c.Password) && (e.HasPassword() || c.User != session.DefaultUser) {
			w.c.g.count.denied.Add(1)
			return nil, session.ErrWrongPassword
		}
		return nil, nil
	}
	u := set.users[c.User]
	if !u.accepts(c.Password) {
		w.c.g.count.denied.Add(1)
		return nil, session.ErrWrongPassword
	}
	w.user = u
	return nil, nil
}

func (w *worker) identifyByRedis(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	c := w.step.Credentials
	user := c.User
	if c.Alone {
		user = ""
	}
	token, err := w.c.g.engine.Verify(ctx, user, c.Password)
	if err != nil {
		w.c.g.count.denied.Add(1)
		if frame, ok := serverErrorFrame(err); ok {
			return [][]byte{frame}, nil
		}
		return nil, err
	}
	if w.step.OnPin && pin != nil {
		pin.Lane().Forbid() // a renewal of credentials would bring the user before back
		frame, err := pin.Lane().Do(ctx, []any{"AUTH", c.User, c.Password}, w.c.g.optionsOf(nil))
		if err != nil || frame[0] == '-' {
			w.c.g.engine.Leave(token)
			return [][]byte{frame}, err
		}
	}
	w.token = token
	return nil, nil
}

// switchUserLocked makes the client another user's among the engine's. The user it was is kept while the client is
// subscribed as that one.
func (c *client) switchUserLocked(token string) {
	e := c.g.engine
	switch {
	case c.gone:
		e.Leave(token)
		return
	case slices.Contains(c.tokens, token):
		e.Leave(token) // once is enough
	case token != "":
		c.tokens = append(c.tokens, token)
	}
	c.token = token
	for _, held := range slices.Clone(c.tokens) {
		if held != token && c.topics[held] == nil {
			c.leaveUserLocked(held)
		}
	}
}

// leaveUserLocked gives up one of the client's users.
func (c *client) leaveUserLocked(token string) {
	if i := slices.Index(c.tokens, token); i >= 0 {
		c.tokens = slices.Delete(c.tokens, i, i+1)
		c.g.engine.Leave(token)
	}
}

// disowned ends the connections of clients whose user the server has taken all connections, and lets in no more: it
// would have ended theirs.
func (g *Gateway) disowned(token string) {
	for _, c := range g.list() {
		c.mu.Lock()
		ends := slices.Contains(c.tokens, token)
		c.mu.Unlock()
		if ends {
			c.out.Close()
		}
	}
}

// disowned reports whether the server lets the worker's user in no more, for which it would have ended the client's
// connection. Where a connection was lost within a command it is asked.
func (w *worker) disowned(ctx context.Context, err error) bool {
	if w.key.User == "" || ctx.Err() != nil {
		return false
	}
	lost, sent := connectionLost(err)
	if lost && sent {
		_, err = w.c.g.engine.Exchange(ctx, w.key, rawHello, 1, true, nil)
		lost, sent = connectionLost(err)
	}
	var refusal *resp.ServerError
	return lost && !sent && errors.As(err, &refusal) && (refusal.Code == "WRONGPASS" || refusal.Code == "NOAUTH")
}

// rawHello asks for nothing that takes a right.
var rawHello = []byte("*1\r\n$5\r\nHELLO\r\n")

// serverErrorFrame makes a reply of an error by which the server refused.
func serverErrorFrame(err error) ([]byte, bool) {
	var se *resp.ServerError
	if !errors.As(err, &se) {
		return nil, false
	}
	return resp.AppendError(nil, "-"+se.Error()), true
}
