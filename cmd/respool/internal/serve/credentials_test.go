package serve

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The gateway reads the file again and authenticates its open connections again.
func TestTheGatewayRenewsCredentials(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "other", Users: []string{"app on >one >two ~* &* +@all"}})
	file := tooltest.File(t, "credentials.json", tooltest.CredentialsJSON("one", time.Now().Add(4*time.Second)))
	r := served(t, &Flags{Config: tooltest.File(t, "respool.yaml",
		"url: redis://"+s.Addr()+"\ncredentials: {file: "+file+"}\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")})
	c := tooltest.Dial(t, "tcp", r.at(t, 1))
	c.Do("+OK", "SET", "k", "v")
	if err := os.WriteFile(file, []byte(tooltest.CredentialsJSON("two", time.Now().Add(time.Hour))), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a connection authenticates again", func() bool {
		c.Do("v", "GET", "k")
		return calls(s, "auth") > 0
	})
	s.Do("ACL", "SETUSER", "app", "<one")
	c.Do("v", "GET", "k")
}

// calls is how often the server executed a command, in lower case.
func calls(s *redistest.Server, command string) int {
	var n int
	stat, _, _ := strings.Cut(s.Info("commandstats")["cmdstat_"+command], ",")
	_, _ = fmt.Sscanf(stat, "calls=%d", &n)
	return n
}

func TestCredentialsInAConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"credentials: {}":                                    "want one of the keys command, file and env",
		"credentials: {file: a, env: b}":                     "want one of the keys command, file and env",
		"credentials: {file: a, timeout: 1s}":                "a timeout without a command",
		"credentials: {command: []}":                         "want one of the keys command, file and env",
		"credentials: {command: [no-such-program-here]}":     "cannot be run",
		"credentials: file":                                  "want the keys",
		"credentials: {vault: a}":                            "unknown key",
		"credentials: {file: a}\nurl: redis://:secret@cache": "want only one of them",
		"serve: {credentials: {file: a}}":                    "serve.credentials without serve.url",
	} {
		if !strings.Contains(text, "url:") {
			text += "\nurl: redis://cache"
		}
		_, err := (&Flags{Config: tooltest.File(t, "respool.yaml", text+"\n")}).Read(&systemd.Sockets{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
