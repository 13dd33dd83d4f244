package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/certfile"
)

// door is an entrance that is open: a listener whose TLS may change while it
// listens, and which hands out only clients that are through with their
// handshake. So nobody takes a client's place who does not get that far.
// It owns a goroutine for itself and one for each handshake; Close waits for them.
type door struct {
	entrance entrance // belongs to who opened the door, and may change
	name     string   // of the entrance, which stays
	inner    net.Listener
	log      *slog.Logger
	certs    atomic.Pointer[certfile.Source] // nil: no TLS
	clients  chan knock
	shaking  chan struct{}   // holds one for each handshake under way
	broken   atomic.Bool     // it can't listen any more, and nobody closed it
	ctx      context.Context // ends with the door
	close    func() error
	wg       sync.WaitGroup

	mu     sync.Mutex
	logged time.Time // when a failed handshake was told last
	more   int       // failed ones since then
}

// knock is what Accept hands out.
type knock struct {
	conn net.Conn
	err  error
}

const (
	handshakeLimit = 10 * time.Second
	mostHandshakes = 1024
	// logEvery is how often failed handshakes are told, so that no stranger fills the log.
	logEvery = time.Second
)

// openDoor listens.
func openDoor(e entrance, log *slog.Logger) (*door, error) {
	inner, unlink, err := e.passed, func() {}, error(nil)
	switch {
	case inner != nil:
	case e.network == "unix":
		inner, unlink, err = listenUnix(e.addr, e.mode)
	case e.network == "tcp":
		inner, err = net.Listen("tcp", e.addr)
	default:
		err = errors.New("systemd passed no such socket")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.where, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &door{entrance: e, name: e.name, inner: inner, log: log, clients: make(chan knock), shaking: make(chan struct{}, mostHandshakes), ctx: ctx}
	d.certs.Store(e.certs)
	d.close = sync.OnceValue(func() error {
		cancel()
		err := inner.Close()
		d.wg.Wait()
		unlink()
		return err
	})
	d.wg.Go(d.loop)
	return d, nil
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case k := <-d.clients:
		if errors.Is(k.err, net.ErrClosed) {
			d.broken.Store(true)
		}
		return k.conn, k.err
	case <-d.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.inner.Addr() }

// Close implements net.Listener. Those that were handed out stay.
func (d *door) Close() error { return d.close() }

func (d *door) loop() {
	for {
		conn, err := d.inner.Accept()
		if d.ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil || d.certs.Load() == nil {
			d.hand(knock{conn, err})
			continue
		}
		cfg := d.tlsNow()
		select {
		case d.shaking <- struct{}{}:
			d.wg.Go(func() {
				d.shake(conn, cfg)
				<-d.shaking
			})
		case <-d.ctx.Done():
			_ = conn.Close()
			return
		}
	}
}

// tlsNow is for the next handshake. It tells where the files have changed.
func (d *door) tlsNow() *tls.Config {
	cfg, changed, err := tlsConfig(d.certs.Load())
	switch {
	case err != nil:
		d.log.Error("the certificate's files have changed and are of no use, the old ones stay in force", "at", d.name, "error", err)
	case changed:
		d.log.Info("the certificate's files have changed, new handshakes use them", "at", d.name)
	}
	return cfg
}

// hand waits until somebody accepts. An error waits, too: so whoever accepts
// says how soon there is another try.
func (d *door) hand(k knock) {
	select {
	case d.clients <- k:
	case <-d.ctx.Done():
		if k.conn != nil {
			_ = k.conn.Close()
		}
	}
}

func (d *door) shake(conn net.Conn, cfg *tls.Config) {
	ctx, cancel := context.WithTimeout(d.ctx, handshakeLimit)
	defer cancel()
	secure := tls.Server(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		d.refused(conn.RemoteAddr(), err)
		return
	}
	d.hand(knock{conn: secure})
}

// refused tells of a failed handshake, but for those that come too fast.
func (d *door) refused(who net.Addr, err error) {
	d.mu.Lock()
	more, late := d.more, time.Since(d.logged) >= logEvery
	if d.more++; late {
		d.logged, d.more = time.Now(), 0
	}
	d.mu.Unlock()
	if late && d.ctx.Err() == nil {
		d.log.Warn("no TLS with a client", "at", d.name, "client", who.String(), "error", err, "others_before", more)
	}
}

// listenUnix listens at a path with a mode from its first moment on: the socket
// gets its mode under another name. One that a killed process left is
// replaced. unlink removes the path, unless it is somebody else's by now.
func listenUnix(path string, mode fs.FileMode) (l net.Listener, unlink func(), err error) {
	if err := vacant(path); err != nil {
		return nil, nil, err
	}
	next := path + "~"
	if err := vacant(next); err != nil {
		return nil, nil, err
	}
	_ = os.Remove(next)
	u, err := net.ListenUnix("unix", &net.UnixAddr{Name: next, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	u.SetUnlinkOnClose(false)
	err = os.Chmod(next, mode)
	if err == nil {
		err = os.Rename(next, path)
	}
	mine, statErr := os.Lstat(path)
	if err = errors.Join(err, statErr); err != nil {
		_ = u.Close()
		_ = os.Remove(next)
		return nil, nil, err
	}
	return namedListener{u, path}, func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, mine) {
			_ = os.Remove(path)
		}
	}, nil
}

// vacant wants nothing at a path, or a socket at which nobody listens.
func vacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and no socket: want another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("is somebody there? %w", err)
	}
	_ = conn.Close()
	return fmt.Errorf("another process listens at %s", path)
}

// namedListener tells the path by which clients find it.
type namedListener struct {
	*net.UnixListener
	path string
}

func (l namedListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
