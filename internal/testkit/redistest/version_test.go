//go:build unix

package redistest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for line, want := range map[string]Version{
		"Redis server v=6.2.16 sha=00000000:0 malloc=libc bits=64 build=c8b7\n":        {"Redis", 6, 2, 16},
		"Redis server v=255.255.255 sha=00000000:1 malloc=libc bits=64 build=1\n":      {"Redis", 255, 255, 255},
		"Valkey server v=8.0.1 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64 build=9\n": {"Valkey", 8, 0, 1},
	} {
		if got, err := parseVersion(line); got != want || err != nil {
			t.Errorf("%q: got %v, %v: want %v", line, got, err, want)
		}
	}
	for _, line := range []string{"", "redis-cli 7.0.15", "Valkey server v=eight "} {
		if v, err := parseVersion(line); err == nil {
			t.Errorf("%q: got %v: want an error", line, v)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, x := range []struct {
		v                Version
		since70, redis74 bool
	}{
		{Version{"Redis", 6, 2, 16}, false, false}, {Version{"Redis", 7, 0, 15}, true, false}, {Version{"Redis", 7, 4, 1}, true, true},
		{Version{"Redis", 8, 0, 0}, true, true}, {Version{"Valkey", 8, 0, 1}, true, false},
	} {
		if got, after := x.v.Since(7, 0), x.v.Redis(7, 4); got != x.since70 || after != x.redis74 {
			t.Errorf("%v: since 7.0: %v, Redis 7.4 or later: %v: want %v, %v", x.v, got, after, x.since70, x.redis74)
		}
	}
}

// A server that does not start fails the test at once, with one error that states the cause.
func TestTheErrorNamesAWrongServer(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho something else\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file or directory: want the path of a redis-server or valkey-server",
		dir:                        "want the path of a redis-server or valkey-server",
		"./redis-server":           "want an absolute path",
		other:                      `the server reports "something else\n"`,
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAPlainServerReplies$")
		cmd.Env = append(os.Environ(), serverVariable+"="+server)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Count(string(out), "start a server") != 1 {
			t.Errorf("%s: %v: %s: want one error with %q", server, err, out, want)
		}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAPlainServerReplies$")
	cmd.Env = append(os.Environ(), serverVariable+"=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("without %s: %v: %s", serverVariable, err, out)
	}
}
