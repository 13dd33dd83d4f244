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

// closeClients closes connections of a node, over those of the watch. gateway is the source of the clients of a gateway; nil: there
// is none.
func (w *Watcher) closeClients(ctx context.Context, k live.Closing, gateway connect.ClientSource) (string, error) {
	source := gateway
	if k.Node != live.GatewayNode || gateway == nil {
		h := w.Held()
		c := h.Clients[k.Node]
		if c == nil {
			return "", fmt.Errorf("there is no connection to %.80q", k.Node)
		}
		source = connect.Shared(c, cmp.Or(h.Own, h.Options.ClientName))
	}
	if k.ID != 0 {
		return clients.CloseOne(ctx, source, k.ID, k.Addr)
	}
	r, err := clients.CloseGroup(ctx, source, clients.GroupKey{Field: k.Field, Key: k.Key}, k.Counted)
	return r.Text(k.Counted), err
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
