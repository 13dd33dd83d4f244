package respool

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// tlsKeys are the TLS keys of a URL, unparsed.
type tlsKeys struct {
	enabled                                            bool
	sentinels                                          bool // the sentinels use TLS too
	requirements, ca, cert, key, checkName, minVersion string
}

// config returns a TLS configuration and the files that the keys name; nil if TLS is disabled.
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

// verification sets how c verifies the server's certificate.
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
			return urlError("ssl_check_hostname=true contradicts ssl_cert_reqs=none", "ssl_cert_reqs=required")
		}
		c.InsecureSkipVerify = true
	case "", "required", "optional":
		// A server always sends a certificate, so optional verifies it too.
		if !checkName {
			c.InsecureSkipVerify = true
			c.VerifyConnection = certfile.ChainVerifier(c.RootCAs)
		}
	default:
		return keyError("ssl_cert_reqs", t.requirements, "none, optional or required")
	}
	return nil
}

// TLSFiles are PEM files whose content replaces RootCAs and Certificates of a tls.Config. New reads
// them. Each dial reads the files that changed since, so certificates can be replaced while the
// client runs. An unusable new file, such as one that is missing, does not match its key, or has
// expired, changes nothing: the client keeps the old content, and reports each reason once to
// Options.OnEvent.
type TLSFiles struct {
	CA        string // CA certificates that verify the server's certificate; empty: RootCAs of the tls.Config
	Cert, Key string // the client's certificate and its key; empty: Certificates of the tls.Config

	chainOnly bool // verify the server's certificate, except its name
}

// checkTLSFiles validates the paths.
func checkTLSFiles(c *checker, field string, base *tls.Config, f *TLSFiles) {
	switch {
	case f == nil:
	case base == nil:
		c.fail(field, "set", "TLS as well, such as &tls.Config{}")
	case (f.Cert == "") != (f.Key == ""):
		c.fail(field, fmt.Sprintf("Cert %q and Key %q", f.Cert, f.Key), "both, or neither")
	}
}

func tlsKey(field func(*tlsKeys) *string) setter {
	return func(_ *Options, t *tlsKeys, key, value string) error {
		if !t.enabled {
			return urlError("key "+key+" requires TLS", "the scheme rediss")
		}
		if value == "" {
			return keyError(key, value, "a value, or the key left out")
		}
		*field(t) = value
		return nil
	}
}

func boolean(key, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, keyError(key, value, "true or false")
}

// Credentials are a user and a password or token, as Options.Credentials and
// SentinelOptions.Credentials return them. They print without the password, with any verb.
type Credentials struct {
	// Username is the ACL user. Empty: the user default.
	Username string
	Password string
	// Expires is the time when the server stops accepting the password, or closes connections that
	// authenticated with it. The client authenticates its connections again before that. Zero:
	// never.
	Expires time.Time
}

// String returns the user and the expiry.
func (c Credentials) String() string {
	s := fmt.Sprintf("respool.Credentials{user %q", c.Username)
	if !c.Expires.IsZero() {
		s += ", until " + c.Expires.Format(time.RFC3339)
	}
	return s + "}"
}

// GoString returns String.
func (c Credentials) GoString() string { return c.String() }

// Format writes String for every verb.
func (c Credentials) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns String, for slog.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText returns String, so that no encoder shows the password.
func (c Credentials) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
