//go:build unix

package wire

import "syscall"

// tryWriter writes to a socket without ever waiting for it. Its function
// value is made once, so that a write allocates nothing.
type tryWriter struct {
	raw syscall.RawConn
	fn  func(fd uintptr) bool
	buf []byte
	n   int
	err error
}

func newTryWriter(raw syscall.RawConn) *tryWriter {
	w := &tryWriter{raw: raw}
	w.fn = w.once
	return w
}

func (w *tryWriter) once(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			w.n, w.err = 0, nil
		case err != nil:
			w.n, w.err = 0, err
		default:
			w.n, w.err = n, nil
		}
		return true
	}
}

func (w *tryWriter) write(b []byte) (int, error) {
	w.buf = b
	err := w.raw.Write(w.fn)
	w.buf = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}
