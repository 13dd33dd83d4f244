package notify

import (
	"context"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Alertmanager posts alerts to Prometheus' Alertmanager, by its API v2.
type Alertmanager struct {
	p *poster
	// External is told as the source of the alerts: where the monitor's own pages are.
	External string
}

const (
	// Alertmanager takes an alert as over that it did not hear of for a while (5
	// minutes unless configured otherwise).
	alertmanagerRepeat = time.Minute
	alertmanagerEnds   = 4 * alertmanagerRepeat
)

// NewAlertmanager checks the configuration. The URL is Alertmanager's own,
// without /api/v2.
func NewAlertmanager(cfg HTTP) (*Alertmanager, error) {
	p, err := newPoster("Alertmanager", cfg, "api/v2/alerts")
	if err != nil {
		return nil, err
	}
	return &Alertmanager{p: p}, nil
}

// Name tells where it posts to.
func (a *Alertmanager) Name() string { return "alertmanager " + a.p.place() }

// Repeat is every minute: Alertmanager forgets what it does not hear of.
func (*Alertmanager) Repeat() time.Duration { return alertmanagerRepeat }

// Limits is the configured timeout, for any number of alerts.
func (a *Alertmanager) Limits() (int, time.Duration) { return 0, a.p.client.Timeout }

// postable is an alert as the API takes it.
type postable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Send posts once.
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

// Close ends the connections that it keeps.
func (a *Alertmanager) Close() { a.p.close() }
