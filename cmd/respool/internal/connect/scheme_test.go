package connect_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// pingError is the error of a PING to a URL.
func pingError(t *testing.T, url string) error {
	t.Helper()
	opt, err := respool.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	opt.ConnectTimeout = 500 * time.Millisecond
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer connect.Close(c)
	if err = c.Do(t.Context(), "PING").Err(); err == nil {
		t.Fatalf("%s: no error", url)
	}
	return err
}

func TestTheWrongSchemeIsNamed(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true, Password: "hush"})
	for url, want := range map[string]string{
		"rediss://" + s.PlainAddr():   "connect to " + s.PlainAddr() + ": the server does not speak TLS: use redis://",
		"redis://" + s.Addr():         "connect to " + s.Addr() + ": the server speaks TLS: use rediss://",
		"redis://:x@" + s.PlainAddr(): "refused the username or password",
		"rediss://" + s.Addr():        "unknown authority",
		"redis://127.0.0.1:1":         "connection refused",
	} {
		err := connect.ExplainScheme(t.Context(), pingError(t, url))
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want %s", url, err, want)
		}
	}
}

// A server that is neither keeps its own error.
func TestASilentServerKeepsItsError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	for _, scheme := range []string{"redis", "rediss"} {
		before := pingError(t, scheme+"://"+ln.Addr().String())
		if after := connect.ExplainScheme(t.Context(), before); !errors.Is(after, before) {
			t.Errorf("%s: %v became %v", scheme, before, after)
		}
	}
}
