package connect

import (
	"log/slog"

	"github.com/seed-2b0d76a6/respool"
)

// LogTLSFiles has changes of the files that a URL names for TLS in the log, beside
// what OnEvent does already.
func LogTLSFiles(opt *respool.Options, log *slog.Logger) {
	before := opt.OnEvent
	opt.OnEvent = func(e respool.Event) {
		switch e.Kind {
		case respool.EventTLSFilesChanged:
			log.Info("the TLS files of the URL have changed, new connections use them", "server", e.Addr)
		case respool.EventTLSFilesRefused:
			log.Error("the TLS files of the URL have changed and are of no use", "server", e.Addr, "error", e.Err)
		}
		if before != nil {
			before(e)
		}
	}
}
