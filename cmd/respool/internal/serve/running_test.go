package serve

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/systemd"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// running is a running gateway.
type running struct {
	*Server
	log, out  *tooltest.Log
	hup, stop chan os.Signal
	ended     func() error // waits for its end
	fails     bool         // it is to end with an error
}

// served starts a gateway with its pages at a free port, and waits until it serves.
func served(t *testing.T, flags *Flags) *running {
	t.Helper()
	r := begin(t, flags)
	r.out.Until(t, "try: ", 1)
	return r
}

// begin is served without the wait.
func begin(t *testing.T, flags *Flags) *running {
	t.Helper()
	if flags.HTTP == "" {
		flags.HTTP = "127.0.0.1:0"
	}
	passed := &systemd.Sockets{}
	s, err := flags.Read(passed)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{log: tooltest.NewLog(), out: tooltest.NewLog(), hup: make(chan os.Signal), stop: make(chan os.Signal, 2)}
	r.Server = New(*flags, slog.New(slog.NewTextHandler(r.log, nil)), r.out, passed)
	done := make(chan error, 1)
	go func() { done <- r.Run(s, r.hup, r.stop) }()
	r.ended = sync.OnceValue(func() error { return <-done })
	t.Cleanup(func() {
		select {
		case r.stop <- os.Interrupt:
		default: // it was told twice
		}
		if err := r.ended(); (err != nil) != r.fails {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return r
}

// notServed starts a gateway that has to fail, and returns its error.
func notServed(t *testing.T, flags *Flags) error {
	t.Helper()
	passed := &systemd.Sockets{}
	s, err := flags.Read(passed)
	if err != nil {
		t.Fatal(err)
	}
	return New(*flags, slog.New(slog.DiscardHandler), io.Discard, passed).Run(s, nil, nil)
}

// at is the address of the n-th listener.
func (r *running) at(t *testing.T, n int) string {
	t.Helper()
	return r.log.Until(t, `msg=serving at=(\S+)`, n)
}

// page reads a page until it has this status code.
func (r *running) page(t *testing.T, path string, code int) string {
	t.Helper()
	base := r.log.Until(t, `msg=pages at=(\S+)/`, 1)
	type reply struct {
		code int
		body string
	}
	get := func() reply {
		answer, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return reply{answer.StatusCode, string(body)}
	}
	return testkit.Await(t, fmt.Sprintf("status %d of %s", code, path), get, func(r reply) bool { return r.code == code }).body
}

// reload reloads the configuration, and waits for a log line.
func (r *running) reload(t *testing.T, want string) {
	t.Helper()
	n := strings.Count(r.log.String(), want)
	r.hup <- syscall.SIGHUP
	r.log.Until(t, regexp.QuoteMeta(want), n+1)
}

// hello is the reply to HELLO without arguments.
func (r *running) hello(t *testing.T) string {
	t.Helper()
	c := tooltest.Dial(t, "tcp", r.at(t, 1))
	c.Send("HELLO")
	c.Send("QUIT")
	text, err := io.ReadAll(c.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
