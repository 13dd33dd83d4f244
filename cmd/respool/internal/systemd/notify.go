package systemd

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// The states that systemd is notified of.
const (
	Ready    = sd.SdNotifyReady
	Stopping = sd.SdNotifyStopping
	Alive    = sd.SdNotifyWatchdog
)

// MainPID is the state of a process that takes over from the main process of its unit.
func MainPID() string { return fmt.Sprintf("MAINPID=%d", os.Getpid()) }

// Reloading is the state of a reload. It contains the time, so that systemd can tell reloads apart.
func Reloading() string { return sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec() }

// Notify notifies systemd of the program's state, if systemd asked for it.
func Notify(log *slog.Logger, what string) {
	if _, err := sd.SdNotify(false, what); err != nil {
		log.Warn("cannot notify systemd", "what", strings.TrimSpace(what), "error", err)
	}
}

// Watchdog returns a channel that ticks whenever systemd expects a sign of life, or nil if it
// expects none.
func Watchdog(log *slog.Logger) (tick <-chan time.Time, stop func()) {
	within, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the systemd watchdog is off", "error", err)
	}
	if within <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(max(within/2, yamlnode.MinDuration))
	return t.C, t.Stop
}
