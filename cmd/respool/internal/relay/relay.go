// Package relay reads a server through the connections that a running respool watch or respool serve holds, so that doctor,
// who and kill work while the server accepts no new connections. Server is the side of that process, over HTTP; Client is the
// side of the commands. Neither starts goroutines, except those that net/http owns.
package relay

import (
	"net"
	"os"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// The pages. The last two exist only at the Unix socket, because the pages at a TCP address have no login.
const (
	pageConnections = "/api/connections"
	pageClient      = "/api/client"
	pageKill        = "/api/kill"
)

// Connections is the body of /api/connections: what a command needs to examine the servers.
type Connections struct {
	Service string            `json:"service,omitempty"` // the name of the service or the cluster; empty: one server
	Place   string            `json:"place"`             // what is watched, in words
	Cluster bool              `json:"cluster,omitempty"`
	Socket  string            `json:"socket,omitempty"` // the Unix socket of the process, for kill
	Nodes   []monitor.Reading `json:"nodes"`
}

// Line is the body of /api/client.
type Line struct {
	List string `json:"client_list"` // the line of CLIENT LIST; empty: the connection is closed
}

// Killed is the body of /api/kill.
type Killed struct {
	Closed int64 `json:"closed"`
}

// failure is the body of a reply with an error.
type failure struct {
	Error string `json:"error"`
}

// URL is the address of the Unix socket at a path, for commands; empty if the path is.
func URL(path string) string {
	if path == "" {
		return ""
	}
	return "http+unix://" + path
}

// PagesURL is the URL of the pages at the address of a listener. A listener at all addresses has the name of this host.
func PagesURL(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	return "http://" + net.JoinHostPort(host, port)
}
