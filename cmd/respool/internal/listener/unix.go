package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// listenUnix listens at a path. The socket has its mode from the first moment: it gets the mode
// under another name, and is then renamed. A socket that a killed process left behind is replaced.
// unlink removes the path unless it belongs to another socket by then.
func listenUnix(path string, mode fs.FileMode) (l net.Listener, unlink func(), err error) {
	if err := checkVacant(path); err != nil {
		return nil, nil, err
	}
	next := path + "~"
	if err := checkVacant(next); err != nil {
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
	unlink, statErr := unlinker(path)
	if err = errors.Join(err, statErr); err != nil {
		_ = u.Close()
		_ = os.Remove(next)
		return nil, nil, err
	}
	return namedListener{u, path}, unlink, nil
}

// adoptUnix is listenUnix with a listener at the path that another process has opened.
func adoptUnix(inner net.Listener, path string, mode fs.FileMode) (l net.Listener, unlink func(), err error) {
	u, ok := inner.(*net.UnixListener)
	if !ok {
		return nil, nil, fmt.Errorf("the other process passed a socket of the network %s: want unix", inner.Addr().Network())
	}
	u.SetUnlinkOnClose(false)
	if err := os.Chmod(path, mode); err != nil {
		return nil, nil, err
	}
	if unlink, err = unlinker(path); err != nil {
		return nil, nil, err
	}
	return namedListener{u, path}, unlink, nil
}

// unlinker returns a function that removes the socket at a path, unless it belongs to another one by then.
func unlinker(path string) (unlink func(), err error) {
	mine, err := os.Lstat(path)
	return func() {
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, mine) {
			_ = os.Remove(path)
		}
	}, err
}

// checkVacant checks that there is nothing at a path, or only a socket without a listener.
func checkVacant(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket: want another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check for another listener: %w", err)
	}
	_ = conn.Close()
	return fmt.Errorf("another process already listens at %s", path)
}

// namedListener reports the path that clients use.
type namedListener struct {
	*net.UnixListener
	path string
}

func (l namedListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }
