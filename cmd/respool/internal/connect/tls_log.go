package connect

import (
	"log/slog"

	"github.com/seed-2b0d76a6/respool"
)

// LogTLSFiles logs changes of the TLS files that the URL names. An OnEvent that is set already is
// still called.
func LogTLSFiles(opt *respool.Options, log *slog.Logger) {
	before := opt.OnEvent
	opt.OnEvent = func(e respool.Event) {
		switch e.Kind {
		case respool.EventTLSFilesChanged:
			log.Info("the TLS files of the URL changed; new connections use them", "server", e.Addr)
		case respool.EventTLSFilesRefused:
			log.Error("the TLS files of the URL changed, but are invalid", "server", e.Addr, "error", e.Err)
		}
		if before != nil {
			before(e)
		}
	}
}
