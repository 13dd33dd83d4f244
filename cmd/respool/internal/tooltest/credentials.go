package tooltest

import (
	"fmt"
	"time"
)

const HiddenToken = "hush-token"

func CredentialsJSON(password string, expires time.Time) string {
	return fmt.Sprintf(`{"username": "app", "password": %q, "expires": %q, "more": 1}`, password, expires.Format(time.RFC3339Nano))
}
