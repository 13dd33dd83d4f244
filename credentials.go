package respool

import (
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Credentials are a user and a password or token, as Options.Credentials and
// SentinelOptions.Credentials return them. They print without the password, with any verb.
type Credentials struct {
	// Username is the ACL user. Empty: the user default.
	Username string
	Password string
	// Expires is the time when the server stops accepting the password, or closes connections that
	// authenticated with it. The client authenticates its connections again before that. Zero:
	// never.
	Expires time.Time
}

// String returns the user and the expiry.
func (c Credentials) String() string {
	s := fmt.Sprintf("respool.Credentials{user %q", c.Username)
	if !c.Expires.IsZero() {
		s += ", until " + c.Expires.Format(time.RFC3339)
	}
	return s + "}"
}

// GoString returns String.
func (c Credentials) GoString() string { return c.String() }

// Format writes String for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns String, for slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText returns String, so that no encoder shows the password.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
