package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// schemeLimit limits each of the two attempts of ExplainScheme.
const schemeLimit = 2 * time.Second

// ExplainScheme returns an error that names the right scheme if err may come from the wrong one: it dials the address of err
// once more, with TLS if err came without, and without TLS if err came with it. It sends no credentials. Otherwise it returns
// err.
func ExplainScheme(ctx context.Context, err error) error {
	ce, ok := errors.AsType[*respool.ConnError](err)
	if !ok || ce.Sent {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, schemeLimit)
	defer cancel()
	_, replied := errors.AsType[*respool.ServerError](err)
	switch {
	case ce.Op == "TLS handshake with" && ce.Timeout() && speaksPlain(ctx, ce.Addr):
		return fmt.Errorf("connect to %s: the server does not speak TLS: use redis://", ce.Addr)
	case ce.Op == "handshake with" && !replied && speaksTLS(ctx, ce.Addr):
		return fmt.Errorf("connect to %s: the server speaks TLS: use rediss://", ce.Addr)
	}
	return err
}

// speaksPlain reports whether the server at addr replies to a PING without TLS.
func speaksPlain(ctx context.Context, addr string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	var first [1]byte
	_, err = io.ReadFull(conn, first[:])
	return err == nil && (first[0] == '+' || first[0] == '-') // a status, or an error such as NOAUTH
}

// speaksTLS reports whether the server at addr replies to a TLS handshake.
func speaksTLS(ctx context.Context, addr string) bool {
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // nothing is sent over it
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	_, alert := errors.AsType[tls.AlertError](err)
	return err == nil || alert
}
