//go:build unix

package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Version is the name and version of the server program.
type Version struct {
	Name                string // Redis or Valkey
	Major, Minor, Patch int    // 255.255.255 for a development build
}

// Number is the version in the reply to HELLO.
func (v Version) Number() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

func (v Version) String() string { return v.Name + " " + v.Number() }

// Redis reports whether the server is Redis of this version or later.
func (v Version) Redis(major, minor int) bool {
	return v.Name == "Redis" && (v.Major > major || v.Major == major && v.Minor >= minor)
}

// Valkey reports whether the server is Valkey. Valkey forked from Redis 7.2.
func (v Version) Valkey() bool { return v.Name == "Valkey" }

// Since reports whether the server has a feature of a Redis version up to 7.2, from which Valkey
// forked.
func (v Version) Since(major, minor int) bool { return v.Valkey() || v.Redis(major, minor) }

// DropsRefusedAuth reports whether the server drops the reply to a refused AUTH, or HELLO with AUTH,
// while replies to earlier commands are pending.
func (v Version) DropsRefusedAuth() bool { return v.Since(7, 2) }

// NoCommand is the error for a user without the right to run a command.
func (v Version) NoCommand(user, command string) string {
	switch {
	case v.Since(7, 2):
		return fmt.Sprintf("NOPERM User %s has no permissions to run the '%s' command", user, command)
	case v.Since(7, 0):
		return fmt.Sprintf("NOPERM this user has no permissions to run the '%s' command", command)
	}
	return fmt.Sprintf("NOPERM this user has no permissions to run the '%s' command or its subcommand", command)
}

// NoKey is the error for a user without the right to use a key.
func (v Version) NoKey() string {
	if v.Since(7, 2) {
		return "NOPERM No permissions to access a key"
	}
	return "NOPERM this user has no permissions to access one of the keys used as arguments"
}

// serverVariable is the environment variable with the path of the server.
const serverVariable = "REDIS_SERVER"

// program finds the server, once: the path in REDIS_SERVER, else redis-server on the PATH.
var program = sync.OnceValues(func() (path string, err error) {
	name := os.Getenv(serverVariable)
	if name == "" {
		path, err = exec.LookPath("redis-server")
		if err != nil {
			return "", fmt.Errorf("%w: install Debian's package redis-server, or set %s to the path of a server", err, serverVariable)
		}
		return path, nil
	}
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		return "", fmt.Errorf("%s is %q: want an absolute path, since the tests of each package run in another directory", serverVariable, name)
	}
	path, err = exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is %q: %w: want the path of a redis-server or valkey-server", serverVariable, name, err)
	}
	return path, nil
})

// version runs the program for its version, once.
var version = sync.OnceValues(func() (Version, error) {
	path, err := program()
	if err != nil {
		return Version{}, err
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return Version{}, fmt.Errorf("%s --version: %w: want a redis-server or valkey-server", path, err)
	}
	return parseVersion(string(out))
})

// ServerVersion is the version of the servers that Start starts.
func ServerVersion(t testing.TB) Version {
	t.Helper()
	v, err := version()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var versionLine = regexp.MustCompile(`^(?i:(redis|valkey)) server v=(\d+)\.(\d+)\.(\d+) `)

func parseVersion(line string) (Version, error) {
	m := versionLine.FindStringSubmatch(line)
	if m == nil {
		return Version{}, fmt.Errorf("the server reports %.100q: want Redis or Valkey and a version", line)
	}
	v := Version{Name: "Redis"}
	if strings.EqualFold(m[1], "valkey") {
		v.Name = "Valkey"
	}
	for i, n := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*n, _ = strconv.Atoi(m[2+i]) // the pattern matches digits only
	}
	return v, nil
}
