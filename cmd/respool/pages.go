package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed-2b0d76a6/respool/metrics"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// pages serves what a watcher knows: /metrics, /healthz, /api/snapshot and
// /api/alerts. All of it can be read only.
type pages struct {
	w   *watcher
	mux *http.ServeMux
}

// topServices is how many holders of connections are told apart in metrics.
const topServices = 20

func newPages(w *watcher) *pages {
	p := commonPages(w, "respool watch\n\n/metrics\n/healthz\n/api/snapshot\n/api/alerts")
	p.mux.HandleFunc("GET /healthz", p.health)
	return p
}

// commonPages has all pages but those that tell of the program itself. The
// first page is index.
func commonPages(w *watcher, index string, more ...prometheus.Collector) *pages {
	p := &pages{w: w, mux: http.NewServeMux()}
	r := prometheus.NewRegistry()
	r.MustRegister(metrics.NewServers(w.state, w.alerts, topServices), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(more...)
	p.mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	p.mux.HandleFunc("GET /api/snapshot", p.snapshot)
	p.mux.HandleFunc("GET /api/alerts", p.alerts)
	p.mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(rw, index)
	})
	return p
}

// serve answers at a listener until the server that it returns is closed.
func (p *pages) serve(l net.Listener) *http.Server {
	s := &http.Server{Handler: p.mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() { _ = s.Serve(l) }()
	return s
}

// healthReport is what /healthz answers.
type healthReport struct {
	Status   string       `json:"status"` // ok, or stuck: there was no look for too long
	LookedAt time.Time    `json:"looked_at"`
	Nodes    int          `json:"nodes"`
	NodesUp  int          `json:"nodes_up"`
	Sinks    []sinkReport `json:"sinks"`
}

// sinkReport is what became of the alerts that one sink was told.
type sinkReport struct {
	Name      string    `json:"name"`
	Waiting   int       `json:"waiting"`
	Delivered uint64    `json:"delivered"`
	Failed    uint64    `json:"failed"`
	Dropped   uint64    `json:"dropped"`
	LastError string    `json:"last_error,omitempty"`
	FailedAt  time.Time `json:"failed_at,omitzero"`
}

// stuckAfter is for how long there may be no look, beyond the time between two.
const stuckAfter = 30 * time.Second

// health tells of the watcher itself: a server that is down is no fault of it.
func (p *pages) health(rw http.ResponseWriter, _ *http.Request) {
	r := p.healthReport()
	code := http.StatusOK
	if r.Status != "ok" {
		code = http.StatusServiceUnavailable
	}
	answer(rw, code, r)
}

func (p *pages) healthReport() healthReport {
	st := p.w.state()
	r := healthReport{Status: "ok", LookedAt: st.At, Nodes: len(st.Nodes), Sinks: []sinkReport{}}
	for _, n := range st.Nodes {
		if n.Up {
			r.NodesUp++
		}
	}
	for _, s := range p.w.queueStats() {
		one := sinkReport{Name: s.Name, Waiting: s.Waiting, Delivered: s.Delivered, Failed: s.Failed, Dropped: s.Dropped, FailedAt: s.FailedAt}
		if s.LastError != nil {
			one.LastError = s.LastError.Error()
		}
		r.Sinks = append(r.Sinks, one)
	}
	if time.Since(st.At) > p.w.every()+stuckAfter {
		r.Status = "stuck"
	}
	return r
}

// snapshotReport is what /api/snapshot answers. Times are in seconds.
type snapshotReport struct {
	At      time.Time    `json:"at"`
	Service string       `json:"service,omitempty"`
	Error   string       `json:"error,omitempty"`
	Nodes   []nodeReport `json:"nodes"`
}

type nodeReport struct {
	Addr        string            `json:"addr"`
	Role        string            `json:"role"`
	Up          bool              `json:"up"`
	Full        bool              `json:"full"`
	Since       time.Time         `json:"since"`
	Error       string            `json:"error,omitempty"`
	Server      string            `json:"server,omitempty"`
	Connections int64             `json:"connections"`
	MaxClients  int64             `json:"maxclients"` // 0: not known
	Assumed     string            `json:"maxclients_assumed,omitempty"`
	Rates       *ratesReport      `json:"a_second,omitempty"`
	Forecast    *forecastReport   `json:"forecast,omitempty"`
	Restarts    int               `json:"restarts"`
	Refused     map[string]string `json:"not_asked,omitempty"`
	ListedAt    time.Time         `json:"services_at,omitzero"`
	Services    []serviceReport   `json:"services,omitempty"`
}

type ratesReport struct {
	Opened   float64 `json:"opened"`
	Rejected float64 `json:"rejected"`
	Commands float64 `json:"commands"`
}

type forecastReport struct {
	GrowthPerMinute float64 `json:"growth_per_minute"`
	FullIn          float64 `json:"full_in_s"`
	Earliest        float64 `json:"earliest_s"`
	Latest          float64 `json:"latest_s"`
	Seen            float64 `json:"seen_s"`
}

type serviceReport struct {
	Name       string `json:"name"`
	Clients    int    `json:"connections"`
	Active     int    `json:"active"`
	Blocked    int    `json:"blocked"`
	Subscribed int    `json:"subscribed"`
	Idle       int    `json:"idle"`
	LongIdle   int    `json:"idle_10m"`
}

func (p *pages) snapshot(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, http.StatusOK, reportState(p.w.state()))
}

func reportState(st *monitor.State) snapshotReport {
	r := snapshotReport{At: st.At, Service: st.Service, Nodes: []nodeReport{}}
	if st.Err != nil {
		r.Error = st.Err.Error()
	}
	for i := range st.Nodes {
		r.Nodes = append(r.Nodes, reportNode(&st.Nodes[i]))
	}
	return r
}

func reportNode(n *monitor.NodeState) nodeReport {
	r := nodeReport{Addr: n.Addr, Role: n.Role, Up: n.Up, Full: n.Full, Since: n.Since, Restarts: n.Restarts, Refused: n.Refused}
	if n.Err != nil {
		r.Error = n.Err.Error()
	}
	if s := n.Last; s != nil {
		r.Server, r.Connections, r.MaxClients, r.Assumed = s.Info.Server(), s.Connections, s.MaxClients, s.Assumed
	}
	if n.Rates.Known {
		r.Rates = &ratesReport{n.Rates.Opened, n.Rates.Rejected, n.Rates.Commands}
	}
	if f := n.Forecast; f.Exists {
		r.Forecast = &forecastReport{f.Growth, f.In.Seconds(), f.Earliest.Seconds(), f.Latest.Seconds(), f.Seen.Seconds()}
	}
	if s := n.List; s != nil {
		r.ListedAt = s.At
		for _, g := range s.Clients.Sorted() {
			r.Services = append(r.Services, serviceReport{g.Key[0], g.Clients, g.Active, g.Blocked, g.Subscribed, g.Idle, s.LongIdle[g.Key[0]]})
		}
	}
	return r
}

// alertsReport is what /api/alerts answers.
type alertsReport struct {
	At      time.Time       `json:"at"`
	Verdict string          `json:"verdict"`
	Alerts  []monitor.Alert `json:"alerts"`
}

func (p *pages) alerts(rw http.ResponseWriter, _ *http.Request) {
	r := alertsReport{At: time.Now(), Alerts: p.w.alerts()}
	if r.Alerts == nil {
		r.Alerts = []monitor.Alert{}
	}
	var open []monitor.Finding
	for _, a := range r.Alerts {
		if a.State == monitor.Firing {
			open = append(open, a.Finding)
		}
	}
	r.Verdict = cmp.Or(monitor.Summary(open))
	answer(rw, http.StatusOK, r)
}

func answer(rw http.ResponseWriter, code int, body any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(code)
	enc := json.NewEncoder(rw)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body) // who asked may be gone
}
