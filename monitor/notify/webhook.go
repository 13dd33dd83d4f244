package notify

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Webhook posts alerts as JSON: {"version":1,"instance":"...","alerts":[...]},
// each as monitor.Alert is encoded. The instance is left out where it is empty.
type Webhook struct{ p *poster }

// NewWebhook checks the configuration.
func NewWebhook(cfg HTTP) (*Webhook, error) {
	p, err := newPoster("webhook", cfg, "")
	if err != nil {
		return nil, err
	}
	return &Webhook{p}, nil
}

// Name tells where it posts to.
func (w *Webhook) Name() string { return "webhook " + w.p.place() }

// Repeat is never.
func (*Webhook) Repeat() time.Duration { return 0 }

// webhookBody is what is posted.
type webhookBody struct {
	Version  int             `json:"version"`
	Instance string          `json:"instance,omitempty"`
	Alerts   []monitor.Alert `json:"alerts"`
}

// Limits is the configured timeout, for any number of alerts.
func (w *Webhook) Limits() (int, time.Duration) { return 0, w.p.client.Timeout }

// Send posts once.
func (w *Webhook) Send(ctx context.Context, alerts []monitor.Alert) error {
	body := webhookBody{Version: 1, Alerts: alerts}
	if len(alerts) > 0 {
		body.Instance = alerts[0].Instance
	}
	return w.p.post(ctx, body)
}

// Close ends the connections that it keeps.
func (w *Webhook) Close() { w.p.close() }
