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

// Version is the program that the tests start, and its version.
type Version struct {
	Name                string // Redis or Valkey
	Major, Minor, Patch int    // 255.255.255 of a development build
}

// Number is the version as HELLO tells it.
func (v Version) Number() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

func (v Version) String() string { return v.Name + " " + v.Number() }

// Redis reports whether it is Redis, of that version or a later one.
func (v Version) Redis(major, minor int) bool {
	return v.Name == "Redis" && (v.Major > major || v.Major == major && v.Minor >= minor)
}

// Valkey reports whether it is Valkey. Its first version is Redis 7.2 by another name.
func (v Version) Valkey() bool { return v.Name == "Valkey" }

// Since reports whether it has what came with a version of Redis up to 7.2, from where Valkey
// goes its own way.
func (v Version) Since(major, minor int) bool { return v.Valkey() || v.Redis(major, minor) }

// DropsRefusedAuth reports whether a refused AUTH, or HELLO with AUTH, gets no reply while
// replies to earlier commands are still to be written.
func (v Version) DropsRefusedAuth() bool { return v.Since(7, 2) }

// NoCommand is the error for a user who may not run a command.
func (v Version) NoCommand(user, command string) string {
	switch {
	case v.Since(7, 2):
		return fmt.Sprintf("NOPERM User %s has no permissions to run the '%s' command", user, command)
	case v.Since(7, 0):
		return fmt.Sprintf("NOPERM this user has no permissions to run the '%s' command", command)
	}
	return fmt.Sprintf("NOPERM this user has no permissions to run the '%s' command or its subcommand", command)
}

// NoKey is the error for a user who may not use a key.
func (v Version) NoKey() string {
	if v.Since(7, 2) {
		return "NOPERM No permissions to access a key"
	}
	return "NOPERM this user has no permissions to access one of the keys used as arguments"
}

// serverVariable names the environment variable that chooses the server.
const serverVariable = "REDIS_SERVER"

// program finds the server that the tests start, once: that of REDIS_SERVER, else redis-server on the PATH.
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
		return "", fmt.Errorf("%s is %q: want an absolute path, since each package's tests run in a directory of their own", serverVariable, name)
	}
	path, err = exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is %q: %w: want the path of a redis-server or valkey-server", serverVariable, name, err)
	}
	return path, nil
})

// version asks the program, once.
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
		return Version{}, fmt.Errorf("the server calls itself %.100q: want Redis or Valkey and a version", line)
	}
	v := Version{Name: "Redis"}
	if strings.EqualFold(m[1], "valkey") {
		v.Name = "Valkey"
	}
	for i, n := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*n, _ = strconv.Atoi(m[2+i]) // digits, as the pattern says
	}
	return v, nil
}
