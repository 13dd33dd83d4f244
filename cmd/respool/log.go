package main

import (
	"log/slog"
	"os"
)

// newLog is a log on standard error, as text or as JSON.
func newLog(asJSON bool) *slog.Logger {
	if asJSON {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}
