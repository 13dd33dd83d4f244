package tooltest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Receiver is a webhook.
type Receiver struct {
	*httptest.Server
	mu   sync.Mutex
	Got  []monitor.Alert
	more chan struct{}
}

// NewReceiver starts a webhook.
func NewReceiver(t *testing.T) *Receiver {
	t.Helper()
	r := &Receiver{more: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body struct{ Alerts []monitor.Alert }
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.Got = append(r.Got, body.Alerts...)
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// Told lists the received alerts, as "firing rule subject".
func (r *Receiver) Told() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.Got {
		list = append(list, strings.TrimSpace(a.State.String()+" "+a.Rule+" "+a.Subject))
	}
	return list
}

// Until blocks until the alert what arrives, written as in Told.
func (r *Receiver) Until(t *testing.T, what string) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !slices.Contains(r.Told(), what) {
		select {
		case <-r.more:
		case <-limit.C:
			t.Fatalf("nobody was told %q: %q", what, r.Told())
		}
	}
}

// Text returns the problems, evidence and remedies of all received alerts.
func (r *Receiver) Text() (text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.Got {
		text += a.What + "\n" + a.Evidence + "\n" + a.Remedy + "\n"
	}
	return text
}
