package main

import (
	"net/http"
)

// readyReport is what /readyz answers.
type readyReport struct {
	Status string `json:"status"` // ok, stopping, or waiting: for the server's answer
	Error  string `json:"error,omitempty"`
}

func (d *serving) newPages() *pages {
	g := &gatewayMetrics{stats: d.gateway.Stats, ready: d.ready}
	p := commonPages(d.watcher, "respool serve\n\n/metrics\n/readyz\n/healthz\n/api/snapshot\n/api/alerts", d.pool, g)
	// Whoever ends a process that is not healthy ends a gateway with all its clients:
	// so nothing but the process itself counts here.
	p.mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, http.StatusOK, p.healthReport())
	})
	p.mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, _ *http.Request) {
		r := d.ready()
		code := http.StatusOK
		if r.Status != "ok" {
			code = http.StatusServiceUnavailable
		}
		answer(rw, code, r)
	})
	return p
}

// ready says whether clients are served now. It is safe for concurrent use.
func (d *serving) ready() readyReport {
	err := d.probe.answers()
	switch {
	case err != nil:
		return readyReport{Status: "waiting", Error: errorText(err)}
	case !d.accepting.Load():
		return readyReport{Status: "stopping"}
	}
	return readyReport{Status: "ok"}
}
