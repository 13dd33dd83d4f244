package watch

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/listener"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page/live"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
)

// Front serves the connections of a watcher to the commands doctor, who and kill: at the pages, and at a Unix socket. The
// goroutine of the daemon owns it. Close closes the socket.
type Front struct {
	watcher *Watcher
	relay   *relay.Server
	pages   *http.ServeMux
	log     *slog.Logger

	at     net.Listener // of the pages; nil: none
	socket *listener.Listener
	server *http.Server // of socket
}

// NewFront adds the page of the connections to the pages.
func NewFront(w *Watcher, pages *http.ServeMux, log *slog.Logger) *Front {
	f := &Front{watcher: w, relay: relay.NewServer(w.Held), pages: pages, log: log}
	f.relay.Pages(pages)
	return f
}

// Show adds the page for people, whose source is the watcher. Actions of cfg may pause a gateway, and gateway is the source of its
// clients; nil: there is none.
func (f *Front) Show(cfg live.Config, gateway connect.ClientSource) {
	cfg.Source = shown{f.watcher, f.relay}
	a := cfg.Actions
	if a == nil {
		a = &live.Actions{}
	}
	a.Enabled, a.Log = f.watcher.mayAct, f.log
	a.Kill = func(ctx context.Context, k live.Closing) (string, error) {
		defer f.relay.Forget()
		return f.watcher.closeClients(ctx, k, gateway)
	}
	a.Login = func(user, password string) bool { return f.watcher.operators().OperatorLogin(user, password) }
	a.Allowed = func(user string) string { return f.watcher.operators().OperatorProof(user) }
	cfg.Actions = a
	p := live.New(cfg)
	p.Register(f.pages)
	f.watcher.Observe(p.Observe)
}

// shown is a watcher as the page sees it.
type shown struct {
	*Watcher
	*relay.Server
}

// PagesAt states where the pages are; nil: nowhere.
func (f *Front) PagesAt(l net.Listener) {
	f.at = l
	f.announce()
}

// Prepare opens the socket at an address, unless it is open. use moves to it, and drop closes it instead.
func (f *Front) Prepare(a *config.Address) (use, drop func(), err error) {
	switch {
	case a == nil:
		return f.Close, func() {}, nil
	case f.socket != nil && f.socket.Config().Addr == a.Addr:
		return func() { f.socket.Reconfigure(*a) }, func() {}, nil
	}
	l, err := listener.Open(*a, f.log)
	if err != nil {
		return nil, nil, err
	}
	return func() {
		f.Close()
		f.socket, f.server = l, f.relay.Serve(l, f.pages)
		f.log.Info("socket", "at", relay.URL(a.Addr), "for", "respool doctor, who and kill")
		f.announce()
	}, func() { _ = l.Close() }, nil
}

// Close closes the socket.
func (f *Front) Close() {
	if f.socket == nil {
		return
	}
	_ = f.server.Close()
	_ = f.socket.Close()
	f.socket, f.server = nil, nil
	f.announce()
}

// announce names both addresses to the watcher.
func (f *Front) announce() {
	path := ""
	if f.socket != nil {
		path = f.socket.Config().Addr
	}
	f.watcher.reachable(f.at, path)
}
