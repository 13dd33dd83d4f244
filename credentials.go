package respool

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Credentials are a user and a password, or token, as Options.Credentials and
// SentinelOptions.Credentials return them. They print without the password, with any verb.
type Credentials struct {
	// Username is empty for the user default.
	Username string
	Password string
	// Expires is when the server stops accepting the password, or closes connections that
	// authenticated with it. Zero: never. Connections are authenticated again before that.
	Expires time.Time
}

// String names the user and the expiry.
func (c Credentials) String() string {
	s := fmt.Sprintf("respool.Credentials{user %q", c.Username)
	if !c.Expires.IsZero() {
		s += ", until " + c.Expires.Format(time.RFC3339)
	}
	return s + "}"
}

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// Format is String, whatever the verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is String, for slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is String, so that no encoder shows the password.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// auth is the command that authenticates with them.
func (c Credentials) auth() []any {
	if c.Username == "" {
		return []any{"AUTH", c.Password}
	}
	return []any{"AUTH", c.Username, c.Password}
}

// login asks for the credentials of a dial, in the form that package wire wants. nil without a provider.
func (r *renewer) login() func(ctx context.Context) (user, password string, expires time.Time, err error) {
	if r == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, time.Time, error) {
		c, err := r.ask(ctx)
		return c.Username, c.Password, c.Expires, err
	}
}

// ownCredentials are those of the client's own user.
func (g *guests) ownCredentials(ctx context.Context) (Credentials, error) {
	own := Credentials{Username: g.c.opt.Username, Password: g.c.opt.Password}
	var err error
	if g.c.renewer != nil {
		own, err = g.c.renewer.ask(ctx)
	}
	own.Username = cmp.Or(own.Username, defaultUser) // AUTH with a password alone may mean another one
	return own, err
}
