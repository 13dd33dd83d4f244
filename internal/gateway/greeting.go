package gateway

import (
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// greeted is what a server said of itself: in a reply to HELLO, or else in INFO.
type greeted struct {
	hello *resp.Value // nil: in INFO
	is    *session.Greeting
}

// greeting is what the server says of itself, and nil as long as that is not known. The handshake of each connection
// tells it, so it is another one's as soon as commands have gone to another server.
func (g *Gateway) greeting() *session.Greeting {
	known := g.greeted.Load()
	if hello := g.engine.Greeting(); hello != nil && (known == nil || known.hello != hello) {
		if is := session.ReadGreeting(hello); is != nil {
			known = &greeted{hello, is}
			g.greeted.Store(known)
		}
	}
	if known == nil {
		return nil
	}
	return known.is
}

// greetingOf reads what INFO says of the server.
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
