package systemd

import (
	"log/slog"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// What systemd is told of.
const (
	Ready    = sd.SdNotifyReady
	Stopping = sd.SdNotifyStopping
	Alive    = sd.SdNotifyWatchdog
)

// Reloading has the time in it, by which systemd tells this reload from an older one.
func Reloading() string { return sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec() }

// Notify tells what the program does, where systemd wants to know.
func Notify(log *slog.Logger, what string) {
	if _, err := sd.SdNotify(false, what); err != nil {
		log.Warn("systemd was not told", "what", strings.TrimSpace(what), "error", err)
	}
}

// Watchdog gives the times at which systemd wants to hear that all is well; nil: it does not.
func Watchdog(log *slog.Logger) (tick <-chan time.Time, stop func()) {
	within, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog", "error", err)
	}
	if within <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(max(within/2, yamlnode.MinDuration))
	return t.C, t.Stop
}
