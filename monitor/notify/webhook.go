package notify

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Webhook is a sink that posts alerts as JSON: {"version":1,"instance":"...","alerts":[...]}, each
// in the encoding of monitor.Alert. An empty instance is omitted.
type Webhook struct{ p *poster }

// NewWebhook validates the configuration. It opens no connection.
func NewWebhook(cfg HTTP) (*Webhook, error) {
	p, err := newPoster("webhook", cfg, "")
	if err != nil {
		return nil, err
	}
	return &Webhook{p}, nil
}

// Name returns the kind and the host of the sink, without secrets.
func (w *Webhook) Name() string { return "webhook " + w.p.place() }

// Repeat returns 0: alerts are not repeated.
func (*Webhook) Repeat() time.Duration { return 0 }

// webhookBody is the posted document.
type webhookBody struct {
	Version  int             `json:"version"`
	Instance string          `json:"instance,omitempty"`
	Alerts   []monitor.Alert `json:"alerts"`
}

// Limits returns the configured timeout, for any number of alerts.
func (w *Webhook) Limits() (int, time.Duration) { return 0, w.p.client.Timeout }

// Send posts the alerts once. It blocks until the receiver has answered; ctx and the timeout limit
// the wait.
func (w *Webhook) Send(ctx context.Context, alerts []monitor.Alert) error {
	body := webhookBody{Version: 1, Alerts: alerts}
	if len(alerts) > 0 {
		body.Instance = alerts[0].Instance
	}
	return w.p.post(ctx, body)
}

// Close closes its idle connections.
func (w *Webhook) Close() { w.p.close() }
