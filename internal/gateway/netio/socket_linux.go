package netio

import (
	"cmp"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketLink is a client whose socket a loop reads. It stays on that loop.
type socketLink struct {
	loop   *loop
	c      Client
	out    *Output
	socket int

	mu       sync.Mutex // taken under Output.mu
	interest uint32     // events that epoll reports
	resumes  bool       // resume was called
	listed   bool       // the link is in loop.todo
	closing  bool       // the link reads and writes no more
	closed   bool       // the number of the socket may belong to another one
	ended    bool       // the client sends no more
	departs  bool       // depart was called
	opened   bool       // the loop has begun to read the socket
	detached bool       // the loop does not read the socket
	left     bool       // another process has the connection
}

// serveSocket serves a TCP or unix socket on a loop. It reports false for all other connections.
func (s *Server) serveSocket(conn net.Conn, at net.Addr) bool {
	var raw syscall.RawConn
	var err error
	switch conn := conn.(type) {
	case *net.TCPConn:
		raw, err = conn.SyscallConn()
	case *net.UnixConn:
		raw, err = conn.SyscallConn()
	default:
		return false
	}
	if err != nil {
		return false
	}
	l, err := s.loopFor()
	if l == nil || err != nil {
		return false
	}
	// The loop needs a separate descriptor: otherwise each request would wake the runtime's poller too.
	socket := -1
	cerr := raw.Control(func(fd uintptr) {
		socket, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if cerr != nil || err != nil {
		return false
	}
	addr, localAddr := addresses(conn, at)
	p := &socketLink{loop: l, socket: socket, interest: unix.EPOLLIN | unix.EPOLLRDHUP}
	c, reply := s.host.Admit(p, l.number, addr, localAddr)
	if c == nil {
		_ = unix.Close(socket)
		refuse(conn, reply)
		return true
	}
	_ = conn.Close()
	if p.open() != nil {
		p.out.Close()
	}
	return true
}

func (p *socketLink) serve(c Client, out *Output) { p.c, p.out = c, out }

// open makes the loop read the socket, unless the client and its socket have been closed.
func (p *socketLink) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.detached {
		return nil
	}
	l := p.loop
	l.mu.Lock()
	l.links[int32(p.socket)] = p
	l.mu.Unlock()
	p.opened = true
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, p.socket, &unix.EpollEvent{Events: p.interest, Fd: int32(p.socket)})
}

func (p *socketLink) descriptor() int { return p.socket }

// read reads once and passes the input to the client.
func (p *socketLink) read(f *FlushBatch) {
	buf := p.c.Room(p.loop.buf)
	for {
		n, err := unix.Read(p.socket, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil:
			p.out.Close()
			return
		case n == 0:
			p.end()
			return
		}
		if !p.c.Input(buf[:n], f) {
			p.change(unix.EPOLLRDHUP, unix.EPOLLIN)
		}
		return
	}
}

// hangUp handles the end of the client's input while there may be unread bytes before it: the loop reads those once the
// client takes more.
func (p *socketLink) hangUp() {
	p.change(0, unix.EPOLLRDHUP)
	p.c.HangUp()
}

// end handles the end of the input: the loop has read all of it.
func (p *socketLink) end() {
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if !ended {
		p.change(0, unix.EPOLLIN|unix.EPOLLRDHUP)
		p.c.Ended()
	}
}

func (p *socketLink) reading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.interest&unix.EPOLLIN != 0
}

// change adds to and drops from the events that epoll reports.
func (p *socketLink) change(add, drop uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.interest&^drop | add
	if p.ended {
		next &^= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if p.closed || next == p.interest {
		return
	}
	p.interest = next
	if p.detached {
		return // attach applies it
	}
	_ = unix.EpollCtl(p.loop.ep, unix.EPOLL_CTL_MOD, p.socket, &unix.EpollEvent{Events: next, Fd: int32(p.socket)})
}

func (p *socketLink) write(b []byte) (int, error) {
	// The caller holds Output.mu, and close is called under it too: the socket is open.
	for {
		n, err := unix.Write(p.socket, b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}

func (p *socketLink) await() { p.change(unix.EPOLLOUT, 0) }

func (p *socketLink) writable() {
	p.change(0, unix.EPOLLOUT)
	p.out.writable()
}

func (p *socketLink) resume() {
	p.mu.Lock()
	p.resumes = true
	p.listLocked()
	p.mu.Unlock()
}

// close is called under Output.mu, so no write is in progress and none follows. The loop closes the socket: only the
// loop knows that it does not read it.
func (p *socketLink) close() {
	p.mu.Lock()
	p.closing = true
	p.listLocked()
	p.mu.Unlock()
}

func (p *socketLink) listLocked() {
	if p.listed || p.closed {
		return
	}
	p.listed = true
	p.loop.submit(p)
}

// do closes or resumes the link. The loop calls it.
func (p *socketLink) do(f *FlushBatch) {
	p.mu.Lock()
	p.listed = false
	resumes, departs, closing := p.resumes, p.departs, p.closing && !p.closed
	p.resumes, p.departs = false, false
	p.closed = p.closed || closing
	p.mu.Unlock()
	switch {
	case closing:
		p.shut()
	case resumes:
		if p.c.Resume(f) {
			p.change(unix.EPOLLIN|unix.EPOLLRDHUP, 0)
		}
	}
	if departs && !closing {
		p.c.Depart()
	}
}

func (p *socketLink) shut() {
	l := p.loop
	l.mu.Lock()
	delete(l.links, int32(p.socket))
	l.mu.Unlock()
	p.mu.Lock()
	detached, left := p.detached, p.left
	p.mu.Unlock()
	switch {
	case left: // the other process reads the socket
	case detached:
		_ = unix.Shutdown(p.socket, unix.SHUT_RDWR) // the other process may have the socket already
	default:
		p.discard()
	}
	_ = unix.Close(p.socket)
	p.c.Left()
}

func (p *socketLink) depart() {
	p.mu.Lock()
	p.departs = true
	p.listLocked()
	p.mu.Unlock()
}

// detach removes the socket from the loop's epoll: a descriptor in another process would keep it there.
func (p *socketLink) detach() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detached = true
	if p.opened && !p.closed {
		_ = unix.EpollCtl(p.loop.ep, unix.EPOLL_CTL_DEL, p.socket, nil)
	}
}

func (p *socketLink) attach() {
	p.mu.Lock()
	p.detached = false
	p.mu.Unlock()
	if p.open() != nil {
		p.close() // the caller holds Output.mu
	}
}

func (p *socketLink) leave() {
	p.mu.Lock()
	p.left = true
	p.mu.Unlock()
}

// Adopt serves a socket that another process has served. It owns the descriptor, except after an error. admit makes the client.
// The caller must call start, which begins to read.
func (s *Server) Adopt(socket int, admit func(l Link, loop int) (Client, error)) (start func(), err error) {
	l, err := s.loopFor()
	if l == nil || err != nil {
		return nil, cmp.Or(err, ErrClosed)
	}
	p := &socketLink{loop: l, socket: socket, interest: unix.EPOLLIN | unix.EPOLLRDHUP}
	if _, err := admit(p, l.number); err != nil {
		return nil, err
	}
	return func() {
		if p.open() != nil {
			p.out.Close()
		}
	}, nil
}

// discard reads and drops input: if a socket is closed with unread input, the kernel drops the last replies too.
func (p *socketLink) discard() {
	for range discards {
		if n, err := unix.Read(p.socket, p.loop.buf); n <= 0 && err != unix.EINTR {
			return
		}
	}
}

// discards bounds the reads of discard, for a client that sends without end.
const discards = 16
