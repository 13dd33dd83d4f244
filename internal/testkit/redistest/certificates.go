//go:build unix

package redistest

import (
	"crypto/tls"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// certificates are an authority and the files of one certificate for servers and clients.
type certificates struct {
	authority     *testkit.Authority
	name          string // of the server, for clients
	ca, cert, key string
}

// makeCertificates uses a new authority if authority is nil. No names stand for localhost and 127.0.0.1.
func makeCertificates(t testing.TB, dir string, authority *testkit.Authority, names []string) certificates {
	t.Helper()
	c := certificates{authority: authority, name: "localhost"}
	if authority == nil {
		c.authority = testkit.NewAuthority(t)
	}
	if len(names) > 0 {
		c.name = names[0]
	}
	c.cert, c.key, c.ca = c.authority.Issue(t, dir, 2, names...)
	return c
}

// CAFile is the file with the certificate of the CA, or empty without TLS.
func (s *Server) CAFile() string { return s.certs.ca }

// CertFile is the file with a certificate for clients.
func (s *Server) CertFile() string { return s.certs.cert }

// KeyFile is the file with the key of CertFile.
func (s *Server) KeyFile() string { return s.certs.key }

// TLSConfig is a configuration for clients that trusts the CA.
func (s *Server) TLSConfig() *tls.Config {
	s.t.Helper()
	c := s.certs.authority.ClientTLS(s.t, s.certs.cert, s.certs.key)
	c.ServerName = s.certs.name
	return c
}
