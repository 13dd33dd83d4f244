package watch

import (
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page/live"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
)

// Settings are the settings that the page shows.
func (w *Watcher) Settings() live.Settings {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.settings
	return live.Settings{Place: connect.Place(&s.Sampler.Options), Rules: s.Rules, Ceilings: s.Ceilings, Reserve: s.Reserve, ListEvery: max(s.Sampler.ListEvery, -time.Second)}
}

// KillURL is the URL of a node for respool kill, without secrets: the Unix socket, which works while the server is full, or the
// server.
func (w *Watcher) KillURL(node string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.socket != "" {
		return relay.URL(w.socket)
	}
	opt := &w.settings.Sampler.Options
	if node == "" {
		return ""
	}
	scheme, user := "redis", ""
	if opt.TLS != nil {
		scheme = "rediss"
	}
	if opt.Password != "" || opt.Credentials != nil {
		user = opt.Username + ":PASSWORD@"
	}
	return scheme + "://" + user + node
}
