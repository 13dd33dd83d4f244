package notify

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Alertmanager is a sink that posts alerts to Prometheus Alertmanager, with its API v2.
type Alertmanager struct {
	p *poster
	// External is the generator URL of the alerts, such as the page of the monitor.
	External string
}

const (
	// Alertmanager resolves an alert that was not sent again for a while (5 minutes by default).
	alertmanagerRepeat = time.Minute
	alertmanagerEnds   = 4 * alertmanagerRepeat
)

// NewAlertmanager validates the configuration. It opens no connection. The URL is the base URL of
// Alertmanager, without /api/v2.
func NewAlertmanager(cfg HTTP) (*Alertmanager, error) {
	p, err := newPoster("Alertmanager", cfg, "api/v2/alerts")
	if err != nil {
		return nil, err
	}
	return &Alertmanager{p: p}, nil
}

// Name returns the kind and the host of the sink, without secrets.
func (a *Alertmanager) Name() string { return "alertmanager " + a.p.place() }

// Repeat returns one minute, because Alertmanager resolves alerts that it does not receive again.
func (*Alertmanager) Repeat() time.Duration { return alertmanagerRepeat }

// Limits returns the configured timeout, for any number of alerts.
func (a *Alertmanager) Limits() (int, time.Duration) { return 0, a.p.client.Timeout }

// postable is an alert in the format of the API.
type postable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Send posts the alerts once. It blocks until the receiver has answered; ctx and the timeout limit
// the wait.
func (a *Alertmanager) Send(ctx context.Context, alerts []monitor.Alert) error {
	list := make([]postable, len(alerts))
	for i := range alerts {
		list[i] = a.postable(&alerts[i])
	}
	return a.p.post(ctx, list)
}

func (a *Alertmanager) postable(one *monitor.Alert) postable {
	p := postable{
		Labels:      map[string]string{"alertname": "respool-" + one.Rule, "severity": one.Severity.String()},
		Annotations: map[string]string{"summary": one.What, "description": one.Evidence, "remedy": one.Remedy},
		StartsAt:    one.Began.UTC(), EndsAt: one.Resolved.UTC(), GeneratorURL: a.External,
	}
	for label, value := range map[string]string{"node": one.Node, "subject": one.Subject, "service": one.Service, "instance": one.Instance} {
		if value != "" {
			p.Labels[label] = value
		}
	}
	if one.State != monitor.Resolved {
		p.EndsAt = time.Now().Add(alertmanagerEnds).UTC()
	}
	return p
}

// Close closes its idle connections.
func (a *Alertmanager) Close() { a.p.close() }
