package gateway

import (
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// serverGreeting is a server's description of itself, from a reply to HELLO or from INFO.
type serverGreeting struct {
	hello    *resp.Value // nil if it comes from INFO
	greeting *session.Greeting
}

// greeting returns the description of the server from the latest handshake, or nil while it is unknown. After a
// failover it describes the new server.
func (g *Gateway) greeting() *session.Greeting {
	known := g.greeted.Load()
	if hello := g.engine.Greeting(); hello != nil && (known == nil || known.hello != hello) {
		if greeting := session.ReadGreeting(hello); greeting != nil {
			known = &serverGreeting{hello, greeting}
			g.greeted.Store(known)
		}
	}
	if known == nil {
		return nil
	}
	return known.greeting
}

// greetingOf reads the server's name and version from the text of INFO.
func greetingOf(info string) *session.Greeting {
	name, version := "redis", ""
	for line := range strings.Lines(info) {
		switch field, value, _ := strings.Cut(strings.TrimSpace(line), ":"); {
		case field == "valkey_version":
			name, version = "valkey", value
		case field == "redis_version" && name == "redis":
			version = value
		}
	}
	return session.NewGreeting(name, version)
}
