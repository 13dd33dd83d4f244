package wire

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/seed-2b0d76a6/respool/resp"
)

// explained is an error in words for users: what failed, why, and what to do. The text replaces that of err.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }

// Unwrap returns the error that the text replaces.
func (e *explained) Unwrap() error { return e.err }

// explainDial explains the error of a dial to addr.
func explainDial(addr string, err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	text := strings.TrimPrefix(op.Err.Error(), "connect: ")
	if op.Addr != nil && op.Addr.String() != addr {
		text = op.Addr.String() + ": " + text // of the addresses that a name has, the one that failed
	}
	switch notFound, isName := errors.AsType[*net.DNSError](err); {
	case errors.Is(err, syscall.ECONNREFUSED):
		text += ": no server listens there: check the host and the port"
	case isName && notFound.IsNotFound:
		text += ": check the name"
	}
	return &explained{text, err}
}

// explainTLS explains the error of a TLS handshake.
func explainTLS(err error) error {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return &explained{"the server does not speak TLS: use redis://", err}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &explained{"the server's certificate is signed by an unknown authority: name the file of its CA with ssl_ca_certs", err}
	}
	return err
}

// explainSilentTLS explains err if it is a timeout. A server without TLS may wait for the end of a line during a TLS handshake.
func explainSilentTLS(err error) error {
	if t, ok := errors.AsType[*TimeoutError](err); ok {
		return &explained{t.Text + ": if the server does not speak TLS, use redis://", err}
	}
	return err
}

// explainHangUp explains err if the server closed the connection before it sent anything.
func (c *Conn) explainHangUp(err error) error {
	if _, secure := c.nc.(*tls.Conn); secure || c.heard || !hungUp(err) {
		return err
	}
	return &explained{"the server closed the connection without a reply, as one that speaks TLS (use rediss://) or is at maxclients may do", err}
}

// notRedis explains a reply that is none of Redis' protocol.
func notRedis(got []byte, err error) error {
	if len(got) > 40 {
		got = got[:40]
	}
	if len(got) > 1 && got[0] == 0x15 && got[1] == 3 {
		return &explained{"the server speaks TLS: use rediss://", err}
	}
	text := "not a Redis server: it sent " + strconv.Quote(string(got))
	switch {
	case errors.Is(err, resp.ErrTooLarge):
		return fmt.Errorf("%s: %w", text, err)
	case isHTTP(got):
		text += ", which is HTTP: check the port"
	}
	return &explained{text, err}
}

// isHTTP reports whether a reply is one of an HTTP server.
func isHTTP(got []byte) bool {
	got = bytes.ToUpper(bytes.TrimSpace(got))
	return slices.ContainsFunc([]string{"HTTP/", "<!DOCTYPE", "<HTML"}, func(begin string) bool { return bytes.HasPrefix(got, []byte(begin)) })
}

// explain explains the error codes of a refused handshake.
func explain(err error, withPassword bool) error {
	se, ok := errors.AsType[*resp.ServerError](err)
	if !ok {
		return err
	}
	switch {
	case se.Code == "NOAUTH" && !withPassword:
		return &explained{"the server requires a password, and none is configured (NOAUTH): add it to the URL (redis://:PASSWORD@HOST) or to the options", err}
	case se.Code == "WRONGPASS" || se.Message == "invalid password":
		text := "the server refused the username or password"
		if se.Code == "WRONGPASS" {
			text += " (WRONGPASS)"
		}
		return &explained{text, err}
	case se.Code == "BUSY":
		return fmt.Errorf("the server is busy with a script: %w", err)
	case se.Code == "LOADING":
		return fmt.Errorf("the server is loading its data: %w", err)
	case strings.Contains(se.Message, "max number of clients"):
		return fmt.Errorf("the server is at maxclients and refuses new connections: %w", err)
	case se.Code == "DENIED":
		return fmt.Errorf("the server is in protected mode: %w", err)
	}
	return err
}
