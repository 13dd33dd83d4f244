package gateway

import (
	"maps"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// loop reads the plain sockets of all clients on one goroutine, those that have something in a round.
// Requests of many clients reach the server in one write: a third of a round, so that the server works on it
// while the next one is read.
//
// It waits in the runtime's own poller, for its epoll descriptor, and so holds no thread. Before that it looks
// some times more: under load there is something within microseconds, and to be woken costs more.
type loop struct {
	g     *Gateway
	ep    int
	file  *os.File // ep, as the runtime's poller knows it
	raw   syscall.RawConn
	wake  int // an eventfd
	done  chan struct{}
	looks bool // other goroutines have a processor meanwhile
	buf   []byte
	evs   []unix.EpollEvent
	r     round

	driving map[*lane.Lane]struct{} // lanes that were asked to be read here; the loop's own
	tidyAt  int

	mu      sync.Mutex
	links   map[int32]*plainLink // by descriptor
	lanes   map[int32]*lane.Lane // those read here
	todo    []*plainLink         // to resume or to close
	dropped []*lane.Lane         // to be released
	woken   bool
	ending  bool
	over    bool // nothing is read here any more
}

const (
	loopRead   = 64 << 10 // bytes of one read
	loopEvents = 64       // sockets of one round: replies to the ones before have waited for them
	loopParts  = 3        // of a round that are written by themselves
	leastPart  = 16       // sockets of a part
	loopLooks  = 25       // before the loop sleeps
)

// startLoop makes the loop, once.
func (g *Gateway) startLoop() (*loop, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.loop != nil || g.closing {
		return g.loop, nil
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(ep)
		return nil, os.NewSyscallError("eventfd", err)
	}
	_ = unix.SetNonblock(ep, true) // makes os.NewFile hand it to the poller
	l := &loop{g: g, ep: ep, wake: wake, done: make(chan struct{}), looks: runtime.GOMAXPROCS(0) > 1, buf: make([]byte, loopRead),
		evs: make([]unix.EpollEvent, loopEvents), links: map[int32]*plainLink{}, lanes: map[int32]*lane.Lane{},
		driving: map[*lane.Lane]struct{}{}}
	l.file = os.NewFile(uintptr(ep), "epoll")
	if l.raw, err = l.file.SyscallConn(); err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)})
	}
	if err != nil {
		_ = l.file.Close()
		_ = unix.Close(wake)
		return nil, err
	}
	g.loop = l
	g.servers.Go(l.run)
	return l, nil
}

// stop ends the loop, whose clients have left.
func (l *loop) stop() {
	l.mu.Lock()
	l.ending = true
	l.wakeLocked()
	l.mu.Unlock()
	<-l.done
}

func (l *loop) run() {
	defer l.end()
	for {
		n := l.wait()
		part := max(leastPart, n/loopParts)
		for i := range n {
			if l.handle(&l.evs[i]); (i+1)%part == 0 {
				l.flush()
			}
		}
		if l.doTodo() {
			return
		}
		l.flush()
	}
}

// flush writes what was posted and answered.
func (l *loop) flush() {
	for _, x := range l.r.lanes {
		l.drive(x)
	}
	l.r.flush()
}

// end gives back what the loop has.
func (l *loop) end() {
	l.mu.Lock()
	l.over = true
	lanes := l.lanes
	l.lanes = nil
	l.mu.Unlock()
	for fd, x := range lanes {
		_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, int(fd), nil)
		x.Release()
	}
	_ = l.file.Close()
	_ = unix.Close(l.wake)
	close(l.done)
}

// drive has a lane read here from now on.
func (l *loop) drive(x *lane.Lane) {
	if _, ok := l.driving[x]; ok {
		return
	}
	if len(l.driving) >= l.tidyAt {
		maps.DeleteFunc(l.driving, func(x *lane.Lane, _ struct{}) bool { return x.Depth() < 0 })
		l.tidyAt = 2*len(l.driving) + firstTidy
	}
	l.driving[x] = struct{}{}
	x.Drive(l)
}

// firstTidy is the least number of lanes, dead ones among them, to be gone over.
const firstTidy = 64

// Take is part of lane.Driver.
func (l *loop) Take(x *lane.Lane, fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}) != nil {
		go x.Release() // by itself: the gateway may have ended
		return
	}
	l.lanes[int32(fd)] = x
}

// Drop is part of lane.Driver.
func (l *loop) Drop(x *lane.Lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = append(l.dropped, x)
	l.wakeLocked()
}

// wait gives the number of sockets that have something.
func (l *loop) wait() int {
	n := 0
	if l.looks {
		for range loopLooks {
			if n = l.look(); n > 0 {
				return n
			}
		}
	}
	err := l.raw.Read(func(uintptr) bool {
		n = l.look()
		return n > 0
	})
	if err != nil {
		return 0
	}
	return n
}

func (l *loop) look() int {
	n, err := unix.EpollWait(l.ep, l.evs, 0)
	if err != nil {
		return 0 // interrupted
	}
	return n
}

func (l *loop) handle(ev *unix.EpollEvent) {
	if ev.Fd == int32(l.wake) {
		var b [8]byte
		_, _ = unix.Read(l.wake, b[:])
		l.mu.Lock()
		l.woken = false
		l.mu.Unlock()
		return
	}
	l.mu.Lock()
	p, x := l.links[ev.Fd], l.lanes[ev.Fd]
	l.mu.Unlock()
	if x != nil {
		x.Ready()
		return
	}
	if p == nil {
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		p.writable()
	}
	switch {
	case ev.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		p.c.out.close()
	case ev.Events&unix.EPOLLIN != 0 && p.reading():
		p.read(&l.r)
	case ev.Events&unix.EPOLLRDHUP != 0:
		p.hangUp()
	}
}

// doTodo resumes and closes those who asked for it, and reports whether the loop is to end.
func (l *loop) doTodo() (ending bool) {
	l.mu.Lock()
	todo, dropped := l.todo, l.dropped
	l.todo, l.dropped = nil, nil
	ending = l.ending
	l.mu.Unlock()
	for _, x := range dropped {
		l.release(x)
	}
	for _, p := range todo {
		p.do(&l.r)
	}
	return ending
}

// release gives up a lane that is dead.
func (l *loop) release(x *lane.Lane) {
	delete(l.driving, x)
	fd := x.Conn().Descriptor()
	l.mu.Lock()
	if l.lanes[int32(fd)] == x {
		delete(l.lanes, int32(fd))
		_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, fd, nil)
	}
	l.mu.Unlock()
	x.Release()
}

// submit has p looked at by the loop.
func (l *loop) submit(p *plainLink) {
	l.mu.Lock()
	l.todo = append(l.todo, p)
	l.wakeLocked()
	l.mu.Unlock()
}

func (l *loop) wakeLocked() {
	if l.woken || l.over {
		return // once it is over the eventfd's number may be another's
	}
	l.woken = true
	one := [8]byte{1}
	_, _ = unix.Write(l.wake, one[:])
}

// plainLink is a socket of the loop's.
type plainLink struct {
	loop   *loop
	c      *client
	socket int

	mu       sync.Mutex // taken under output.mu
	interest uint32
	resumes  bool // resume was called
	listed   bool // it is in todo
	closing  bool // no more is read or written
	closed   bool // socket is another's by now
	ended    bool // the client sends no more
}

// greetPlain serves TCP and unix sockets; others are not for the loop.
func (g *Gateway) greetPlain(conn net.Conn, at net.Addr) bool {
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
	l, err := g.startLoop()
	if l == nil || err != nil {
		return false
	}
	// The runtime's poller would be woken for each request too: the loop has a
	// descriptor of its own.
	socket := -1
	cerr := raw.Control(func(fd uintptr) {
		socket, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if cerr != nil || err != nil {
		return false
	}
	addr, laddr := addresses(conn, at)
	p := &plainLink{loop: l, socket: socket, interest: unix.EPOLLIN | unix.EPOLLRDHUP}
	c, reply := g.admit(p, addr, laddr, hostOf(addr))
	if c == nil {
		_ = unix.Close(socket)
		refuse(conn, reply)
		return true
	}
	_ = conn.Close()
	if p.open() != nil {
		c.out.close()
	}
	return true
}

func (p *plainLink) serve(c *client) { p.c = c }

// open has the loop read the socket, unless the client was closed meanwhile and the socket with it.
func (p *plainLink) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	l := p.loop
	l.mu.Lock()
	l.links[int32(p.socket)] = p
	l.mu.Unlock()
	return unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, p.socket, &unix.EpollEvent{Events: p.interest, Fd: int32(p.socket)})
}

func (p *plainLink) fd() int { return p.socket }

// read takes what there is.
func (p *plainLink) read(r *round) {
	buf := p.c.room(p.loop.buf)
	for {
		n, err := unix.Read(p.socket, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil:
			p.c.out.close()
			return
		case n == 0:
			p.end()
			return
		}
		if !p.c.input(buf[:n], r) {
			p.change(unix.EPOLLRDHUP, unix.EPOLLIN)
		}
		return
	}
}

// hangUp takes note of the end of what the client sends, while there may be more to read before it: once the
// client takes more, that is read up to the end.
func (p *plainLink) hangUp() {
	p.change(0, unix.EPOLLRDHUP)
	p.c.hangUp()
}

// end takes the end of what the client sends.
func (p *plainLink) end() {
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if !ended {
		p.change(0, unix.EPOLLIN|unix.EPOLLRDHUP)
		p.c.ended()
	}
}

func (p *plainLink) reading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.interest&unix.EPOLLIN != 0
}

// change adds to and takes from what the loop waits for.
func (p *plainLink) change(add, drop uint32) {
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
	_ = unix.EpollCtl(p.loop.ep, unix.EPOLL_CTL_MOD, p.socket, &unix.EpollEvent{Events: next, Fd: int32(p.socket)})
}

func (p *plainLink) write(b []byte) (int, error) {
	// Its caller holds output.mu, under which closing is set.
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

func (p *plainLink) await() { p.change(unix.EPOLLOUT, 0) }

func (p *plainLink) writable() {
	p.change(0, unix.EPOLLOUT)
	p.c.out.writable()
}

func (p *plainLink) resume() {
	p.mu.Lock()
	p.resumes = true
	p.listLocked()
	p.mu.Unlock()
}

// close is called under output.mu: nobody writes at that time or afterwards. The loop closes
// the socket, since nobody else knows that it is not reading.
func (p *plainLink) close() {
	p.mu.Lock()
	p.closing = true
	p.listLocked()
	p.mu.Unlock()
}

func (p *plainLink) listLocked() {
	if p.listed || p.closed {
		return
	}
	p.listed = true
	p.loop.submit(p)
}

// do does what was asked for, on the loop.
func (p *plainLink) do(r *round) {
	p.mu.Lock()
	p.listed = false
	resumes, closing := p.resumes, p.closing && !p.closed
	p.resumes = false
	p.closed = p.closed || closing
	p.mu.Unlock()
	switch {
	case closing:
		p.shut()
	case resumes:
		if p.c.resume(r) {
			p.change(unix.EPOLLIN|unix.EPOLLRDHUP, 0)
		}
	}
}

func (p *plainLink) shut() {
	l := p.loop
	l.mu.Lock()
	delete(l.links, int32(p.socket))
	l.mu.Unlock()
	p.discard()
	_ = unix.Close(p.socket)
	p.c.left()
}

// discard reads what nobody takes any more: the kernel would throw away the last replies too if
// the socket were closed with something unread.
func (p *plainLink) discard() {
	for range discards {
		if n, err := unix.Read(p.socket, p.loop.buf); n <= 0 && err != unix.EINTR {
			return
		}
	}
}

// discards bounds how long the loop is held up by one who sends on and on.
const discards = 16
