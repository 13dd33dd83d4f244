package notify

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Log is a sink that writes alerts to a log: alerts of severity Page as errors, other firing alerts
// as warnings, resolved ones as information.
type Log struct{ Logger *slog.Logger }

// Name returns "log".
func (Log) Name() string { return "log" }

// Repeat returns 0: alerts are not repeated.
func (Log) Repeat() time.Duration { return 0 }

// Send writes one line for each alert.
func (l Log) Send(ctx context.Context, alerts []monitor.Alert) error {
	for _, a := range alerts {
		level := slog.LevelWarn
		switch {
		case a.State == monitor.Resolved:
			level = slog.LevelInfo
		case a.Severity == monitor.Page:
			level = slog.LevelError
		}
		attrs := []slog.Attr{slog.String("rule", a.Rule), slog.String("severity", a.Severity.String()), slog.Time("began", a.Began)}
		for _, f := range []struct{ key, value string }{{"node", a.Node}, {"subject", a.Subject}, {"service", a.Service}} {
			if f.value != "" {
				attrs = append(attrs, slog.String(f.key, f.value))
			}
		}
		if a.State == monitor.Resolved {
			attrs = append(attrs, slog.Duration("lasted", a.Resolved.Sub(a.Began)))
		} else {
			attrs = append(attrs, slog.String("evidence", a.Evidence), slog.String("remedy", a.Remedy))
		}
		l.Logger.LogAttrs(ctx, level, a.State.String()+": "+a.What, attrs...)
	}
	return nil
}
