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
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// user is one of the gateway's own users, with parsed passwords and classes.
type user struct {
	name     string
	hashes   [][sha256.Size]byte
	allowed  classes
	disabled bool
	quota    *quota.User // counts the user's clients
}

// classes is a set of command classes.
type classes uint8

const (
	classRead classes = 1 << iota
	classWrite
	classPubSub
	classBlocking
	classScripting
	classAdmin
)

// classByName holds the names of the classes in a configuration.
var classByName = map[string]classes{
	"read": classRead, "write": classWrite, "pubsub": classPubSub, "blocking": classBlocking, "scripting": classScripting, "admin": classAdmin,
	"all": classRead | classWrite | classPubSub | classBlocking | classScripting | classAdmin,
}

// ClassNames lists the valid elements of User.Commands.
func ClassNames() []string {
	return []string{"read", "write", "pubsub", "blocking", "scripting", "admin", "all"}
}

func newUser(name string, cfg User) (*user, error) {
	u := &user{name: name, disabled: cfg.Disabled}
	if err := checkLimits(name, cfg.Limits); err != nil {
		return nil, err
	}
	for _, text := range cfg.Passwords {
		var hash [sha256.Size]byte
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != len(hash) {
			return nil, fmt.Errorf("gateway: a password of user %q is not a SHA-256 hash: want %d hex digits", name, 2*len(hash))
		}
		u.hashes = append(u.hashes, [sha256.Size]byte(raw))
	}
	for _, text := range cfg.Commands {
		class, ok := classByName[text]
		if !ok {
			return nil, fmt.Errorf("gateway: user %q has the unknown command class %q: want one of %s", name, text, strings.Join(ClassNames(), ", "))
		}
		u.allowed |= class
	}
	if len(cfg.Commands) == 0 {
		u.allowed = classByName["all"] &^ classAdmin
	}
	return u, nil
}

// checkLimits returns an error for a negative limit.
func checkLimits(name string, l quota.Limits) error {
	for _, n := range []int64{int64(l.MaxClients), int64(l.MaxConnections), int64(l.Rate.Commands), l.Rate.Bytes} {
		if n < 0 {
			return fmt.Errorf("gateway: a limit of user %q is %d: want a positive value, or 0 for no limit", name, n)
		}
	}
	return nil
}

// limitUsers applies the limits of all users.
func (g *Gateway) limitUsers(cfg map[string]User, users map[string]*user) {
	limits := map[string]quota.Limits{}
	for name := range users {
		limits[name] = cfg[name].Limits
	}
	g.quotas.Set(limits)
	for name, u := range users {
		u.quota = g.quotas.Get(name)
	}
}

// accepts reports whether the user is enabled and the password is valid. A nil user accepts none.
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

// MayOperate reports whether a user exists, has a password, and may run all commands of the class admin.
func (cfg Config) MayOperate(name string) bool {
	given, ok := cfg.Users[name]
	u, err := newUser(name, given)
	return ok && err == nil && !u.disabled && len(u.hashes) > 0 && u.allowed&classAdmin != 0
}

// OperatorProof returns a text that changes with the passwords of a user; empty: the user may not operate the gateway.
func (cfg Config) OperatorProof(name string) string {
	if !cfg.MayOperate(name) {
		return ""
	}
	hash := sha256.Sum256([]byte(strings.Join(cfg.Users[name].Passwords, " ")))
	return hex.EncodeToString(hash[:])
}

// OperatorLogin reports whether a user may operate the gateway, and this is their password. It takes the same time for unknown
// users.
func (cfg Config) OperatorLogin(name, password string) bool {
	given := cfg.Users[name]
	given.Passwords = slices.Concat(given.Passwords, []string{strings.Repeat("0", 2*sha256.Size)}) // no password has this hash
	u, err := newUser(name, given)
	if err != nil {
		return false
	}
	accepted := u.accepts(password)
	return cfg.MayOperate(name) && accepted
}

// connectionCommands affect only the client's connection. Every user may run them.
var connectionCommands = []string{"AUTH", "HELLO", "PING", "ECHO", "QUIT", "RESET", "SELECT", "CLIENT", "COMMAND", "MULTI", "EXEC", "DISCARD",
	"WATCH", "UNWATCH", "READONLY", "READWRITE", "ASKING",
	"CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER MYID", "CLUSTER MYSHARDID", "CLUSTER INFO", "CLUSTER KEYSLOT"}

// isConnectionCommand reports whether a command, or the whole container of this name, is in connectionCommands.
func isConnectionCommand(info *command.Info, container string) bool {
	return slices.Contains(connectionCommands, container) || slices.Contains(connectionCommands, info.Name)
}

// unrestricted reports whether the user may run all commands, including unknown ones.
func (u *user) unrestricted() bool { return u.allowed == classByName["all"] }

// denyReason returns the error reply if the user may not run a command, or an empty string. info is nil for an unknown
// command.
func (u *user) denyReason(args [][]byte, info *command.Info, class command.Class) string {
	if info == nil {
		console := bytes.EqualFold(args[0], []byte("respool"))
		if console && u.allowed&classAdmin == 0 {
			return fmt.Sprintf("-NOPERM User %s has no permissions to run the 'respool' command", u.name)
		}
		if console || u.unrestricted() || u.allowed == classByName["all"]&^classAdmin {
			return ""
		}
		return fmt.Sprintf("-NOPERM User %s has no permissions to run the '%s' command", u.name, printable(args[0]))
	}
	name, _, _ := strings.Cut(info.Name, " ")
	if need := requiredClasses(info, class); u.allowed&need == need && (!info.Admin || u.allowed&classAdmin != 0) || isConnectionCommand(info, name) && !info.Admin {
		return ""
	}
	return fmt.Sprintf("-NOPERM User %s has no permissions to run the '%s' command", u.name, strings.ToLower(info.Name))
}

// requiredClasses returns the classes that a user needs for a command.
func requiredClasses(info *command.Info, class command.Class) classes {
	name, _, _ := strings.Cut(info.Name, " ")
	switch {
	case info.Admin || name == "MONITOR" || name == "DEBUG" || name == "CONFIG":
		return classAdmin
	case strings.HasSuffix(name, "SUBSCRIBE") || strings.HasSuffix(name, "PUBLISH") || name == "PUBSUB":
		return classPubSub
	case strings.HasPrefix(name, "EVAL") || strings.HasPrefix(name, "FCALL") || name == "SCRIPT" || name == "FUNCTION":
		return classScripting
	case class == command.Blocking && info.ReadOnly:
		return classBlocking | classRead
	case class == command.Blocking:
		return classBlocking | classWrite
	case info.ReadOnly:
		return classRead
	}
	return classWrite
}

// identify verifies the credentials of the step against the gateway's users, or lets Redis verify them. A non-empty
// result is the error reply of Redis. If clients need not authenticate, identify accepts the gateway's own server
// password, and any password of the default user if there is none: clients keep the configuration of a direct
// connection.
func (w *worker) identify(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	set, c := w.c.g.settings.Load(), w.step.Credentials
	switch {
	case set.PassThrough:
		return w.identifyByRedis(ctx, pin)
	case set.users == nil:
		if e := w.c.g.engine.Logins(); !e.IsOwn(c.User, c.Password) && (e.HasPassword() || c.User != command.DefaultUser) {
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
	if u.quota != w.counted {
		if !u.quota.Enter() {
			w.c.g.refuseClient(w.c.addr, "max_clients of user "+u.name, u.quota.Stats().Limits.MaxClients)
			return [][]byte{resp.AppendError(nil, maxClients)}, nil
		}
		w.entered = u.quota
	}
	w.user = u
	return nil, nil
}

func (w *worker) identifyByRedis(ctx context.Context, pin *engine.Lease) ([][]byte, error) {
	c := w.step.Credentials
	user := c.User
	if c.PasswordOnly {
		user = ""
	}
	token, err := w.c.g.engine.Logins().Verify(ctx, user, c.Password)
	if err != nil {
		w.c.g.count.denied.Add(1)
		if frame, ok := serverErrorFrame(err); ok {
			return [][]byte{frame}, nil
		}
		return nil, err
	}
	if w.step.OnPin && pin != nil {
		pin.Lane().Forbid() // a renewal of credentials would switch back to the previous user
		frame, err := pin.Lane().Do(ctx, []any{"AUTH", c.User, c.Password}, w.c.g.optionsOf(nil))
		if err != nil || frame[0] == '-' {
			w.c.g.engine.Logins().Leave(token)
			return [][]byte{frame}, err
		}
	}
	w.token = token
	return nil, nil
}

// login is the user of a client: one of the gateway's own users, or a user of the engine. The client's lock guards it.
type login struct {
	user   *user    // nil if the gateway has no users of its own
	token  string   // the user in the engine; empty for the engine's own user
	tokens []string // the users that the client keeps in the engine: token, and the users of its subscriptions
}

// identity returns the identity of the connections for the commands of a session.
func (l *login) identity(of session.Identity) engine.Identity {
	return engine.Identity{User: l.token, DB: of.DB, Proto: of.Proto}
}

// keeps reports whether the client keeps a user in the engine.
func (l *login) keeps(token string) bool { return slices.Contains(l.tokens, token) }

// change makes token the client's user. The client takes over one Logins.Verify of this user. It leaves its earlier
// users in the engine, except those with subscriptions.
func (l *login) change(e *engine.Engine, token string, subscribed *subscriptions) {
	switch {
	case l.keeps(token):
		e.Logins().Leave(token) // the client counts once
	case token != "":
		l.tokens = append(l.tokens, token)
	}
	l.token = token
	for _, kept := range slices.Clone(l.tokens) {
		if kept != token && !subscribed.has(kept) {
			l.leave(e, kept)
		}
	}
}

// leave leaves one user in the engine.
func (l *login) leave(e *engine.Engine, token string) {
	if i := slices.Index(l.tokens, token); i >= 0 {
		l.tokens = slices.Delete(l.tokens, i, i+1)
		e.Logins().Leave(token)
	}
}

// leaveAll leaves all users in the engine.
func (l *login) leaveAll(e *engine.Engine) {
	for len(l.tokens) > 0 {
		l.leave(e, l.tokens[0])
	}
}

// changeUserLocked changes the client's user in the engine.
func (c *client) changeUserLocked(token string) {
	if c.gone {
		c.g.engine.Logins().Leave(token)
		return
	}
	c.login.change(c.g.engine, token, &c.subscriptions)
}

// closeRefusedUser closes the clients of a user that the server refuses, as a server does when a user is deleted.
func (g *Gateway) closeRefusedUser(token string) {
	for _, c := range g.list() {
		c.mu.Lock()
		refused := c.login.keeps(token)
		c.mu.Unlock()
		if refused {
			c.disconnect()
		}
	}
}

// userRefused reports whether the server refuses the worker's user. A server closes the connections of such a user. err
// is the failure of the worker's command. If a connection was lost during the command, userRefused queries the server.
func (w *worker) userRefused(ctx context.Context, err error) bool {
	if w.key.User == "" || ctx.Err() != nil {
		return false
	}
	if lost, sent := connectionLost(err); lost && sent {
		_, err = w.c.g.engine.Exchange(ctx, w.key, rawHello, 1, true, nil)
	}
	return refusesUser(err)
}

// refusesUser reports whether the server refused a user when a connection of the user was opened.
func refusesUser(err error) bool {
	lost, sent := connectionLost(err)
	var refusal *resp.ServerError
	return lost && !sent && errors.As(err, &refusal) && (refusal.Code == "WRONGPASS" || refusal.Code == "NOAUTH")
}

// rawHello needs no permission.
var rawHello = []byte("*1\r\n$5\r\nHELLO\r\n")

// serverErrorFrame returns the error reply for an error that a server returned. ok is false for other errors.
func serverErrorFrame(err error) (frame []byte, ok bool) {
	var se *resp.ServerError
	if !errors.As(err, &se) {
		return nil, false
	}
	return resp.AppendError(nil, "-"+se.Error()), true
}
