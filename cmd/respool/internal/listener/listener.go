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
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// Listener is an entrance that is open: a listener whose TLS may change while it
// listens, and which hands out only clients that are through with their
// handshake. So nobody takes a client's place who does not get that far.
// It owns a goroutine for itself and one for each handshake; Close waits for them.
type Listener struct {
	Config     config.Address // belongs to who opened the door, and may change
	name       string         // of the entrance, which stays
	Inner      net.Listener
	log        *slog.Logger
	Certs      atomic.Pointer[certfile.Source] // nil: no TLS
	clients    chan accepted
	handshakes chan struct{}   // holds one for each handshake under way
	Broken     atomic.Bool     // it can't listen any more, and nobody closed it
	ctx        context.Context // ends with the door
	close      func() error
	wg         sync.WaitGroup

	mu         sync.Mutex
	loggedAt   time.Time // when a failed handshake was told last
	suppressed int       // failed ones since then
}

// accepted is what Accept hands out.
type accepted struct {
	conn net.Conn
	err  error
}

const (
	handshakeLimit = 10 * time.Second
	maxHandshakes  = 1024
	// logInterval is how often failed handshakes are told, so that no stranger fills the log.
	logInterval = time.Second
)

// Open listens.
func Open(a config.Address, log *slog.Logger) (*Listener, error) {
	inner, unlink, err := a.Inherited, func() {}, error(nil)
	switch {
	case inner != nil:
	case a.Network == "unix":
		inner, unlink, err = listenUnix(a.Addr, a.Mode)
	case a.Network == "tcp":
		inner, err = net.Listen("tcp", a.Addr)
	default:
		err = errors.New("systemd passed no such socket")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Origin, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Listener{Config: a, name: a.Name, Inner: inner, log: log, clients: make(chan accepted), handshakes: make(chan struct{}, maxHandshakes), ctx: ctx}
	l.Certs.Store(a.Certs)
	l.close = sync.OnceValue(func() error {
		cancel()
		err := inner.Close()
		l.wg.Wait()
		unlink()
		return err
	})
	l.wg.Go(l.accept)
	return l, nil
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case k := <-l.clients:
		if errors.Is(k.err, net.ErrClosed) {
			l.Broken.Store(true)
		}
		return k.conn, k.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.Inner.Addr() }

// Close implements net.Listener. Those that were handed out stay.
func (l *Listener) Close() error { return l.close() }

func (l *Listener) accept() {
	for {
		conn, err := l.Inner.Accept()
		if l.ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil || l.Certs.Load() == nil {
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

// currentTLS is for the next handshake. It tells where the files have changed.
func (l *Listener) currentTLS() *tls.Config {
	cfg, changed, err := config.TLSConfig(l.Certs.Load())
	switch {
	case err != nil:
		l.log.Error("the certificate's files have changed and are of no use, the old ones stay in force", "at", l.name, "error", err)
	case changed:
		l.log.Info("the certificate's files have changed, new handshakes use them", "at", l.name)
	}
	return cfg
}

// deliver waits until somebody accepts. An error waits, too: so whoever accepts
// says how soon there is another try.
func (l *Listener) deliver(k accepted) {
	select {
	case l.clients <- k:
	case <-l.ctx.Done():
		if k.conn != nil {
			_ = k.conn.Close()
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

// logFailedHandshake tells of a failed handshake, but for those that come too fast.
func (l *Listener) logFailedHandshake(who net.Addr, err error) {
	l.mu.Lock()
	more, late := l.suppressed, time.Since(l.loggedAt) >= logInterval
	if l.suppressed++; late {
		l.loggedAt, l.suppressed = time.Now(), 0
	}
	l.mu.Unlock()
	if late && l.ctx.Err() == nil {
		l.log.Warn("no TLS with a client", "at", l.name, "client", who.String(), "error", err, "others_before", more)
	}
}
