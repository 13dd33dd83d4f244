package notify

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Webhook posts alerts as JSON: {"version":1,"alerts":[...]}, each as
// monitor.Alert is encoded.
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
	Version int             `json:"version"`
	Alerts  []monitor.Alert `json:"alerts"`
}

// Send posts once.
func (w *Webhook) Send(ctx context.Context, alerts []monitor.Alert) error {
	return w.p.post(ctx, webhookBody{1, alerts})
}

// Close ends the connections that it keeps.
func (w *Webhook) Close() { w.p.close() }
