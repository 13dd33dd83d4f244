package respool

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// New reads the files, so that a client with an unusable certificate does not start.
func TestUnusableTLSFilesAreNamed(t *testing.T) {
	dir := t.TempDir()
	cert, key, ca := testkit.NewAuthority(t).Issue(t, dir, 1)
	_, otherKey, _ := testkit.NewAuthority(t).Issue(t, t.TempDir(), 2)
	text := filepath.Join(dir, "text.pem")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing.pem")
	for name, x := range map[string]struct {
		files TLSFiles
		want  string // besides the name of the option or key
	}{
		"no such authority":     {TLSFiles{CA: missing}, "missing.pem"},
		"no authority":          {TLSFiles{CA: text}, "text.pem holds no certificate"},
		"no such certificate":   {TLSFiles{Cert: missing, Key: key}, "missing.pem"},
		"a key of another pair": {TLSFiles{Cert: cert, Key: otherKey}, otherKey},
	} {
		files := x.files
		wants := func(by string, err error, words ...string) {
			t.Helper()
			for _, w := range append(words, x.want) {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("%s, %s: %v, want %q", name, by, err, w)
				}
			}
		}
		_, err := New(Options{Addr: "localhost:1", TLS: &tls.Config{}, TLSFiles: &files})
		wants("New", err, "respool: option TLSFiles")
		_, err = NewSentinel(SentinelOptions{Addrs: []string{"localhost:1"}, TLS: &tls.Config{}, TLSFiles: &files})
		wants("NewSentinel", err, "respool: option TLSFiles")
		_, err = New(Options{Service: "main", Sentinel: &SentinelOptions{Addrs: []string{"localhost:1"}, TLS: &tls.Config{}, TLSFiles: &files}})
		wants("New with sentinels", err, "respool: option TLSFiles")
		keys := "ssl_certfile=" + files.Cert + "&ssl_keyfile=" + files.Key
		if files.CA != "" {
			keys = "ssl_ca_certs=" + files.CA
		}
		_, err = Open(context.Background(), "rediss://localhost:1?"+keys)
		wants("Open", err, "respool: URL key")
		_, err = ParseURL("rediss+sentinel://localhost:1/main?" + keys)
		wants("a URL with sentinels", err, "respool: URL key")
	}

	c, err := New(Options{Addr: "localhost:1", TLS: &tls.Config{}, TLSFiles: &TLSFiles{CA: ca, Cert: cert, Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A client of a Sentinel reads its own files.
func TestUnusableTLSFilesOfASentinelsClientAreNamed(t *testing.T) {
	s, err := NewSentinel(SentinelOptions{Addrs: []string{"localhost:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	_, err = s.Primary("main", Options{TLS: &tls.Config{}, TLSFiles: &TLSFiles{CA: "/missing.pem"}})
	if err == nil || !strings.Contains(err.Error(), "respool: option TLSFiles") {
		t.Errorf("the error is %v", err)
	}
	_, err = s.Replicas("", Options{})
	if err == nil || !strings.Contains(err.Error(), "Service") {
		t.Errorf("without a name the error is %v", err)
	}
}
