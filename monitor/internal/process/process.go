// Package process finds the processes of this machine that own TCP connections. On Linux it reads
// /proc, as far as the user may. On other systems it finds none. It starts no goroutines.
package process

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// Process is a running program. The zero value is an unknown one.
type Process struct {
	Program string // the command and its script: python3 worker.py. It has no other arguments, since they may be secrets
	PID     int
}

// String returns the program and its process id, or "" if it is unknown.
func (p Process) String() string {
	if p.PID == 0 {
		return ""
	}
	return fmt.Sprintf("%s, pid %d", p.Program, p.PID)
}

// Socket is a connection of a client to a server, by the addresses that the server reports.
type Socket struct{ Client, Server netip.AddrPort }

// ParseSocket reads addresses of CLIENT LIST. ok is false if they are not addresses of TCP.
func ParseSocket(client, server string) (s Socket, ok bool) {
	from, err := netip.ParseAddrPort(client)
	to, err2 := netip.ParseAddrPort(server)
	return Socket{plain(from), plain(to)}, err == nil && err2 == nil && from.Port() > 0 && to.Port() > 0
}

// plain returns the IPv4 address of one that is written as IPv6.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

func (s Socket) reverse() Socket { return Socket{s.Server, s.Client} }

// interpreters run the script that their first argument names.
var interpreters = []string{"python", "pypy", "node", "nodejs", "deno", "bun", "ruby", "perl", "php", "java", "sh", "bash", "dash", "lua", "dotnet", "uwsgi", "gunicorn"}

// programOf returns the name of a program for its arguments. It leaves out all arguments except the
// name of a script, a module or a class.
func programOf(args []string) string {
	if len(args) == 0 || args[0] == "" {
		return ""
	}
	name := path.Base(args[0])
	if !slices.Contains(interpreters, strings.TrimRight(name, "0123456789.")) {
		return strings.Fields(name + " ")[0] // programs that set a title write their arguments into the first
	}
	for i := 1; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "-cp" || arg == "-classpath" || arg == "--class-path" || arg == "-W" || arg == "-X" || arg == "-r" || arg == "--require":
			i++
		case (arg == "-m" || arg == "-jar") && i+1 < len(args):
			return name + " " + arg + " " + path.Base(args[i+1])
		case arg == "-c" || arg == "-e":
			return name + " " + arg // code
		case strings.HasPrefix(arg, "-"):
		case strings.ContainsAny(arg, "=@ ") || strings.Contains(arg, "://"):
			return name // not the name of a script
		default:
			return name + " " + path.Base(arg)
		}
	}
	return name
}
