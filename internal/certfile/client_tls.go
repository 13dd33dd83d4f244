package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// ClientTLS is the TLS configuration of a client, which reloads changed files. A nil ClientTLS means no encryption. All
// methods are safe for concurrent use.
type ClientTLS struct {
	base      *tls.Config
	chainOnly bool    // the server's certificate is verified, except for its name
	source    *Source // nil: no files
	report    func(addr string, err error)
}

// NewClientTLS reads the files; files may be nil. With chainOnly it verifies the server's certificate except for its
// name.
func NewClientTLS(base *tls.Config, files *Files, chainOnly bool) (*ClientTLS, error) {
	t := &ClientTLS{base: base, chainOnly: chainOnly, report: func(string, error) {}}
	if files == nil {
		return t, nil
	}
	var err error
	t.source, err = Open(*files)
	return t, err
}

// ReportTo returns a copy of t that reports changed files to report, with the address of the dial that found them. err
// states why they are not used; nil: they are.
func (t *ClientTLS) ReportTo(report func(addr string, err error)) *ClientTLS {
	if t == nil {
		return nil
	}
	mine := *t
	mine.report = report
	return &mine
}

// For returns the configuration for one dial of addr; nil without TLS.
func (t *ClientTLS) For(addr string) *tls.Config {
	if t == nil {
		return nil
	}
	if t.source == nil {
		return forHost(t.base, addr)
	}
	content, changed, err := t.source.Content()
	if err != nil || changed {
		t.report(addr, err)
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
