//go:build unix

package wire

import (
	"io"
	"syscall"
)

// trier reads and writes a socket without blocking.
type trier struct {
	read, write tryHalf
	descriptor  int
}

// tryHalf is one direction. It creates its function values once, so that a call does not allocate.
type tryHalf struct {
	run  func(func(fd uintptr) bool) error // Read or Write of the raw connection
	call func(fd int, b []byte) (int, error)
	fn   func(fd uintptr) bool
	buf  []byte
	n    int
	err  error
}

func newTrier(raw syscall.RawConn) *trier {
	t := &trier{read: tryHalf{run: raw.Read, call: syscall.Read}, write: tryHalf{run: raw.Write, call: syscall.Write}}
	t.read.fn, t.write.fn = t.read.once, t.write.once
	t.descriptor = -1
	_ = raw.Control(func(fd uintptr) { t.descriptor = int(fd) })
	return t
}

// once returns true, so that the raw connection does not call it again after a partial operation.
func (h *tryHalf) once(fd uintptr) bool {
	for {
		n, err := h.call(int(fd), h.buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			h.n, h.err = 0, nil
		case err != nil:
			h.n, h.err = 0, err
		default:
			h.n, h.err = n, nil
			if n == 0 && len(h.buf) > 0 {
				h.err = io.EOF
			}
		}
		return true
	}
}

func (h *tryHalf) do(b []byte) (int, error) {
	h.buf = b
	err := h.run(h.fn)
	h.buf = nil
	if err != nil {
		return 0, err
	}
	return h.n, h.err
}

func (t *trier) tryRead(b []byte) (int, error)  { return t.read.do(b) }
func (t *trier) tryWrite(b []byte) (int, error) { return t.write.do(b) }
