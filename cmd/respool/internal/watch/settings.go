package watch

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/clients"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page/live"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
)

// Settings are the settings that the page shows.
func (w *Watcher) Settings() live.Settings {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.settings
	return live.Settings{Place: connect.Place(&s.Sampler.Options), Rules: s.Rules, Ceilings: s.Ceilings, Reserve: s.Reserve, ListEvery: max(s.Sampler.ListEvery, -time.Second)}
}

// mayAct reports whether the configuration allows actions on the page.
func (w *Watcher) mayAct() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings.Actions
}

// operators are the users who may log in on the page.
func (w *Watcher) operators() gateway.Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings.Operators
}

// closeGroup closes the connections of a group of a node, over those of the watch.
func (w *Watcher) closeGroup(ctx context.Context, node, field, key string, counted int) (string, error) {
	h := w.Held()
	c := h.Clients[node]
	if c == nil {
		return "", fmt.Errorf("there is no connection to %.80q", node)
	}
	r, err := clients.CloseGroup(ctx, connect.Shared(c, cmp.Or(h.Own, h.Options.ClientName)), clients.GroupKey{Field: field, Key: key}, counted)
	return r.Text(counted), err
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
