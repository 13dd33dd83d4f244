// Package page serves the HTTP pages of respool watch and respool serve for programs: /metrics,
// /healthz and the JSON of /api. They are read-only. Package live is the page for people. The goroutine that
// serves a listener ends when the server that Serve returns is closed.
package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// Pages serves the state of a watch: /metrics, /api/snapshot and /api/alerts. All pages are
// read-only.
type Pages struct {
	source Source
	Mux    *http.ServeMux       // without the check of names, which ServeHTTP does
	Waits  func() *report.Waits // the blocking commands that wait in this process; nil: it has no clients

	hosts atomic.Pointer[map[string]bool] // set by AllowHosts
}

// maxServices is how many services the metrics list.
const maxServices = 20

// Source is the state that the pages show.
type Source interface {
	State() *monitor.State
	Alerts() []monitor.Alert
	QueueStats() []notify.Stats
	Every() time.Duration // between two looks
}

// New makes all pages except the one for people, /healthz, /readyz and those that only one command has.
func New(w Source, more ...prometheus.Collector) *Pages {
	p := &Pages{source: w, Mux: http.NewServeMux()}
	r := prometheus.NewRegistry()
	r.MustRegister(respoolprom.NewServers(w.State, w.Alerts, maxServices), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(more...)
	p.Mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	p.Mux.HandleFunc("GET /api/snapshot", p.snapshot)
	p.Mux.HandleFunc("GET /api/alerts", p.alerts)
	return p
}

// Serve serves the pages at a listener until the returned server is closed.
func (p *Pages) Serve(l net.Listener) *http.Server {
	s := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go func() { _ = s.Serve(l) }()
	return s
}

func (p *Pages) snapshot(rw http.ResponseWriter, _ *http.Request) {
	state := report.OfState(p.source.State())
	if p.Waits != nil {
		state.Waits = p.Waits()
	}
	WriteJSON(rw, http.StatusOK, state)
}

// Alerts is the body of /api/alerts.
type Alerts struct {
	At      time.Time       `json:"at"`
	Verdict string          `json:"verdict"`
	Alerts  []monitor.Alert `json:"alerts"`
}

func (p *Pages) alerts(rw http.ResponseWriter, _ *http.Request) {
	r := Alerts{At: time.Now(), Alerts: p.source.Alerts()}
	if r.Alerts == nil {
		r.Alerts = []monitor.Alert{}
	}
	r.Verdict = monitor.SummaryOfAlerts(r.Alerts)
	WriteJSON(rw, http.StatusOK, r)
}

// WriteJSON writes a reply with a JSON body.
func WriteJSON(rw http.ResponseWriter, code int, body any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Cache-Control", "no-store")
	rw.WriteHeader(code)
	enc := json.NewEncoder(rw)
	enc.SetIndent("", "  ")
	_ = enc.Encode(output.Versioned{Object: body}) // the client may have disconnected
}

// Listen listens at host:port, or nowhere if the address is empty. flag is the flag that sets the address.
func Listen(addr, flag string) (net.Listener, error) {
	if addr == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l, nil
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the pages: another process listens at %s: use another address (%s 127.0.0.1:PORT), or %s off", addr, flag, flag)
	}
	return nil, fmt.Errorf("the pages: %w", err)
}
