package connect

import (
	"log/slog"

	"github.com/seed-2b0d76a6/respool"
)

// LogEvents logs the events of a client that its operator has to know: changes of the TLS files that the URL names, and
// problems of blocking commands. An OnEvent that is set already is still called.
func LogEvents(opt *respool.Options, log *slog.Logger) {
	before := opt.OnEvent
	opt.OnEvent = func(e respool.Event) {
		switch e.Kind {
		case respool.EventTLSFilesChanged:
			log.Info("the TLS files of the URL changed; new connections use them", "server", e.Addr)
		case respool.EventTLSFilesRefused:
			log.Error("the TLS files of the URL changed, but are invalid", "server", e.Addr, "error", e.Err)
		case respool.EventBlockingDedicated:
			log.Warn("the server does not report changes of keys; each blocking command holds a connection: check the user's permissions and the server's version with respool doctor",
				"server", e.Addr, "error", e.Err)
		case respool.EventBlockingShared:
			log.Info("the server reports changes of keys again; blocking commands share connections", "server", e.Addr)
		case respool.EventElementsLost:
			log.Error("elements of a blocking command are lost", "server", e.Addr, "reason", e.Reason, "error", e.Err)
		}
		if before != nil {
			before(e)
		}
	}
}
