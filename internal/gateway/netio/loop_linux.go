package netio

import (
	"cmp"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// loop reads the plain sockets of its clients, and the lanes that it drives, on one goroutine. In each round it reads
// every socket that has input. Requests of many clients reach the server in one write: the loop writes after each third
// of a round, so that the server works on that third while the loop reads the next one. Loops share no state. A loop may
// write to a lane that another loop drives; that loop then writes the replies to the clients.
//
// The loop waits for its epoll descriptor in the runtime's poller, and so holds no thread. Before it waits it polls
// several times: under load input arrives within microseconds, and a wakeup costs more.
type loop struct {
	number int // from 1 on
	ep     int
	file   *os.File // ep, as the runtime's poller knows it
	raw    syscall.RawConn
	wake   int // an eventfd
	done   chan struct{}
	polls  bool // poll before a wait: other goroutines still have a processor
	buf    []byte
	evs    []unix.EpollEvent
	batch  FlushBatch

	driving map[*lane.Lane]struct{} // lanes that Drive was called for; only the loop uses it
	tidyAt  int

	mu      sync.Mutex
	links   map[int32]*socketLink // by descriptor
	lanes   map[int32]*lane.Lane  // those read here
	todo    []*socketLink         // links to resume or to close
	dropped []*lane.Lane          // lanes to release
	woken   bool
	ending  bool
	over    bool // the loop reads no more
}

const (
	loopRead   = 64 << 10 // bytes of one read
	loopEvents = 64       // most sockets of one round: replies wait while the loop reads the others
	loopParts  = 3        // writes of one round
	leastPart  = 16       // least number of sockets before a write
	loopPolls  = 25       // polls before the loop sleeps
)

// loopFor returns the loop for a new client: the one with the fewest clients. It starts the loops, once. It returns nil
// if the server is closing.
func (s *Server) loopFor() (*loop, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, nil
	}
	for len(s.loops) < s.loopCount {
		l, err := newLoop(len(s.loops) + 1)
		if err != nil {
			return nil, err
		}
		s.loops = append(s.loops, l)
		s.servers.Go(l.run)
	}
	return slices.MinFunc(s.loops, func(a, b *loop) int { return cmp.Compare(a.size(), b.size()) }), nil
}

// size returns the number of clients.
func (l *loop) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.links)
}

func newLoop(number int) (*loop, error) {
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
	l := &loop{number: number, ep: ep, wake: wake, done: make(chan struct{}), polls: runtime.GOMAXPROCS(0) > 1, buf: make([]byte, loopRead),
		evs: make([]unix.EpollEvent, loopEvents), links: map[int32]*socketLink{}, lanes: map[int32]*lane.Lane{},
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
	return l, nil
}

// stop ends the loop and waits for it. All its clients have left before.
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

// flush writes the commands and replies of the requests that were read.
func (l *loop) flush() {
	for _, x := range l.batch.lanes {
		l.drive(x)
	}
	l.batch.Flush()
}

// end releases the lanes and closes the descriptors.
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

// drive requests that the loop may read a lane.
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

// firstTidy is the least number of lanes before the loop looks for dead ones.
const firstTidy = 64

// Take starts to read a lane. It is part of lane.Driver.
func (l *loop) Take(x *lane.Lane, fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}) != nil {
		go x.Release() // on a goroutine without an owner: the gateway may have ended
		return
	}
	l.lanes[int32(fd)] = x
}

// Number is part of lane.Driver.
func (l *loop) Number() int { return l.number }

// Drop notes a dead lane. It is part of lane.Driver.
func (l *loop) Drop(x *lane.Lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = append(l.dropped, x)
	l.wakeLocked()
}

// wait waits for events and returns how many there are.
func (l *loop) wait() int {
	n := 0
	if l.polls {
		for range loopPolls {
			if n = l.poll(); n > 0 {
				return n
			}
		}
	}
	err := l.raw.Read(func(uintptr) bool {
		n = l.poll()
		return n > 0
	})
	if err != nil {
		return 0
	}
	return n
}

func (l *loop) poll() int {
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
		p.out.Close()
	case ev.Events&unix.EPOLLIN != 0 && p.reading():
		p.read(&l.batch)
	case ev.Events&unix.EPOLLRDHUP != 0:
		p.hangUp()
	}
}

// doTodo resumes and closes the links that asked for it. It reports whether the loop must end.
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
		p.do(&l.batch)
	}
	return ending
}

// release stops reading a dead lane and releases it.
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

// submit makes the loop call p.do.
func (l *loop) submit(p *socketLink) {
	l.mu.Lock()
	l.todo = append(l.todo, p)
	l.wakeLocked()
	l.mu.Unlock()
}

func (l *loop) wakeLocked() {
	if l.woken || l.over {
		return // the number of a closed eventfd may belong to another file
	}
	l.woken = true
	one := [8]byte{1}
	_, _ = unix.Write(l.wake, one[:])
}
