package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/redistest"
)

const hiddenToken = "hush-token"

func written0600(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func credentialsJSON(password string, expires time.Time) string {
	return fmt.Sprintf(`{"username": "app", "password": %q, "expires": %q, "more": 1}`, password, expires.Format(time.RFC3339Nano))
}

func TestCredentialsOfACommandAFileAndTheEnvironment(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "other", Users: []string{"app on >" + hiddenToken + " ~* &* +@all"}})
	text := credentialsJSON(hiddenToken, time.Now().Add(time.Hour))
	file := written0600(t, text)
	t.Setenv("RESPOOL_TEST_CREDENTIALS", text)
	url := "redis://" + s.Addr()
	for _, from := range []string{"file:" + file, "env:RESPOOL_TEST_CREDENTIALS", "command:cat " + file} {
		for _, args := range [][]string{{"ping", url}, {"who", url}} {
			code, out, said := call(t, append(args, "--credentials", from)...)
			if code > exitWarning {
				t.Errorf("%v from %s: exit code %d, %s", args, from, code, said)
			}
			if strings.Contains(out+said, hiddenToken) {
				t.Errorf("%v from %s shows the password", args, from)
			}
		}
	}
}

// What a source holds is in no error; what a command says on standard error is.
func TestMistakesOfCredentials(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "other"})
	url := "redis://" + s.Addr()
	later := time.Now().Add(time.Hour)
	t.Setenv("RESPOOL_TEST_BROKEN", hiddenToken)
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "script")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return "command:" + path
	}
	for _, x := range []struct{ url, from, want string }{
		{url, "vault:x", "want file:PATH, env:NAME, or command:PROGRAM"},
		{url, "file:", "want file:PATH"},
		{url, "file:/no/such/file", "no such file"},
		{url, "file:" + written0600(t, hiddenToken), "no such JSON"},
		{url, "file:" + written0600(t, `{"username": "app", "token": "`+hiddenToken+`"}`), "have no password"},
		{url, "file:" + written0600(t, `{"password": "`+hiddenToken+`", "expires": "soon"}`), "no time of RFC 3339"},
		{url, "file:" + written0600(t, `{"password": "`+strings.Repeat("x", mostCredentials)+`"}`), "larger than 65536 bytes"},
		{url, "file:" + written0600(t, credentialsJSON(hiddenToken, later)), "refused the username or password"},
		{url, "env:RESPOOL_TEST_NONE", "no variable RESPOOL_TEST_NONE"},
		{url, "env:RESPOOL_TEST_BROKEN", "variable RESPOOL_TEST_BROKEN are no such JSON"},
		{url, "command:no-such-program-here", "can't be run"},
		{url, script("echo " + hiddenToken + "; echo no login >&2; exit 3"), `command script for credentials failed: exit status 3: it wrote "no login"`},
		{url, script("echo " + hiddenToken), "the output of command script are no such JSON"},
		{"redis://:" + hiddenToken + "@" + s.Addr(), "env:RESPOOL_TEST_BROKEN", "want one of them"},
	} {
		code, out, said := call(t, "ping", x.url, "--credentials", x.from)
		if code != exitFailed || !strings.Contains(said, x.want) {
			t.Errorf("%s: exit code %d, %q: want %q", x.from, code, said, x.want)
		}
		if strings.Contains(out+said, hiddenToken) {
			t.Errorf("%s: the password is in %q", x.from, said)
		}
	}
}

func TestACommandForCredentialsIsRunOnceForManyDials(t *testing.T) {
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	program := filepath.Join(dir, "program")
	text := credentialsJSON(hiddenToken, time.Now().Add(time.Hour))
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho run >> "+runs+"\necho '"+text+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &credentialsCommand{source: credentialsSource{command: []string{program}}}
	var dials sync.WaitGroup
	for range 20 {
		dials.Go(func() {
			got, err := c.credentials(context.Background())
			if err != nil || got.Username != "app" || got.Password != hiddenToken || got.Expires.IsZero() {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	dials.Wait()
	if b, _ := os.ReadFile(runs); string(b) != "run\n" {
		t.Errorf("the program was run %d times, want 1", strings.Count(string(b), "run"))
	}
}

func TestACommandForCredentialsHasATimeout(t *testing.T) {
	s := credentialsSource{command: []string{"sleep", "60"}, timeout: 20 * time.Millisecond}
	if _, err := s.run(context.Background()); err == nil || !strings.Contains(err.Error(), "did not end within 20ms") {
		t.Errorf("got %v", err)
	}
}

// The gateway authenticates its connections again with what the file holds by then.
func TestTheGatewayRenewsCredentials(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "other", Users: []string{"app on >one >two ~* &* +@all"}})
	file := written0600(t, credentialsJSON("one", time.Now().Add(4*time.Second)))
	r := served(t, &serveCmd{Config: written(t, "respool.yaml",
		"url: redis://"+s.Addr()+"\ncredentials: {file: "+file+"}\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")})
	c := talkTo(t, "tcp", r.at(t, 1))
	c.do("+OK", "SET", "k", "v")
	if err := os.WriteFile(file, []byte(credentialsJSON("two", time.Now().Add(time.Hour))), 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); calls(s, "auth") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no connection has authenticated again")
		}
		c.do("v", "GET", "k")
	}
	s.Do("ACL", "SETUSER", "app", "<one")
	c.do("v", "GET", "k")
}

// calls is how often the server executed a command, given in lower case.
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
		"credentials: {command: [no-such-program-here]}":     "can't be run",
		"credentials: file":                                  "want the keys",
		"credentials: {vault: a}":                            "unknown key",
		"credentials: {file: a}\nurl: redis://:secret@cache": "want one of them",
		"serve: {credentials: {file: a}}":                    "serve.credentials without serve.url",
	} {
		if !strings.Contains(text, "url:") {
			text += "\nurl: redis://cache"
		}
		_, err := (&serveCmd{Config: written(t, "respool.yaml", text+"\n")}).read(&passedOnes{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
