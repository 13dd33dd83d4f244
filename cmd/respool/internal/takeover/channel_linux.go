package takeover

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Channel is the connection of two processes. One goroutine at a time may receive; any goroutine may send.
type Channel struct {
	conn *net.UnixConn

	sending sync.Mutex
	failed  error // of the first send that failed

	scratch []byte // of one read
	rights  []byte
	buf     []byte // received, but not returned
	files   []int  // NoFile for those that were lost
}

// NoFile stands for a descriptor that this process could not receive, because it has too many open files.
const NoFile = -1

// ErrNobody is the error of Dial if no process listens at the path.
var ErrNobody = errors.New("takeover: no process listens at this path")

// Dial connects to the process that listens at a path. It returns ErrNobody if there is none. The caller must close the channel.
func Dial(path string) (*Channel, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("takeover: %w", err)
	}
	return newChannel(conn)
}

// newChannel checks the user of the other process.
func newChannel(conn *net.UnixConn) (*Channel, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var peer *unix.Ucred
	cerr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(cerr, err); err == nil {
		err = trust(peer.Uid, os.Getuid())
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("takeover: %w", err)
	}
	return &Channel{conn: conn}, nil
}

// trust returns an error if a process of a user must not exchange clients with this one.
func trust(peer uint32, own int) error {
	if peer != 0 && int(peer) != own {
		return fmt.Errorf("the other process belongs to the user %d: want %d or root", peer, own)
	}
	return nil
}

// Send sends a message with descriptors, which stay open here. It blocks while the other process does not read. After an error
// other than ErrTooLarge the channel is of no use.
func (c *Channel) Send(m Message, files ...int) error {
	b, err := encode(&m, len(files))
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.failed != nil {
		return c.failed
	}
	n, _, err := c.conn.WriteMsgUnix(b, rights, nil)
	for err == nil && n < len(b) {
		var more int
		more, err = c.conn.Write(b[n:])
		n += more
	}
	if err != nil {
		c.failed = fmt.Errorf("takeover: send %v: %w", m.Kind, err)
	}
	return c.failed
}

// SendBy limits the time of all sends, those in progress too.
func (c *Channel) SendBy(at time.Time) { _ = c.conn.SetWriteDeadline(at) }

// Receive returns the next message with its descriptors, which the caller must close. One of them is NoFile if it was lost. It waits for at most a time; 0: without a
// limit. After an error the channel is of no use. The error is io.EOF if the other process has closed the channel or ended.
func (c *Channel) Receive(within time.Duration) (m Message, files []int, err error) {
	by := time.Time{}
	if within > 0 {
		by = time.Now().Add(within)
	}
	_ = c.conn.SetReadDeadline(by)
	if err := c.fill(headerSize); err != nil {
		return m, nil, err
	}
	size, n, err := sizes(c.buf)
	if err != nil {
		return m, nil, err
	}
	if err := c.fill(headerSize + size); err != nil {
		return m, nil, err
	}
	if len(c.files) < n && slices.Contains(c.files, NoFile) {
		return m, nil, errFiles
	}
	if len(c.files) < n {
		return m, nil, errMalformed
	}
	if m, err = decode(c.buf[headerSize:headerSize+size], n); err != nil {
		return m, nil, err
	}
	c.buf = c.buf[headerSize+size:]
	files, c.files = c.files[:n:n], c.files[n:]
	return m, files, nil
}

// fill reads until there are n bytes.
func (c *Channel) fill(n int) error {
	for len(c.buf) < n {
		if c.scratch == nil {
			c.scratch, c.rights = make([]byte, 64<<10), make([]byte, unix.CmsgSpace(mostFiles*4))
		}
		b, rights := c.scratch, c.rights
		got, gotRights, flags, _, err := c.conn.ReadMsgUnix(b, rights)
		if err := c.takeRights(rights[:gotRights]); err != nil {
			return err
		}
		if err != nil {
			return unwrapEOF(err)
		}
		if flags&unix.MSG_CTRUNC != 0 {
			c.files = append(c.files, NoFile)
		}
		if len(c.files) > 2*mostFiles {
			return errMalformed
		}
		c.buf = append(c.buf, b[:got]...)
	}
	return nil
}

func (c *Channel) takeRights(rights []byte) error {
	if len(rights) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return errMalformed
	}
	for i := range messages {
		files, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return errMalformed
		}
		c.files = append(c.files, files...)
	}
	return nil
}

// CloseFile closes a descriptor that Receive returned.
func CloseFile(fd int) {
	if fd != NoFile {
		_ = unix.Close(fd)
	}
}

// Close closes the channel and the descriptors that were not returned. It ends a Receive and a Send in progress.
func (c *Channel) Close() { _ = c.conn.Close() }

// Discard closes the descriptors that Receive has not returned. No Receive may be in progress.
func (c *Channel) Discard() {
	for _, fd := range c.files {
		CloseFile(fd)
	}
	c.files = nil
}
