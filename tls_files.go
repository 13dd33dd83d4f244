package respool

import (
	"crypto/tls"
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// TLSFiles are files in PEM whose content takes the place of RootCAs and
// Certificates in a tls.Config. New reads them, and each dial reads those that
// have changed since, so that certificates can be replaced while the client
// runs. A new file that is of no use, such as one that is not there, does not
// fit its key, or has expired, changes nothing: the old content stays in force,
// and Options.OnEvent is told once for each reason.
type TLSFiles struct {
	CA        string // certificates of those who sign the server's; empty: those of the tls.Config
	Cert, Key string // the client's certificate and its key; empty: those of the tls.Config

	chainOnly bool // the server's certificate is checked, but for its name
}

// liveTLS is a TLS configuration that follows its files.
type liveTLS struct {
	base   *tls.Config
	files  TLSFiles
	source *certfile.Source // nil: base does not change
	tell   func(Event)
}

// newLiveTLS reads the files. tell, which may not be nil, hears of changes.
func newLiveTLS(base *tls.Config, files *TLSFiles, tell func(Event)) (*liveTLS, error) {
	l := &liveTLS{base: base, tell: tell}
	if base == nil || files == nil {
		return l, nil
	}
	l.files = *files
	var err error
	l.source, err = certfile.Open(certfile.Files{CA: files.CA, Cert: files.Cert, Key: files.Key})
	if err != nil {
		return nil, fmt.Errorf("respool: option TLSFiles: %w", err)
	}
	return l, nil
}

// config is the configuration for one dial of addr; nil without TLS.
func (l *liveTLS) config(addr string) *tls.Config {
	if l.source == nil {
		return forHost(l.base, addr)
	}
	content, changed, err := l.source.Content()
	switch {
	case err != nil:
		l.tell(Event{Kind: EventTLSFilesRefused, Addr: addr, Err: fmt.Errorf("respool: the old certificates stay in force: %w", err)})
	case changed:
		l.tell(Event{Kind: EventTLSFilesChanged, Addr: addr})
	}
	c := l.base.Clone()
	if content.CAs != nil {
		c.RootCAs = content.CAs
	}
	if content.Pair != nil {
		c.Certificates = []tls.Certificate{*content.Pair}
	}
	if l.files.chainOnly {
		c.VerifyConnection = chainVerifier(c.RootCAs)
	}
	return forHost(c, addr)
}

// checkTLSFiles is what is wrong with the paths.
func checkTLSFiles(c *checker, field string, base *tls.Config, f *TLSFiles) {
	switch {
	case f == nil:
	case base == nil:
		c.fail(field, "set", "TLS as well, such as &tls.Config{}")
	case (f.Cert == "") != (f.Key == ""):
		c.fail(field, fmt.Sprintf("Cert %q and Key %q", f.Cert, f.Key), "both, or neither")
	}
}
