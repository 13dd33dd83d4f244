// Package listener listens for clients of the gateway: on TCP, on a Unix socket, or
// on a socket that systemd passed, with TLS whose certificate may change. It
// knows nothing of Redis. A Listener owns one goroutine that accepts and one for
// each TLS handshake; Close waits for them.
package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// Listener is a net.Listener whose TLS configuration may change while it listens. Accept returns
// only clients that have completed their TLS handshake, so that other clients take no place in the
// gateway. It owns one goroutine that accepts and one for each handshake. Close waits for them.
type Listener struct {
	config     config.Address // the current configuration; the caller of Open owns it
	name       string         // of the first configuration
	Inner      net.Listener   // the listener of the system
	log        *slog.Logger
	certs      atomic.Pointer[certfile.Source] // nil: no TLS
	clients    chan accepted
	handshakes chan struct{}   // limits the handshakes in progress
	broken     atomic.Bool     // it stopped listening without Close
	ctx        context.Context // ends with Close
	close      func() error
	wg         sync.WaitGroup // handshakes
	acceptor   sync.WaitGroup
	paused     atomic.Bool // accept ends
	left       atomic.Bool // another process listens too

	mu         sync.Mutex
	loggedAt   time.Time // the last logged failure
	suppressed int       // failures since then
}

// accepted is the pair of values that Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

const (
	handshakeLimit = 10 * time.Second
	maxHandshakes  = 1024
	// logInterval limits the rate of log lines about failed handshakes, so that strangers cannot
	// fill the log.
	logInterval = time.Second
)

// Open listens at an address.
func Open(a config.Address, log *slog.Logger) (*Listener, error) { return Adopt(a, nil, log) }

// Adopt is Open with a listener at the address that another process has opened, unless inner is nil. The path of a Unix socket
// belongs to the other process until Own.
func Adopt(a config.Address, inner net.Listener, log *slog.Logger) (*Listener, error) {
	unlink, err, inherited := func() {}, error(nil), inner != nil
	switch {
	case inner != nil && a.Inherited == nil && a.Network == "unix":
		inner, unlink, err = adoptUnix(inner, a.Addr, a.Mode)
	case inner != nil:
	case a.Inherited != nil:
		inner = a.Inherited
	case a.Network == "unix":
		inner, unlink, err = listenUnix(a.Addr, a.Mode)
	case a.Network == "tcp":
		inner, err = net.Listen("tcp", a.Addr)
	default:
		err = errors.New("systemd passed no socket of this name")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Origin, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Listener{config: a, name: a.Name, Inner: inner, log: log, clients: make(chan accepted), handshakes: make(chan struct{}, maxHandshakes), ctx: ctx}
	l.certs.Store(a.Certs)
	l.left.Store(inherited)
	l.close = sync.OnceValue(func() error {
		cancel()
		err := inner.Close()
		l.acceptor.Wait()
		l.wg.Wait()
		if !l.left.Load() {
			unlink()
		}
		return err
	})
	l.acceptor.Go(l.accept)
	return l, nil
}

// Config is the current configuration. Only the goroutine that calls Reconfigure
// may call it.
func (l *Listener) Config() config.Address { return l.config }

// Reconfigure applies another configuration of the same address: its
// certificate to new handshakes, and its mode to a Unix socket.
func (l *Listener) Reconfigure(a config.Address) {
	l.certs.Store(a.Certs)
	if a.Network == "unix" && a.Inherited == nil && a.Mode != l.config.Mode {
		if err := os.Chmod(a.Addr, a.Mode); err != nil {
			l.log.Warn("cannot change the mode of the socket", "error", err)
		}
	}
	l.config = a
}

// Broken reports whether the listener stopped without Close.
func (l *Listener) Broken() bool { return l.broken.Load() }

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.clients:
		if errors.Is(a.err, net.ErrClosed) {
			l.broken.Store(true)
		}
		return a.conn, a.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.Inner.Addr() }

// Pause stops accepting until Resume. Connections then wait in the kernel, where another process with the same socket may
// accept them. It returns when those that were accepted have been delivered, or are in their handshake. The goroutine that
// calls Reconfigure calls it.
func (l *Listener) Pause() {
	l.paused.Store(true)
	l.setDeadline(time.Unix(1, 0))
	l.acceptor.Wait()
}

// Resume ends the effect of Pause.
func (l *Listener) Resume() {
	l.setDeadline(time.Time{})
	l.paused.Store(false)
	l.acceptor.Go(l.accept)
}

func (l *Listener) setDeadline(at time.Time) {
	if inner, ok := l.Inner.(interface{ SetDeadline(time.Time) error }); ok {
		_ = inner.SetDeadline(at)
	}
}

// Handshakes returns the number of TLS handshakes in progress.
func (l *Listener) Handshakes() int { return len(l.handshakes) }

// Control calls f with the descriptor of the socket, which stays valid during the call.
func (l *Listener) Control(f func(fd uintptr)) error { return Control(l.Inner, f) }

// Control calls f with the descriptor of a listener, which stays valid during the call.
func Control(l net.Listener, f func(fd uintptr)) error {
	s, ok := l.(syscall.Conn)
	if !ok {
		return fmt.Errorf("the listener at %s has no descriptor", l.Addr())
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// Own makes Close remove the path of a Unix socket: the process that opened the listener has ended.
func (l *Listener) Own() { l.left.Store(false) }

// Leave is Close without the removal of a Unix socket's path, because another process listens there.
func (l *Listener) Leave() error {
	l.left.Store(true)
	return l.close()
}

// Close implements net.Listener. Connections that Accept returned stay open.
func (l *Listener) Close() error { return l.close() }

func (l *Listener) accept() {
	for {
		conn, err := l.Inner.Accept()
		if err != nil && l.paused.Load() {
			return
		}
		if l.ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil || l.certs.Load() == nil {
			l.deliver(accepted{conn, err})
			continue
		}
		cfg := l.currentTLS()
		select {
		case l.handshakes <- struct{}{}:
			l.wg.Go(func() {
				l.handshake(conn, cfg)
				<-l.handshakes
			})
		case <-l.ctx.Done():
			_ = conn.Close()
			return
		}
	}
}

// currentTLS returns the configuration of the next handshake, and logs changes of the files.
func (l *Listener) currentTLS() *tls.Config {
	cfg, changed, err := config.TLSConfig(l.certs.Load())
	switch {
	case err != nil:
		l.log.Error("the certificate files changed, but are invalid; the old certificate stays in use", "at", l.name, "error", err)
	case changed:
		l.log.Info("the certificate files changed; new handshakes use them", "at", l.name)
	}
	return cfg
}

// deliver waits until somebody calls Accept. Errors wait too, so that the caller of Accept decides
// how soon to retry.
func (l *Listener) deliver(a accepted) {
	select {
	case l.clients <- a:
	case <-l.ctx.Done():
		if a.conn != nil {
			_ = a.conn.Close()
		}
	}
}

func (l *Listener) handshake(conn net.Conn, cfg *tls.Config) {
	ctx, cancel := context.WithTimeout(l.ctx, handshakeLimit)
	defer cancel()
	secure := tls.Server(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		l.logFailedHandshake(conn.RemoteAddr(), err)
		return
	}
	l.deliver(accepted{conn: secure})
}

// logFailedHandshake logs a failed handshake, and counts those that follow too fast.
func (l *Listener) logFailedHandshake(who net.Addr, err error) {
	l.mu.Lock()
	more, late := l.suppressed, time.Since(l.loggedAt) >= logInterval
	if l.suppressed++; late {
		l.loggedAt, l.suppressed = time.Now(), 0
	}
	l.mu.Unlock()
	if late && l.ctx.Err() == nil {
		l.log.Warn("TLS handshake with a client failed", "at", l.name, "client", who.String(), "error", err, "others_before", more)
	}
}
