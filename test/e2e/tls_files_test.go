package e2e_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// replace writes the content of one file to another, as an operator replaces certificates.
func replace(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to+"~", text, 0o600)
	}
	if err == nil {
		err = os.Rename(to+"~", to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An operator replaces the certificates of a server and its clients while a client runs. Two servers with different CAs are the
// server before and after.
func TestNewDialsUseReplacedCertificates(t *testing.T) {
	old := redistest.Start(t, redistest.Config{TLSClientAuth: true})
	fresh := redistest.Start(t, redistest.Config{TLSClientAuth: true})
	for _, keys := range []string{"", "&ssl_check_hostname=false"} {
		dir := t.TempDir()
		ca, cert, key := filepath.Join(dir, "ca"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
		install := func(s *redistest.Server) {
			replace(t, s.CAFile(), ca)
			replace(t, s.CertFile(), cert)
			replace(t, s.KeyFile(), key)
		}
		install(old)
		opt, err := respool.ParseURL("rediss://127.0.0.1:1?backoff_cap=0.01&ssl_ca_certs=" + ca + "&ssl_certfile=" + cert + "&ssl_keyfile=" + key + keys)
		if err != nil {
			t.Fatal(err)
		}
		var target atomic.Pointer[redistest.Server]
		target.Store(old)
		opt.Dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, target.Load().Addr())
		}
		var mu sync.Mutex
		var reported []respool.Event
		opt.OnEvent = func(e respool.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == respool.EventTLSFilesChanged || e.Kind == respool.EventTLSFilesRefused {
				reported = append(reported, e)
			}
		}
		events := func() []respool.Event {
			mu.Lock()
			defer mu.Unlock()
			return append([]respool.Event(nil), reported...)
		}
		c := openClient(t, opt)
		mustDo(t, c, "PING")

		target.Store(fresh)
		killAll(old)
		err = testkit.Await(t, "a PING fails", func() error { return c.Do(bounded(t), "PING").Err() }, failed)
		wantWords(t, err, "unknown authority")
		install(fresh)
		testkit.Await(t, "a PING succeeds", func() error { return c.Do(bounded(t), "PING").Err() }, succeeded)
		if list := events(); len(list) == 0 || list[len(list)-1].Kind != respool.EventTLSFilesChanged {
			t.Errorf("events %v: want the last to report the new files", list)
		}

		// A bad file and a missing file change nothing. The client reports each once.
		for _, spoil := range []func() error{
			func() error { return os.WriteFile(ca, []byte("-----BEGIN"), 0o600) },
			func() error { return os.Remove(cert) },
		} {
			before := len(events())
			if err := spoil(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				killAll(fresh)
				closed := c.Stats().Closed
				testkit.Eventually(t, "the client replaces the closed connections", func() bool { return c.Do(bounded(t), "PING").Err() == nil && c.Stats().Closed >= closed })
			}
			testkit.Eventually(t, "an event is reported", func() bool { killAll(fresh); _ = c.Do(bounded(t), "PING"); return len(events()) > before })
			list := events()[before:]
			if len(list) != 1 || list[0].Kind != respool.EventTLSFilesRefused {
				t.Errorf("events %v: want one that reports the refused files", list)
			} else {
				wantWords(t, list[0].Err, "stay in force", dir)
			}
		}
	}
}

func TestTLSFilesWithoutURL(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLSClientAuth: true})
	files := &respool.TLSFiles{CA: s.CAFile(), Cert: s.CertFile(), Key: s.KeyFile()}
	base := s.TLSConfig()
	base.RootCAs, base.Certificates = nil, nil
	mustDo(t, openClient(t, respool.Options{Addr: s.Addr(), TLS: base, TLSFiles: files, WaitTimeout: time.Second}), "PING")
	for _, opt := range []respool.Options{
		{TLSFiles: files},
		{TLS: base, TLSFiles: &respool.TLSFiles{Cert: s.CertFile()}},
		{TLS: base, TLSFiles: &respool.TLSFiles{CA: filepath.Join(t.TempDir(), "none")}},
	} {
		_, err := respool.New(opt)
		wantWords(t, err, "TLSFiles")
	}
}
