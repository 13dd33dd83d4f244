package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Endpoint listens for the processes that take over, one after the other. Its listener moves to the process that takes over, so
// that there is always a process that listens at the path. One goroutine owns it, except for Accept.
type Endpoint struct {
	l      *net.UnixListener
	path   string
	mine   fs.FileInfo
	shared bool // another process listens with the same listener
}

// ErrTaken is the error of Claim if another process listens at the path.
var ErrTaken = errors.New("takeover: another process listens at this path")

// Claim is Listen for a process that has found nobody at the path. Of several that do so at the same time, one gets the path.
func Claim(path string) (*Endpoint, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("takeover: %w", err)
	}
	defer dir.Close() // ends the lock
	for {
		if err = unix.Flock(int(dir.Fd()), unix.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("takeover: lock %s: %w", dir.Name(), err)
	}
	switch c, err := Dial(path); {
	case err == nil:
		c.Close()
		return nil, ErrTaken
	case !errors.Is(err, ErrNobody):
		return nil, err
	}
	return Listen(path)
}

// Adopt returns the endpoint of another process, whose listener this process has too. The path belongs to the other process until
// Own.
func Adopt(path string, l net.Listener) (*Endpoint, error) {
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errMalformed
	}
	mine, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("takeover: %w", err)
	}
	return &Endpoint{l: u, path: path, mine: mine, shared: true}, nil
}

// Listen listens at a path. It replaces the socket of another process there. Only the same user may connect.
func Listen(path string) (*Endpoint, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	next := fmt.Sprintf("%s~%d", path, os.Getpid())
	_ = os.Remove(next)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: next, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("takeover: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(next, 0o600); err == nil {
		err = os.Rename(next, path)
	}
	mine, statErr := os.Lstat(path)
	if err = errors.Join(err, statErr); err != nil {
		_ = l.Close()
		_ = os.Remove(next)
		return nil, fmt.Errorf("takeover: %w", err)
	}
	return &Endpoint{l: l, path: path, mine: mine}, nil
}

// checkPath returns an error for a path at which no process can listen.
func checkPath(path string) error {
	if longest := mostPath - len("~4194304"); len(path) > longest { // the name before the rename
		return fmt.Errorf("takeover: %s has %d bytes: want a path of %d at most", path, len(path), longest)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("takeover: %s exists and is not a socket: want another path", path)
	}
	return nil
}

// mostPath is the longest path of a Unix socket.
const mostPath = len(unix.RawSockaddrUnix{}.Path) - 1

// Accept returns the channel of the next process. Its error wraps net.ErrClosed after Close; other errors may pass.
func (e *Endpoint) Accept() (*Channel, error) {
	conn, err := e.l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return newChannel(conn)
}

// Pause makes Accept fail until Resume. Processes that connect wait for Resume, or for another process with the same listener.
func (e *Endpoint) Pause() { _ = e.l.SetDeadline(time.Unix(1, 0)) }

// Resume ends the effect of Pause.
func (e *Endpoint) Resume() { _ = e.l.SetDeadline(time.Time{}) }

// Control calls f with the descriptor of the listener, which stays valid during the call.
func (e *Endpoint) Control(f func(fd uintptr)) error {
	raw, err := e.l.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// Reachable reports whether the path leads to the listener: nobody has replaced or removed it.
func (e *Endpoint) Reachable() bool {
	now, err := os.Lstat(e.path)
	return err == nil && os.SameFile(now, e.mine)
}

// Own makes Close remove the path: the process that shared the listener has ended.
func (e *Endpoint) Own() { e.shared = false }

// Close stops listening. It removes the path, unless it belongs to another process by then.
func (e *Endpoint) Close() {
	_ = e.l.Close()
	if !e.shared && e.Reachable() {
		_ = os.Remove(e.path)
	}
}

// Leave is Close without the removal of the path, because another process listens there.
func (e *Endpoint) Leave() {
	e.shared = true
	e.Close()
}
