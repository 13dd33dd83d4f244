package page

import (
	"net/http"
	"time"
)

// Health is the body of /healthz.
type Health struct {
	Status   string    `json:"status"` // ok or stuck
	LookedAt time.Time `json:"looked_at"`
	Nodes    int       `json:"nodes"`
	NodesUp  int       `json:"nodes_up"`
	Sinks    []Sink    `json:"sinks"`
}

// Sink counts the alerts that were sent to one sink.
type Sink struct {
	Name      string    `json:"name"`
	Waiting   int       `json:"waiting"`
	Delivered uint64    `json:"delivered"`
	Failed    uint64    `json:"failed"`
	Dropped   uint64    `json:"dropped"`
	LastError string    `json:"last_error,omitempty"`
	FailedAt  time.Time `json:"failed_at,omitzero"`
}

// stuckAfter is the longest delay of a look before the watch counts as stuck.
const stuckAfter = 30 * time.Second

// Health serves /healthz. It reports on the watch itself, not on the servers.
func (p *Pages) Health(rw http.ResponseWriter, _ *http.Request) {
	r := p.HealthReport()
	code := http.StatusOK
	if r.Status != "ok" {
		code = http.StatusServiceUnavailable
	}
	WriteJSON(rw, code, r)
}

// HealthReport returns the body of /healthz.
func (p *Pages) HealthReport() Health {
	st := p.source.State()
	r := Health{Status: "ok", LookedAt: st.At, Nodes: len(st.Nodes), Sinks: []Sink{}}
	for _, n := range st.Nodes {
		if n.Up {
			r.NodesUp++
		}
	}
	for _, s := range p.source.QueueStats() {
		one := Sink{Name: s.Name, Waiting: s.Waiting, Delivered: s.Delivered, Failed: s.Failed, Dropped: s.Dropped, FailedAt: s.FailedAt}
		if s.LastError != nil {
			one.LastError = s.LastError.Error()
		}
		r.Sinks = append(r.Sinks, one)
	}
	if time.Since(st.At) > p.source.Every()+stuckAfter {
		r.Status = "stuck"
	}
	return r
}
