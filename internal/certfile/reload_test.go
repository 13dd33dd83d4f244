package certfile_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// report is one call of ClientTLS's report function.
type report struct {
	addr string
	err  error
}

// serial returns the serial number of the configuration's own certificate.
func serial(t *testing.T, c *tls.Config) int64 {
	t.Helper()
	if len(c.Certificates) != 1 {
		t.Fatalf("%d certificates: want 1", len(c.Certificates))
	}
	return c.Certificates[0].Leaf.SerialNumber.Int64()
}

// later makes sure that the next version of a file has another time of change.
func later(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		at := info.ModTime().Add(time.Second)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDialsUseReplacedFiles(t *testing.T) {
	dir := t.TempDir()
	ca := testkit.NewAuthority(t)
	cert, key, roots := ca.Issue(t, dir, 1)
	plain, err := certfile.NewClientTLS(&tls.Config{MinVersion: tls.VersionTLS12}, &certfile.Files{CA: roots, Cert: cert, Key: key}, false)
	if err != nil {
		t.Fatal(err)
	}
	var reports []report
	c := plain.ReportTo(func(addr string, err error) { reports = append(reports, report{addr, err}) })
	first := c.For("localhost:6379")
	if serial(t, first) != 1 || first.RootCAs == nil || first.ServerName != "localhost" || len(reports) > 0 {
		t.Fatalf("first dial: %+v, reports %v", first, reports)
	}

	ca.Issue(t, dir, 2)
	later(t, cert, key)
	if second := c.For("localhost:6379"); serial(t, second) != 2 || serial(t, first) != 1 {
		t.Error("the dial after the change does not use the new certificate alone")
	}
	if len(reports) != 1 || reports[0].addr != "localhost:6379" || reports[0].err != nil {
		t.Fatalf("after the change the reports are %v: want one success", reports)
	}

	if err := os.WriteFile(cert, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	later(t, cert)
	for range 2 {
		if serial(t, c.For("b:1")) != 2 {
			t.Error("an unusable file replaced the certificate")
		}
	}
	if len(reports) != 2 || reports[1].addr != "b:1" || reports[1].err == nil || !strings.Contains(reports[1].err.Error(), cert) {
		t.Fatalf("after an unusable file the reports are %v: want one with its name", reports[1:])
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	c.For("b:1")
	if len(reports) != 3 || !errors.Is(reports[2].err, os.ErrNotExist) {
		t.Errorf("after a missing file the reports are %v", reports[2:])
	}
	if serial(t, plain.For("b:1")) != 2 {
		t.Error("the content depends on who receives the reports")
	}
}

func TestUnusableFilesAtTheStart(t *testing.T) {
	dir := t.TempDir()
	cert, key, roots := testkit.NewAuthority(t).Issue(t, dir, 1)
	_, otherKey, _ := testkit.NewAuthority(t).Issue(t, t.TempDir(), 2)
	for name, x := range map[string]struct {
		files certfile.Files
		want  string
	}{
		"no such file":          {certfile.Files{CA: dir + "/none"}, "none"},
		"no certificate":        {certfile.Files{CA: key}, key + " holds no certificate in PEM"},
		"a key of another pair": {certfile.Files{Cert: cert, Key: otherKey}, "the certificate " + cert + " with the key " + otherKey},
	} {
		if _, err := certfile.NewClientTLS(&tls.Config{}, &x.files, false); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
	if _, err := certfile.NewClientTLS(&tls.Config{}, &certfile.Files{CA: roots}, false); err != nil {
		t.Errorf("an authority alone: %v", err)
	}
}

func TestWithoutFilesTheConfigurationIsTheCallers(t *testing.T) {
	base := &tls.Config{ServerName: "cache.example"}
	c, err := certfile.NewClientTLS(base, nil, false)
	if err != nil || c.For("localhost:1") != base {
		t.Errorf("the configuration is %+v: %v", c.For("localhost:1"), err)
	}
	var none *certfile.ClientTLS
	if none.ReportTo(func(string, error) {}).For("localhost:1") != nil {
		t.Error("a client without TLS has a configuration")
	}
}

// ssl_check_hostname=false verifies the chain: a certificate of another authority is refused, another name is not.
func TestOnlyTheChainIsVerified(t *testing.T) {
	ours, others := testkit.NewAuthority(t), testkit.NewAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(ours.Cert)
	verify := certfile.ChainVerifier(roots)
	state := func(a *testkit.Authority) (s tls.ConnectionState) {
		cert, key, _ := a.Issue(t, t.TempDir(), 1, "another.example")
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		s.ServerName, s.PeerCertificates = "cache.example", []*x509.Certificate{pair.Leaf, a.Cert}
		return s
	}
	if err := verify(state(ours)); err != nil {
		t.Errorf("a certificate of the authority with another name: %v", err)
	}
	if err := verify(state(others)); err == nil {
		t.Error("a certificate of another authority was accepted")
	}
	if err := verify(tls.ConnectionState{}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("no certificate: %v", err)
	}
}

// With chainOnly the authorities of the files verify, also after they changed.
func TestTheChainIsVerifiedWithTheAuthoritiesOfTheFiles(t *testing.T) {
	dir := t.TempDir()
	old := testkit.NewAuthority(t)
	_, _, roots := old.Issue(t, dir, 1)
	c, err := certfile.NewClientTLS(&tls.Config{InsecureSkipVerify: true}, &certfile.Files{CA: roots}, true)
	if err != nil {
		t.Fatal(err)
	}
	state := func(a *testkit.Authority) tls.ConnectionState {
		return tls.ConnectionState{PeerCertificates: []*x509.Certificate{a.Cert}}
	}
	next := testkit.NewAuthority(t)
	if verify := c.For("a:1").VerifyConnection; verify(state(old)) != nil || verify(state(next)) == nil {
		t.Error("the authority of the file does not decide")
	}
	next.Issue(t, dir, 2)
	later(t, roots)
	if verify := c.For("a:1").VerifyConnection; verify(state(next)) != nil || verify(state(old)) == nil {
		t.Error("the authority of the replaced file does not decide")
	}
}
