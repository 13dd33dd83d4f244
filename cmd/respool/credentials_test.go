package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestCredentialsOfACommandAFileAndTheEnvironment(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "other", Users: []string{"app on >" + tooltest.HiddenToken + " ~* &* +@all"}})
	text := tooltest.CredentialsJSON(tooltest.HiddenToken, time.Now().Add(time.Hour))
	file := tooltest.File(t, "credentials.json", text)
	t.Setenv("RESPOOL_TEST_CREDENTIALS", text)
	url := "redis://" + s.Addr()
	for _, from := range []string{"file:" + file, "env:RESPOOL_TEST_CREDENTIALS", "command:cat " + file} {
		for _, args := range [][]string{{"ping", url}, {"who", url}} {
			code, out, said := call(t, append(args, "--credentials", from)...)
			if code > exitFindings {
				t.Errorf("%v from %s: exit code %d, %s", args, from, code, said)
			}
			if strings.Contains(out+said, tooltest.HiddenToken) {
				t.Errorf("%v from %s shows the password", args, from)
			}
		}
	}
}

// No error shows the content of a source. Errors show the standard error of a command.
func TestMistakesOfCredentials(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Password: "other"})
	url := "redis://" + s.Addr()
	later := time.Now().Add(time.Hour)
	t.Setenv("RESPOOL_TEST_BROKEN", tooltest.HiddenToken)
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
		{url, "file:" + tooltest.File(t, "credentials.json", tooltest.HiddenToken), "not a valid JSON object"},
		{url, "file:" + tooltest.File(t, "credentials.json", `{"username": "app", "token": "`+tooltest.HiddenToken+`"}`), "have no password"},
		{url, "file:" + tooltest.File(t, "credentials.json", `{"password": "`+tooltest.HiddenToken+`", "expires": "soon"}`), "not an RFC 3339 time"},
		{url, "file:" + tooltest.File(t, "credentials.json", `{"password": "`+strings.Repeat("x", credentials.MaxSize)+`"}`), "larger than 65536 bytes"},
		{url, "file:" + tooltest.File(t, "credentials.json", tooltest.CredentialsJSON(tooltest.HiddenToken, later)), "refused the username or password"},
		{url, "env:RESPOOL_TEST_NONE", "variable RESPOOL_TEST_NONE is not set"},
		{url, "env:RESPOOL_TEST_BROKEN", "variable RESPOOL_TEST_BROKEN are not a valid JSON object"},
		{url, "command:no-such-program-here", "cannot be run"},
		{url, script("echo " + tooltest.HiddenToken + "; echo no login >&2; exit 3"), `command script for credentials failed: exit status 3: standard error: "no login"`},
		{url, script("echo " + tooltest.HiddenToken), "the output of command script are not a valid JSON object"},
		{"redis://:" + tooltest.HiddenToken + "@" + s.Addr(), "env:RESPOOL_TEST_BROKEN", "want only one of them"},
	} {
		code, out, said := call(t, "ping", x.url, "--credentials", x.from)
		if code != exitFailed || !strings.Contains(said, x.want) {
			t.Errorf("%s: exit code %d, %q: want %q", x.from, code, said, x.want)
		}
		if strings.Contains(out+said, tooltest.HiddenToken) {
			t.Errorf("%s: the password is in %q", x.from, said)
		}
	}
}
