package respool

import (
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
