package serve

import (
	"net/http"
	"strings"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/page"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
)

// Readiness is the body of /readyz.
type Readiness struct {
	Status string `json:"status"` // ok, stopping, or waiting for the server
	Error  string `json:"error,omitempty"`
	Paused string `json:"paused,omitempty"` // the pauses in words; the status stays ok
}

func (srv *Server) newPages() *page.Pages {
	g := &gatewayMetrics{stats: srv.gateway.Stats, ready: srv.readiness}
	p := page.New(srv.watcher, srv.pool, g)
	p.Waits = func() *report.Waits {
		stats := srv.client.Stats()
		return waitsOf(&stats.Blocking)
	}
	// An orchestrator that restarts an unhealthy gateway disconnects all its clients, so /healthz
	// covers only the process itself.
	p.Mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		page.WriteJSON(rw, http.StatusOK, p.HealthReport())
	})
	p.Mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		r := srv.readiness()
		code := http.StatusOK
		if r.Status != "ok" {
			code = http.StatusServiceUnavailable
		}
		page.WriteJSON(rw, code, r)
	})
	return p
}

// readiness reports whether the gateway serves clients now. It is safe for concurrent use.
func (srv *Server) readiness() Readiness {
	r := Readiness{Status: "ok", Paused: strings.Join(srv.gateway.Pauses(), "; ")}
	err := srv.probe.lastError()
	switch {
	case err != nil:
		r.Status, r.Error = "waiting", output.Error(err)
	case !srv.accepting.Load():
		r.Status = "stopping"
	}
	return r
}

// waitsOf converts the statistics of blocking commands to a report.
func waitsOf(s *respool.BlockingStats) *report.Waits {
	w := &report.Waits{Waiting: s.Waiting, Keys: s.Keys}
	for name, counts := range s.Commands {
		if counts.Waiting == 0 {
			continue
		}
		if w.Commands == nil {
			w.Commands = map[string]int{}
		}
		w.Commands[name] = counts.Waiting
	}
	if s.Refusal != nil {
		w.Dedicated = s.Refusal.Error()
	}
	return w
}
