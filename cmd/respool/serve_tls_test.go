package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for 127.0.0.1, which serve both sides.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue writes cert.pem, key.pem and ca.pem into a directory.
func (a *authority) issue(t *testing.T, dir string, serial int64) (cert, key, ca string) {
	t.Helper()
	own := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", keyDER), write("ca.pem", "CERTIFICATE", a.cert.Raw)
}

func certificateFiles(t *testing.T) (cert, key, ca string) {
	t.Helper()
	return newAuthority(t).issue(t, t.TempDir(), 2)
}

// trusting is a client's side, with a certificate if there is a file of one.
func (a *authority) trusting(t *testing.T, cert, key string) *tls.Config {
	t.Helper()
	c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
	c.RootCAs.AddCert(a.cert)
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func dialTLS(t *testing.T, addr string, cfg *tls.Config) (*redisClient, *tls.Conn) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return talkOver(t, conn), conn
}

// refusedTLS wants a client not to get in: with TLS 1.3 it learns that from its first read.
func refusedTLS(t *testing.T, addr string, cfg *tls.Config) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = conn.Write([]byte("PING\r\n"))
	if n, err := conn.Read(make([]byte, 10)); err == nil || n > 0 {
		t.Errorf("it was let in: %d, %v", n, err)
	}
}

func TestServeWithTLS(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.issue(t, t.TempDir(), 2)
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key})
	c, _ := dialTLS(t, r.at(t, 1), a.trusting(t, "", ""))
	c.do("+PONG", "PING")
	c.do("+OK", "SET", "k", "v")
	// Who speaks no TLS gets nowhere, and takes nobody's place.
	plain := talkTo(t, "tcp", r.at(t, 1))
	plain.send("PING")
	if line, err := plain.r.ReadString('\n'); err == nil || strings.Contains(line, "PONG") {
		t.Errorf("%q, %v", line, err)
	}
	r.log.until(t, "no TLS with a client.*first record does not look like a TLS handshake", 1)
	c.do("v", "GET", "k")
}

func TestServeForClientsWithACertificate(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	cert, key, ca := a.issue(t, t.TempDir(), 2)
	foreign, foreignKey, _ := other.issue(t, t.TempDir(), 3)
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key, TLSCA: ca})
	c, _ := dialTLS(t, r.at(t, 1), a.trusting(t, cert, key))
	c.do("+PONG", "PING")
	refusedTLS(t, r.at(t, 1), a.trusting(t, "", ""))
	refusedTLS(t, r.at(t, 1), a.trusting(t, foreign, foreignKey))
	c.do("+PONG", "PING")
}

// A handshake that does not go on holds up nobody, and ends with the gateway.
func TestAHandshakeThatHangsHoldsUpNobody(t *testing.T) {
	a := newAuthority(t)
	cert, key, _ := a.issue(t, t.TempDir(), 2)
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key})
	mute := talkTo(t, "tcp", r.at(t, 1))
	c, _ := dialTLS(t, r.at(t, 1), a.trusting(t, "", ""))
	c.do("+PONG", "PING")
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if _, err := mute.r.ReadByte(); err == nil {
		t.Error("it was told something")
	}
}

func TestACertificateThatHasExpiredIsTold(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	cert, key, _ := a.issue(t, dir, 2)
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key})
	if text := r.log.String(); strings.Contains(text, "expired") {
		t.Error(text)
	}
	a.cert.NotAfter = time.Now().Add(-time.Minute)
	a.issue(t, dir, 3)
	r.reload(t, `level=WARN msg="the certificate has expired, and clients refuse it: `)
	if code, out, errs := call(t, "serve", "--tls-cert", cert, "--tls-key", key, "--check"); code != 0 || !strings.Contains(out, "the certificate has expired") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

func TestCertificatesAreReadAnew(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	cert, key, ca := a.issue(t, dir, 2)
	file := written(t, "respool.yaml", "url: redis://127.0.0.1:1\ntell: []\nserve:\n  listen: [{address: '127.0.0.1:0', tls: {cert: "+cert+", key: "+key+"}}]\n")
	r := served(t, &serveCmd{Config: file})
	serial := func(conn *tls.Conn) int64 { return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64() }
	before, conn := dialTLS(t, r.at(t, 1), a.trusting(t, "", ""))
	before.do("+PONG", "PING")
	if serial(conn) != 2 {
		t.Error(serial(conn))
	}
	a.issue(t, dir, 7)
	r.reload(t, "in force")
	after, conn := dialTLS(t, r.at(t, 1), a.trusting(t, "", ""))
	after.do("+PONG", "PING")
	if serial(conn) != 7 {
		t.Error(serial(conn))
	}
	before.do("+PONG", "PING")
	// Half a file is refused, and what there was goes on.
	if err := os.WriteFile(cert, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload(t, "the configuration is refused, the old one kept")
	after, _ = dialTLS(t, r.at(t, 1), a.trusting(t, "", ""))
	after.do("+PONG", "PING")
	// From now on clients need one, too.
	a.issue(t, dir, 8)
	rewrite(t, file, "key: "+key, "key: "+key+", client_ca: "+ca)
	r.reload(t, "in force")
	refusedTLS(t, r.at(t, 1), a.trusting(t, "", ""))
	before.do("+PONG", "PING")
}

// Handshakes follow the files without a reload, and half a file is told and not used.
func TestHandshakesUseCertificatesThatWereReplaced(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	cert, key, ca := a.issue(t, dir, 2)
	r := served(t, &serveCmd{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key, TLSCA: ca})
	serial := func(clientCert, clientKey string) int64 {
		p, conn := dialTLS(t, r.at(t, 1), a.trusting(t, clientCert, clientKey))
		p.do("+PONG", "PING")
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(cert, key); n != 2 {
		t.Error(n)
	}
	a.issue(t, dir, 7)
	if n := serial(cert, key); n != 7 {
		t.Errorf("serial %d: want the new certificate", n)
	}
	mine := t.TempDir()
	mineCert, mineKey, _ := a.issue(t, mine, 9)
	for _, path := range []string{cert, ca} {
		if err := os.WriteFile(path, []byte("-----BEGIN"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if n := serial(mineCert, mineKey); n != 7 {
				t.Errorf("serial %d: want the old certificate", n)
			}
		}
	}
	if text := r.log.String(); strings.Count(text, "of no use, the old ones stay in force") != 2 || !strings.Contains(text, "new handshakes use them") {
		t.Errorf("the log tells of each bad file once: %s", text)
	}
	// Another authority signs the clients' certificates from now on.
	b := newAuthority(t)
	other := t.TempDir()
	_, _, otherCA := b.issue(t, other, 11)
	a.issue(t, dir, 8)
	text, err := os.ReadFile(otherCA)
	if err == nil {
		err = os.WriteFile(ca, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	refusedTLS(t, r.at(t, 1), a.trusting(t, mineCert, mineKey))
}

// rewrite changes a file.
func rewrite(t *testing.T, file, old, with string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("no %q in %s, %v", old, text, err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), old, with)), 0o600); err != nil {
		t.Fatal(err)
	}
}
