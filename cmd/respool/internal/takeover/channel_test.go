//go:build linux

package takeover

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

const patience = 20 * time.Second

// pair returns both ends of a channel at a path.
func pair(t *testing.T) (dialed, accepted *Channel, path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "respool") // the path of a Unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "s")
	e, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if dialed, err = Dial(path); err == nil {
		accepted, err = e.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		dialed.Close()
		accepted.Close()
		dialed.Discard()
		accepted.Discard()
		_ = os.RemoveAll(dir)
	})
	return dialed, accepted, path
}

func TestAClientArrivesWithItsSocket(t *testing.T) {
	a, b, path := pair(t)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want the mode 0600", info.Mode(), err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	snap := &gateway.Snapshot{Session: session.Snapshot{ID: 7, Addr: "10.0.0.1:5000", Topics: []session.Topic{{Name: "\xff\x00"}}},
		Input: []byte(strings.Repeat("\x00\xffx", gateway.MostMovedInput/3))}
	sent := make(chan error, 1)
	go func() {
		err := errors.Join(a.Send(Message{Kind: Places, Places: 3}), a.Send(Message{Kind: Move, Number: 9, Client: snap}, fds[0]), a.Send(Message{Kind: Done}))
		sent <- errors.Join(err, unix.Close(fds[0]))
	}()
	if m, files, err := b.Receive(patience); err != nil || m.Kind != Places || m.Places != 3 || len(files) != 0 {
		t.Fatalf("%v, %v, %v", m, files, err)
	}
	m, files, err := b.Receive(patience)
	if err != nil || m.Kind != Move || m.Number != 9 || len(files) != 1 || string(m.Client.Input) != string(snap.Input) ||
		m.Client.Session.ID != 7 || m.Client.Session.Topics[0].Name != "\xff\x00" {
		t.Fatalf("%v, %v, %v", m.Kind, files, err)
	}
	if m, _, err := b.Receive(patience); err != nil || m.Kind != Done {
		t.Fatalf("%v, %v", m.Kind, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(files[0], []byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 10)
	if n, err := unix.Read(fds[1], got); err != nil || string(got[:n]) != "hello" {
		t.Errorf("%q, %v", got[:n], err)
	}
	if flags, err := unix.FcntlInt(uintptr(files[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %d, %v: want close-on-exec", flags, err)
	}
	CloseFile(files[0])
}

func TestAMalformedMessageEndsTheChannel(t *testing.T) {
	header := func(size, files uint32) []byte {
		b := make([]byte, headerSize)
		binary.BigEndian.PutUint32(b, size)
		binary.BigEndian.PutUint32(b[4:], files)
		return b
	}
	kind, err := encode(&Message{Kind: Prepared + 1}, 0)
	if err != nil {
		t.Fatal(err)
	}
	bare, _ := encode(&Message{Kind: Move}, 0)
	claims, _ := encode(&Message{Kind: Move, Client: &gateway.Snapshot{}}, 1)
	done, _ := encode(&Message{Kind: Done}, 0)
	longer := append(header(uint32(len(done)-headerSize+1), 0), append(done[headerSize:], 0)...)
	for name, b := range map[string][]byte{
		"size": header(mostBytes+1, 0), "descriptors": header(1, mostFiles+1), "noise": append(header(4, 0), "\xff\xff\xff\xff"...),
		"empty": header(0, 0), "unknown kind": kind, "Move without a client": bare, "Move without a socket": claims, "rest": longer,
	} {
		t.Run(name, func(t *testing.T) {
			a, b2, _ := pair(t)
			if _, err := a.conn.Write(b); err != nil {
				t.Fatal(err)
			}
			if m, _, err := b2.Receive(patience); !errors.Is(err, errMalformed) {
				t.Errorf("%v, %v: want an error", m.Kind, err)
			}
		})
	}
}

func TestTheEndOfTheOtherProcessIsSeen(t *testing.T) {
	for _, part := range []int{0, 3, headerSize, headerSize + 5} {
		a, b, _ := pair(t)
		m, err := encode(&Message{Kind: Done}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.conn.Write(m[:part]); err != nil {
			t.Fatal(err)
		}
		a.Close()
		if _, _, err := b.Receive(patience); !errors.Is(err, io.EOF) {
			t.Errorf("after %d bytes: %v: want EOF", part, err)
		}
	}
}

func TestASilentProcessIsNotWaitedForLonger(t *testing.T) {
	_, b, _ := pair(t)
	if _, _, err := b.Receive(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v: want the end of the time", err)
	}
}

func TestOnlyTheSameUserMayTakeOver(t *testing.T) {
	for _, c := range []struct {
		peer uint32
		own  int
		ok   bool
	}{{1000, 1000, true}, {0, 1000, true}, {0, 0, true}, {1000, 0, false}, {1001, 1000, false}} {
		if err := trust(c.peer, c.own); (err == nil) != c.ok {
			t.Errorf("a process of user %d at one of %d: %v", c.peer, c.own, err)
		}
	}
}

func TestAPathWithoutAProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	if _, err := Dial(path); !errors.Is(err, ErrNobody) {
		t.Errorf("no file: %v", err)
	}
	e, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	e.Leave()
	if _, err := Dial(path); !errors.Is(err, ErrNobody) {
		t.Errorf("a socket without a process: %v", err)
	}
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	if c, err := Dial(path); err != nil {
		t.Errorf("the end of the first process removed the path of the second: %v", err)
	} else {
		c.Close()
	}
	if _, err := first.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v: want net.ErrClosed", err)
	}
	second.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path is there still: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("%v: want a refusal of a file", err)
	}
	if _, err := Dial(path); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("%v: want a refusal of a file", err)
	}
	long := filepath.Join(dir, strings.Repeat("x", mostPath))
	if _, err := Dial(long); err == nil || !strings.Contains(err.Error(), "want a path of 99 at most") {
		t.Errorf("%v: want a refusal of a long path", err)
	}
}

// A message that is too large is not sent, and the channel goes on.
func TestAMessageThatIsTooLarge(t *testing.T) {
	a, b, _ := pair(t)
	if err := a.Send(Message{Kind: Refusal, Text: strings.Repeat("x", mostBytes)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v: want ErrTooLarge", err)
	}
	if err := a.Send(Message{Kind: Done}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := b.Receive(patience); err != nil || m.Kind != Done {
		t.Errorf("%v, %v", m.Kind, err)
	}
}

// After a send that was cut short, no message follows: the other process could not read it.
func TestAProcessThatDoesNotReadEndsTheSends(t *testing.T) {
	a, b, _ := pair(t)
	a.SendBy(time.Now().Add(10 * time.Millisecond))
	if err := a.Send(Message{Kind: Refusal, Text: strings.Repeat("x", mostBytes-1000)}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v: want the end of the time", err)
	}
	a.SendBy(time.Time{})
	if err := a.Send(Message{Kind: Done}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v: want the same error", err)
	}
	a.Close()
	if _, _, err := b.Receive(patience); !errors.Is(err, io.EOF) {
		t.Errorf("%v: want EOF", err)
	}
}

// A process without free descriptors loses those of a message, and receives the later messages.
func TestDescriptorsMayBeLost(t *testing.T) {
	a, b, path := pair(t)
	f, err := os.Open(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	client := &gateway.Snapshot{Session: session.Snapshot{ID: 7}}
	for i := range 3 {
		if err := a.Send(Message{Kind: Move, Number: uint64(i), Client: client}, fd); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(i int) []int {
		m, files, err := b.Receive(patience)
		if err != nil || m.Number != uint64(i) || len(files) != 1 {
			t.Fatalf("%v, %v, %v: want message %d", m, files, err, i)
		}
		CloseFile(files[0])
		return files
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if files := receive(0); files[0] == NoFile {
		t.Error("a descriptor was lost")
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	files := receive(1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if files[0] != NoFile {
		t.Errorf("%v: want NoFile", files)
	}
	if files := receive(2); files[0] == NoFile {
		t.Error("a descriptor was lost")
	}
}

// Of processes that find nobody at a path at the same time, one gets it. It keeps the path until it ends.
func TestOneProcessClaimsAPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for range 20 {
		type claim struct {
			e   *Endpoint
			err error
		}
		claims := make(chan claim)
		const processes = 8
		for range processes {
			go func() {
				e, err := Claim(path)
				claims <- claim{e, err}
			}()
		}
		var got *Endpoint
		for range processes {
			switch c := <-claims; {
			case c.err == nil && got == nil:
				got = c.e
			case c.err == nil:
				t.Error("two processes have the path")
				c.e.Leave()
			case !errors.Is(c.err, ErrTaken):
				t.Error(c.err)
			}
		}
		got.Leave() // as a killed process: the path stays
	}
}

// The path leads to a listener that two processes share until both have ended.
func TestProcessesShareAnEndpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := Claim(path)
	if err != nil {
		t.Fatal(err)
	}
	var second *Endpoint
	if err := first.Control(func(fd uintptr) {
		copied, err := unix.Dup(int(fd))
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(copied), path)
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if second, err = Adopt(path, l); err != nil {
			t.Fatal(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	passes := func(from *Endpoint) {
		t.Helper()
		c, err := Dial(path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		other, err := from.Accept()
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
	}
	first.Pause()
	if _, err := first.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v: want the end of the time", err)
	}
	passes(second)
	second.Close() // the path belongs to the first process
	first.Resume()
	passes(first)
	first.Close()
	if _, err := Dial(path); !errors.Is(err, ErrNobody) {
		t.Errorf("%v: want nobody", err)
	}
	if first.Reachable() {
		t.Error("the path is there still")
	}
}

// Processes of this version may lack fields of each other's messages.
func TestMessagesWithOtherFields(t *testing.T) {
	type client struct {
		Session struct{ ID, Fresh int64 }
		Fresh   map[string]bool
	}
	type message struct {
		Kind   Kind
		Fresh  []struct{ Name string }
		Client *client
	}
	var b bytes.Buffer
	c := &client{Fresh: map[string]bool{"x": true}}
	c.Session.ID, c.Session.Fresh = 7, 8
	if err := gob.NewEncoder(&b).Encode(message{Kind: Move, Fresh: []struct{ Name string }{{"x"}}, Client: c}); err != nil {
		t.Fatal(err)
	}
	m, err := decode(b.Bytes(), 1)
	if err != nil || m.Kind != Move || m.Client.Session.ID != 7 || m.Client.OperatorOnly {
		t.Errorf("%+v, %v", m, err)
	}
	raw, err := encode(&Message{Kind: Move, Client: &gateway.Snapshot{Session: session.Snapshot{ID: 9}, OperatorOnly: true}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var old message
	if err := gob.NewDecoder(bytes.NewReader(raw[headerSize:])).Decode(&old); err != nil || old.Client.Session.ID != 9 {
		t.Errorf("%+v, %v", old, err)
	}
}
