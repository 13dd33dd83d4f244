package fakeserver

import (
	"fmt"
	"strings"
)

// Version is a release that the server imitates.
type Version struct {
	Name   string // redis or valkey
	Number string // 8.0.1
	major  int
	minor  int
}

// The supported releases.
var (
	Redis62  = Version{"redis", "6.2.16", 6, 2}
	Redis70  = Version{"redis", "7.0.15", 7, 0}
	Redis72  = Version{"redis", "7.2.6", 7, 2}
	Redis74  = Version{"redis", "7.4.1", 7, 4}
	Redis80  = Version{"redis", "8.0.0", 8, 0}
	Redis82  = Version{"redis", "8.2.1", 8, 2}
	Redis86  = Version{"redis", "8.6.2", 8, 6}
	Valkey80 = Version{"valkey", "8.0.1", 8, 0}
	Valkey90 = Version{"valkey", "9.0.0", 9, 0}
)

// Versions are all supported releases.
var Versions = []Version{Redis62, Redis70, Redis72, Redis74, Redis80, Redis82, Redis86, Valkey80, Valkey90}

// String returns the name and the number, such as redis-7.0.15.
func (v Version) String() string { return v.Name + "-" + v.Number }

func (v Version) valkey() bool { return v.Name == "valkey" }

// since reports whether v has a feature of a Redis version up to 7.2, from which Valkey forked.
func (v Version) since(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

// dropsRefusedAuth reports whether a refused AUTH gets no reply while others are pending.
func (v Version) dropsRefusedAuth() bool { return v.since(7, 2) }

// title is the name in error texts.
func (v Version) title() string {
	if v.valkey() {
		return "Valkey"
	}
	return "Redis"
}

// unknownCommand is the error for an unknown command.
func (v Version) unknownCommand(args []string) string {
	open, end, gap := "'", "'", " "
	if !v.since(7, 0) {
		open, end, gap = "`", "`", ", "
	}
	if v.Name == "redis" && v.since(8, 4) && len(args) == 1 {
		return fmt.Sprintf("-ERR unknown command '%.128s'\r\n", args[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-ERR unknown command %s%.128s%s, with args beginning with: ", open, args[0], end)
	for _, a := range args[1:] {
		b.WriteString(open + a + end + gap)
	}
	return b.String() + "\r\n"
}

// unknownSubcommand is the error for an unknown subcommand.
func (v Version) unknownSubcommand(name, sub string) string {
	if !v.since(7, 0) {
		return fmt.Sprintf("-ERR Unknown subcommand or wrong number of arguments for '%.128s'. Try %s HELP.\r\n", sub, strings.ToUpper(name))
	}
	return fmt.Sprintf("-ERR unknown subcommand '%.128s'. Try %s HELP.\r\n", sub, strings.ToUpper(name))
}

// arity is the error for too few or too many arguments.
func arity(name string) string {
	return fmt.Sprintf("-ERR wrong number of arguments for '%s' command\r\n", strings.ToLower(name))
}

// NoPermission is the error for a user without the right to run a command.
func (v Version) NoPermission(user, command string) string {
	switch command = strings.ToLower(command); {
	case v.since(7, 2):
		return fmt.Sprintf("-NOPERM User %s has no permissions to run the '%s' command\r\n", user, command)
	case v.since(7, 0):
		return fmt.Sprintf("-NOPERM this user has no permissions to run the '%s' command\r\n", command)
	}
	return fmt.Sprintf("-NOPERM this user has no permissions to run the '%s' command or its subcommand\r\n", command)
}

// Loading is the error of a server that loads its data.
func (v Version) Loading() string {
	return "-LOADING " + v.title() + " is loading the dataset in memory\r\n"
}

// Busy is the error of a server while a script runs for too long.
func (v Version) Busy() string {
	return "-BUSY " + v.title() + " is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n"
}

// Errors that are the same in all versions.
const (
	NoAuth     = "-NOAUTH Authentication required.\r\n"
	WrongPass  = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	MaxClients = "-ERR max number of clients reached\r\n"
)
