package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// load is the clients of a gateway during reloads and takeovers. Each client checks each of its replies.
type load struct {
	t      *testing.T
	addr   string
	ops    atomic.Int64 // commands replied, messages received
	failed chan error   // of the first client that failed
	stop   chan struct{}
	wg     sync.WaitGroup

	mu     sync.Mutex
	popped map[string]int
	pushed int
	gaps   bool // messages may be lost: the subscriptions move to another server
}

// startLoad starts 46 clients, and subscribers.
func startLoad(t *testing.T, addr string, subscribers int) *load {
	l := &load{t: t, addr: addr, failed: make(chan error, 1), stop: make(chan struct{}), popped: map[string]int{}}
	for i := range 30 {
		l.run(fmt.Sprint("writer ", i), func(c *loadClient) error { return c.write(fmt.Sprint("w", i)) })
	}
	for i := range 10 {
		l.run(fmt.Sprint("pipeline ", i), func(c *loadClient) error { return c.pipeline(fmt.Sprint("p", i)) })
	}
	for i := range 4 {
		l.run(fmt.Sprint("worker ", i), l.pop)
	}
	ready := make(chan struct{}, subscribers)
	for i := range subscribers {
		l.run(fmt.Sprint("subscriber ", i), func(c *loadClient) error { return l.listen(c, ready) })
	}
	for range subscribers {
		<-ready
	}
	l.run("pusher", l.push)
	l.run("publisher", l.publish)
	return l
}

// run runs a client until stop, or until its first error.
func (l *load) run(name string, serve func(c *loadClient) error) {
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.wg.Go(func() {
		defer conn.Close()
		if err := serve(&loadClient{load: l, conn: conn, r: bufio.NewReader(conn)}); err != nil {
			select {
			case l.failed <- fmt.Errorf("%s: %w", name, err):
			default:
			}
		}
	})
}

// advance waits until the clients have done more commands.
func (l *load) advance() {
	l.t.Helper()
	until := l.ops.Load() + 500
	testkit.Eventually(l.t, "the clients go on", func() bool {
		l.t.Helper()
		select {
		case err := <-l.failed:
			l.t.Fatal(err)
		default:
		}
		return l.ops.Load() >= until
	})
}

// end stops the clients, and checks that each element was popped once.
func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
	select {
	case err := <-l.failed:
		l.t.Error(err)
	default:
	}
	for n := range l.pushed {
		if l.popped[fmt.Sprint(n)] != 1 {
			l.t.Errorf("element %d of %d was popped %d times", n, l.pushed, l.popped[fmt.Sprint(n)])
		}
	}
}

func (l *load) over() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// loadClient is one client.
type loadClient struct {
	*load
	conn net.Conn
	r    *bufio.Reader
}

// send sends commands, whose words are separated by spaces.
func (c *loadClient) send(lines ...string) error {
	_, err := io.WriteString(c.conn, strings.Join(lines, "\r\n")+"\r\n")
	return err
}

// reply returns a reply as text.
func (c *loadClient) reply() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	n, _ := strconv.Atoi(line[1:])
	switch {
	case line[0] == '-':
		return "", errors.New(line)
	case line[0] == '$' && n >= 0:
		body := make([]byte, n+2)
		_, err := io.ReadFull(c.r, body)
		return string(body[:n]), err
	case line[0] == '*' && n >= 0:
		parts := make([]string, n)
		for i := range parts {
			if parts[i], err = c.reply(); err != nil {
				return "", err
			}
		}
		return strings.Join(parts, " "), nil
	}
	return line, nil
}

func (c *loadClient) want(want string) error {
	got, err := c.reply()
	if err == nil && got != want {
		err = fmt.Errorf("reply %q: want %q", got, want)
	}
	c.ops.Add(1)
	return err
}

// write counts, and reads what it has written.
func (c *loadClient) write(key string) error {
	for n := 1; !c.over(); n++ {
		if err := errors.Join(c.send("INCR "+key), c.want(fmt.Sprint(":", n)), c.send(fmt.Sprint("SET ", key, ":v ", n)), c.want("+OK"), c.send("GET "+key+":v"), c.want(fmt.Sprint(n))); err != nil {
			return err
		}
	}
	return nil
}

// pipeline counts with several commands in flight.
func (c *loadClient) pipeline(key string) error {
	const depth = 8
	for n := 1; !c.over(); n += depth {
		if err := c.send(strings.Split(strings.Repeat("INCR "+key+"\n", depth-1)+"INCR "+key, "\n")...); err != nil {
			return err
		}
		for i := range depth {
			if err := c.want(fmt.Sprint(":", n+i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// pop takes elements until one says that there are no more.
func (l *load) pop(c *loadClient) error {
	for {
		if err := c.send("BLPOP jobs 0"); err != nil {
			return err
		}
		got, err := c.reply()
		if err != nil {
			return err
		}
		_, element, _ := strings.Cut(got, " ")
		if element == "end" {
			return nil
		}
		l.ops.Add(1)
		l.mu.Lock()
		l.popped[element]++
		l.mu.Unlock()
	}
}

func (l *load) push(c *loadClient) error {
	for ; !l.over(); l.pushed++ {
		err := c.send(fmt.Sprint("RPUSH jobs ", l.pushed))
		if err == nil {
			_, err = c.reply()
		}
		if err != nil {
			return err
		}
		l.ops.Add(1)
	}
	if err := c.send("RPUSH jobs end end end end"); err != nil {
		return err
	}
	_, err := c.reply()
	return err
}

// listen checks that messages come in order, and that none is lost.
func (l *load) listen(c *loadClient, ready chan<- struct{}) error {
	if err := errors.Join(c.send("SUBSCRIBE news"), c.want("subscribe news :1")); err != nil {
		return err
	}
	ready <- struct{}{}
	for last := 0; ; l.ops.Add(1) {
		got, err := c.reply()
		if err != nil {
			return err
		}
		text := strings.TrimPrefix(got, "message news ")
		if text == "end" {
			return nil
		}
		n, err := strconv.Atoi(text)
		l.mu.Lock()
		gaps := l.gaps
		l.mu.Unlock()
		if err != nil || n <= last || n > last+1 && !gaps {
			return fmt.Errorf("message %q after %d", got, last)
		}
		last = n
	}
}

func (l *load) publish(c *loadClient) error {
	for n := 1; !l.over(); n++ {
		err := c.send(fmt.Sprint("PUBLISH news ", n))
		if err == nil {
			_, err = c.reply()
		}
		if err != nil {
			return err
		}
	}
	if err := c.send("PUBLISH news end"); err != nil {
		return err
	}
	_, err := c.reply() // in a cluster it counts the subscribers of one node
	return err
}

// allowGaps allows that subscribers miss messages from now on.
func (l *load) allowGaps() {
	l.mu.Lock()
	l.gaps = true
	l.mu.Unlock()
}
