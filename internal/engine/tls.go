package engine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// TLS is a TLS configuration that reloads changed files. A nil TLS means no encryption.
type TLS struct {
	base      *tls.Config
	chainOnly bool             // the server's certificate is verified, except for its name
	source    *certfile.Source // nil: no files
	report    func(Event)
}

// NewTLS reads the files; files may be nil. With chainOnly it verifies the server's certificate except for its name.
func NewTLS(base *tls.Config, files *certfile.Files, chainOnly bool) (*TLS, error) {
	t := &TLS{base: base, chainOnly: chainOnly, report: func(Event) {}}
	if files == nil {
		return t, nil
	}
	var err error
	t.source, err = certfile.Open(*files)
	return t, err
}

// reportTo returns a copy of t that reports changed files to report.
func (t *TLS) reportTo(report func(Event)) *TLS {
	mine := *t
	mine.report = report
	return &mine
}

// config returns the configuration for one dial of addr; nil without TLS.
func (t *TLS) config(addr string) *tls.Config {
	if t == nil {
		return nil
	}
	if t.source == nil {
		return forHost(t.base, addr)
	}
	content, changed, err := t.source.Content()
	switch {
	case err != nil:
		t.report(Event{Kind: TLSFilesRefused, Addr: addr, Err: fmt.Errorf("respool: the old certificates stay in force: %w", err)})
	case changed:
		t.report(Event{Kind: TLSFilesChanged, Addr: addr})
	}
	c := t.base.Clone()
	if content.CAs != nil {
		c.RootCAs = content.CAs
	}
	if content.Pair != nil {
		c.Certificates = []tls.Certificate{*content.Pair}
	}
	if t.chainOnly {
		c.VerifyConnection = ChainVerifier(c.RootCAs)
	}
	return forHost(c, addr)
}

// forHost returns c with the host of addr as the server name, if c has none.
func forHost(c *tls.Config, addr string) *tls.Config {
	if c == nil || c.ServerName != "" {
		return c
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return c
	}
	if strings.Contains(host, ":") {
		host, _, _ = strings.Cut(host, "%") // certificates contain no zones
	}
	c = c.Clone()
	c.ServerName = host
	return c
}

// ChainVerifier returns a function that verifies the certificate chain but not the name.
func ChainVerifier(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the server sent no certificate")
		}
		opt := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range s.PeerCertificates[1:] {
			opt.Intermediates.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(opt)
		return err
	}
}
