// Package live is the page for people at / of the pages of respool watch and respool serve. A tab loads the page and the files
// in assets once, and then receives a snapshot as JSON over one stream of server-sent events at each look of the watch. A
// snapshot is encoded once for all tabs, and not at all without tabs. The page reads what the watch has read: only a click on a
// group sends CLIENT LIST, over the connections of the watch. The page keeps two hours of history in memory.
//
// All text reaches the page as JSON strings, which its script inserts as text. The package starts no goroutines; streams run on
// those of net/http.
package live

import (
	"context"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// Source is the watch whose state the page shows. Its methods are safe for concurrent use.
type Source interface {
	State() *monitor.State
	Alerts() []monitor.Alert
	QueueStats() []notify.Stats
	Deliveries(alert string) []notify.Delivery // of an alert, by its ID, in the order of QueueStats
	Every() time.Duration                      // between two looks
	Settings() Settings
	// Reading lists the connections of a node over those of the watch. It blocks until the server has answered.
	Reading(ctx context.Context, node string) (*monitor.Reading, error)
	// KillURL is the URL of a node for respool kill, without secrets.
	KillURL(node string) string
}

// Settings are the settings of a watch that the page shows.
type Settings struct {
	Place     string // what is watched, in words
	Rules     []monitor.Rule
	Ceilings  map[string]int64 // planned connections by service; nil: no plan
	Reserve   int64            // connections that the plan keeps free
	ListEvery time.Duration    // below 0: never
}

// Config configures a page.
type Config struct {
	Command string // respool watch or respool serve
	Source  Source
	Gateway func() GatewayStats // nil: there is no gateway
	// Observed reports what hurts the gateway, with up to n entries of each kind; nil: there is no gateway.
	Observed func(n int) observe.Report
	Actions  *Actions // nil: the page only shows
}

// Page is the page and its history. Its methods are safe for concurrent use.
type Page struct {
	cfg  Config
	tabs tabs

	mu      sync.Mutex
	version uint64
	changed chan struct{} // closed at the next version
	history map[string]*series
	newest  map[string]point // the points that contain the last look, by node
	marks   marks
	gateway *gatewayWatch // nil: there is no gateway

	encoding sync.Mutex
	encoded  map[string]frames // of the version encodedAt, by node
	at       uint64
	since    time.Time                // when the oldest of encoded was encoded
	extra    map[string]extraFindings // by node
}

// New returns a page without history. Observe adds to it.
func New(cfg Config) *Page {
	p := &Page{cfg: cfg, changed: make(chan struct{}), history: map[string]*series{}, newest: map[string]point{},
		encoded: map[string]frames{}, extra: map[string]extraFindings{}}
	p.tabs.open = map[string]int{}
	if cfg.Gateway != nil {
		p.gateway = &gatewayWatch{read: cfg.Gateway}
	}
	return p
}

// Observe adds a new state to the history, and sends it to the tabs. changed are the alerts that began to fire or were resolved.
func (p *Page) Observe(st *monitor.State, changed []monitor.Alert) {
	every := p.cfg.Source.Every()
	if p.gateway != nil {
		p.gateway.look(st.At, every, p.cfg.Source.Settings().ListEvery)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range st.Nodes {
		p.observe(&st.Nodes[i], st.At, every)
	}
	if p.gateway != nil {
		p.observe(p.gateway.node(), st.At, every)
	}
	for _, a := range changed {
		if a.State == monitor.Resolved {
			p.marks = p.marks.add(a.Resolved, "resolved", prose(a.Rule+" is resolved"), a.Node)
			continue
		}
		p.marks = p.marks.add(a.Fired, "alert", prose(a.Rule+": "+a.What), a.Node)
	}
	for addr, s := range p.history {
		if n := len(s.points); n > 0 && st.At.UnixMilli()-s.points[n-1].at > historyKept.Milliseconds() {
			delete(p.history, addr)
			delete(p.newest, addr)
		}
	}
	for addr := range p.extra {
		if st.Node(addr) == nil && addr != GatewayNode {
			delete(p.extra, addr)
		}
	}
	p.version++
	close(p.changed)
	p.changed = make(chan struct{})
}

// observe adds the state of a node. The caller holds mu.
func (p *Page) observe(n *monitor.NodeState, at time.Time, every time.Duration) {
	s := p.history[n.Addr]
	if s == nil {
		s = newSeries(every, n.Restarts)
		p.history[n.Addr] = s
	}
	if n.Restarts > s.restarts {
		s.restarts = n.Restarts
		p.marks = p.marks.add(at, "restart", "the server restarted", n.Addr)
	}
	p.newest[n.Addr] = s.add(pointOf(n, at))
}

//go:embed assets
var files embed.FS

// document is the page. The script fills it.
var document = template.Must(template.ParseFS(files, "assets/page.html"))

// policy allows only the files of this package: neither scripts nor styles in the document, and no other host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Register adds the page and its streams.
func (p *Page) Register(mux *http.ServeMux) {
	assets, err := fs.Sub(files, "assets")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	server := http.FileServerFS(assets)
	for _, name := range []string{"page.js", "charts.js", "tables.js", "actions.js", "page.css", "uPlot.iife.min.js", "uPlot.min.css"} {
		mux.HandleFunc("GET /page/"+name, func(rw http.ResponseWriter, q *http.Request) {
			secure(rw)
			rw.Header().Set("Cache-Control", "no-cache")
			http.StripPrefix("/page/", server).ServeHTTP(rw, q)
		})
	}
	mux.HandleFunc("GET /{$}", p.serveDocument)
	mux.HandleFunc("GET /page/stream", p.stream)
	mux.HandleFunc("GET /page/connections", p.connections)
	if p.cfg.Actions != nil {
		if p.gateway != nil {
			p.cfg.Actions.closed = func() { p.gateway.forget(0) }
		}
		p.cfg.Actions.register(mux)
	}
}

// secure sets the headers of all replies.
func secure(rw http.ResponseWriter) {
	h := rw.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// serveDocument serves the page itself.
func (p *Page) serveDocument(rw http.ResponseWriter, _ *http.Request) {
	secure(rw)
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = document.Execute(rw, struct {
		Command, Place string
		Gateway        bool
	}{p.cfg.Command, p.cfg.Source.Settings().Place, p.gateway != nil}) // the client may have disconnected
}
