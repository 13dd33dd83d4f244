package serve

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func dialTLS(t *testing.T, addr string, cfg *tls.Config) (*tooltest.Client, *tls.Conn) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tooltest.NewClient(t, conn), conn
}

// refusedTLS checks that a client is refused. With TLS 1.3 the first read fails.
func refusedTLS(t *testing.T, addr string, cfg *tls.Config) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(tooltest.Patience))
	_, _ = conn.Write([]byte("PING\r\n"))
	if n, err := conn.Read(make([]byte, 10)); err == nil || n > 0 {
		t.Errorf("it was let in: %d, %v", n, err)
	}
}

func TestServeWithTLS(t *testing.T) {
	a := testkit.NewAuthority(t)
	cert, key, _ := a.Issue(t, t.TempDir(), 2)
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key})
	c, _ := dialTLS(t, r.at(t, 1), a.ClientTLS(t, "", ""))
	c.Do("+PONG", "PING")
	c.Do("+OK", "SET", "k", "v")
	// A client without TLS is refused, and takes no place.
	plain := tooltest.Dial(t, "tcp", r.at(t, 1))
	plain.Send("PING")
	if line, err := plain.Reader.ReadString('\n'); err == nil || strings.Contains(line, "PONG") {
		t.Errorf("%q, %v", line, err)
	}
	r.log.Until(t, "TLS handshake with a client failed.*first record does not look like a TLS handshake", 1)
	c.Do("v", "GET", "k")
}

func TestServeForClientsWithACertificate(t *testing.T) {
	a, other := testkit.NewAuthority(t), testkit.NewAuthority(t)
	cert, key, ca := a.Issue(t, t.TempDir(), 2)
	foreign, foreignKey, _ := other.Issue(t, t.TempDir(), 3)
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key, TLSCA: ca})
	c, _ := dialTLS(t, r.at(t, 1), a.ClientTLS(t, cert, key))
	c.Do("+PONG", "PING")
	refusedTLS(t, r.at(t, 1), a.ClientTLS(t, "", ""))
	refusedTLS(t, r.at(t, 1), a.ClientTLS(t, foreign, foreignKey))
	c.Do("+PONG", "PING")
}

// A stalled handshake delays nobody, and ends with the gateway.
func TestAHandshakeThatHangsHoldsUpNobody(t *testing.T) {
	a := testkit.NewAuthority(t)
	cert, key, _ := a.Issue(t, t.TempDir(), 2)
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key})
	mute := tooltest.Dial(t, "tcp", r.at(t, 1))
	c, _ := dialTLS(t, r.at(t, 1), a.ClientTLS(t, "", ""))
	c.Do("+PONG", "PING")
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if _, err := mute.Reader.ReadByte(); err == nil {
		t.Error("it was told something")
	}
}

func TestACertificateThatHasExpiredIsTold(t *testing.T) {
	a, dir := testkit.NewAuthority(t), t.TempDir()
	cert, key, _ := a.Issue(t, dir, 2)
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key})
	if text := r.log.String(); strings.Contains(text, "expired") {
		t.Error(text)
	}
	a.Cert.NotAfter = time.Now().Add(-time.Minute)
	a.Issue(t, dir, 3)
	r.reload(t, `level=WARN msg="the certificate has expired, so clients refuse it: `)
	s, err := (&Flags{TLSCert: cert, TLSKey: key, Check: true}).Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := s.Describe(&out, ""); err != nil || !strings.Contains(out.String(), "the certificate has expired") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestCertificatesAreReadAnew(t *testing.T) {
	a, dir := testkit.NewAuthority(t), t.TempDir()
	cert, key, ca := a.Issue(t, dir, 2)
	file := tooltest.File(t, "respool.yaml", "url: redis://127.0.0.1:1\ntell: []\nserve:\n  listen: [{address: '127.0.0.1:0', tls: {cert: "+cert+", key: "+key+"}}]\n")
	r := served(t, &Flags{Config: file})
	serial := func(conn *tls.Conn) int64 { return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64() }
	before, conn := dialTLS(t, r.at(t, 1), a.ClientTLS(t, "", ""))
	before.Do("+PONG", "PING")
	if serial(conn) != 2 {
		t.Error(serial(conn))
	}
	a.Issue(t, dir, 7)
	r.reload(t, "configuration is active")
	after, conn := dialTLS(t, r.at(t, 1), a.ClientTLS(t, "", ""))
	after.Do("+PONG", "PING")
	if serial(conn) != 7 {
		t.Error(serial(conn))
	}
	before.Do("+PONG", "PING")
	// Half a file is refused, and the old certificate stays.
	if err := os.WriteFile(cert, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.reload(t, "the new configuration is invalid; the old one stays")
	after, _ = dialTLS(t, r.at(t, 1), a.ClientTLS(t, "", ""))
	after.Do("+PONG", "PING")
	// Clients now need a certificate too.
	a.Issue(t, dir, 8)
	tooltest.Rewrite(t, file, "key: "+key, "key: "+key+", client_ca: "+ca)
	r.reload(t, "configuration is active")
	refusedTLS(t, r.at(t, 1), a.ClientTLS(t, "", ""))
	before.Do("+PONG", "PING")
}

// Handshakes use replaced files without a reload. Half a file is logged and not used.
func TestHandshakesUseCertificatesThatWereReplaced(t *testing.T) {
	a, dir := testkit.NewAuthority(t), t.TempDir()
	cert, key, ca := a.Issue(t, dir, 2)
	r := served(t, &Flags{Listen: []string{"127.0.0.1:0"}, TLSCert: cert, TLSKey: key, TLSCA: ca})
	serial := func(clientCert, clientKey string) int64 {
		p, conn := dialTLS(t, r.at(t, 1), a.ClientTLS(t, clientCert, clientKey))
		p.Do("+PONG", "PING")
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if n := serial(cert, key); n != 2 {
		t.Error(n)
	}
	a.Issue(t, dir, 7)
	if n := serial(cert, key); n != 7 {
		t.Errorf("serial %d: want the new certificate", n)
	}
	mine := t.TempDir()
	mineCert, mineKey, _ := a.Issue(t, mine, 9)
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
	if text := r.log.String(); strings.Count(text, "but are invalid; the old certificate stays in use") != 2 || !strings.Contains(text, "new handshakes use them") {
		t.Errorf("the log tells of each bad file once: %s", text)
	}
	// Another authority now signs the certificates of clients.
	b := testkit.NewAuthority(t)
	other := t.TempDir()
	_, _, otherCA := b.Issue(t, other, 11)
	a.Issue(t, dir, 8)
	text, err := os.ReadFile(otherCA)
	if err == nil {
		err = os.WriteFile(ca, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	refusedTLS(t, r.at(t, 1), a.ClientTLS(t, mineCert, mineKey))
}
