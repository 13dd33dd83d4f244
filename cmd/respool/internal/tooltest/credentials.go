package tooltest

import (
	"fmt"
	"time"
)

// HiddenToken is a password that no output may contain.
const HiddenToken = "hush-token"

// CredentialsJSON is the JSON object of a source of credentials.
func CredentialsJSON(password string, expires time.Time) string {
	return fmt.Sprintf(`{"username": "app", "password": %q, "expires": %q, "more": 1}`, password, expires.Format(time.RFC3339Nano))
}
