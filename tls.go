package respool

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// tlsKeys are the URL's keys about TLS, as they were given.
type tlsKeys struct {
	enabled                                            bool
	sentinels                                          bool // those speak TLS as well
	requirements, ca, cert, key, checkName, minVersion string
}

// config makes a TLS configuration of the keys, with the files that they name;
// nil where TLS is off.
func (t *tlsKeys) config() (*tls.Config, *TLSFiles, error) {
	if !t.enabled {
		return nil, nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	switch t.minVersion {
	case "", "TLSv1.2", "1.2":
	case "TLSv1.3", "1.3":
		c.MinVersion = tls.VersionTLS13
	default:
		return nil, nil, keyError("ssl_min_version", t.minVersion, "TLSv1.2 or TLSv1.3")
	}
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, nil, fmt.Errorf("respool: URL key ssl_ca_certs: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("respool: URL key ssl_ca_certs: %s holds no certificate: want PEM", t.ca)
		}
	}
	if (t.cert == "") != (t.key == "") {
		return nil, nil, urlError("one of ssl_certfile and ssl_keyfile is missing", "both, or neither")
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, nil, fmt.Errorf("respool: URL keys ssl_certfile %s and ssl_keyfile %s: %w", t.cert, t.key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	err := t.verification(c)
	if t.ca == "" && t.cert == "" {
		return c, nil, err
	}
	return c, &TLSFiles{CA: t.ca, Cert: t.cert, Key: t.key, chainOnly: c.VerifyConnection != nil}, err
}

// verification says how far the server's certificate is checked.
func (t *tlsKeys) verification(c *tls.Config) error {
	checkName := true
	if t.checkName != "" {
		var err error
		if checkName, err = boolean("ssl_check_hostname", t.checkName); err != nil {
			return err
		}
	}
	switch t.requirements {
	case "none":
		if t.checkName != "" && checkName {
			return urlError("ssl_check_hostname=true goes against ssl_cert_reqs=none", "ssl_cert_reqs=required")
		}
		c.InsecureSkipVerify = true
	case "", "required", "optional":
		// A server always sends a certificate, so optional checks it as well.
		if !checkName {
			c.InsecureSkipVerify = true
			c.VerifyConnection = chainVerifier(c.RootCAs)
		}
	default:
		return keyError("ssl_cert_reqs", t.requirements, "none, optional or required")
	}
	return nil
}

// chainVerifier checks the certificate's chain and not its name.
func chainVerifier(roots *x509.CertPool) func(tls.ConnectionState) error {
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
