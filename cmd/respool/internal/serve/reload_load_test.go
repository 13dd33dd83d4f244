package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// load is the clients of a gateway during reloads. Each client checks each of its replies.
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

// startLoad starts 50 clients.
func startLoad(t *testing.T, addr string) *load {
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
	ready := make(chan struct{}, 4)
	for i := range 4 {
		l.run(fmt.Sprint("subscriber ", i), func(c *loadClient) error { return l.listen(c, ready) })
	}
	for range 4 {
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
	return errors.Join(c.send("PUBLISH news end"), c.want(":1"))
}

// Each setting of the connections changes under load: no client sees an error, no reply is lost or doubled, and the server
// never counts more connections than the limit.
func TestReloadsUnderLoad(t *testing.T) {
	s := redistest.Start(t, redistest.Config{TLS: true, Users: []string{"app on >one >two ~* &* +@all", "other on >three ~* &* +@all"}})
	plain, other := "redis://app:one@"+s.PlainAddr()+"?max_connections=8", tooltest.File(t, "ca.pem", "")
	ca, err := os.ReadFile(s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	url := plain
	file := tooltest.File(t, "respool.yaml", "url: '"+url+"'\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")
	count := s.WatchClients()
	r := served(t, &Flags{Config: file})
	l := startLoad(t, r.at(t, 1))
	l.advance()
	reload := func(next string, want ...string) {
		t.Helper()
		tooltest.Rewrite(t, file, url, next)
		before := strings.Count(r.log.String(), "configuration is active")
		for i, line := range want {
			if i == 0 {
				r.reload(t, line)
				continue
			}
			r.log.Until(t, line, 1)
		}
		r.log.Until(t, "configuration is active", before+1)
		url = next
		l.advance()
	}
	reload(strings.Replace(plain, "=8", "=4", 1), "msg=changed option=MaxConnections from=8 to=4")
	testkit.Eventually(t, "the server counts 4 connections at most", func() bool { return s.ClientCount() <= 4 })
	few := s.WatchClients()
	l.advance()
	if peak := few.Stop(); peak > 4 {
		t.Errorf("%d connections with max_connections=4", peak)
	}
	reload(plain, "msg=changed option=MaxConnections from=4 to=8")
	reload(plain+"&lanes=1", "msg=changed option=Lanes from=4 to=1")
	reload(plain, "msg=changed option=Lanes from=1 to=4")
	reload(strings.Replace(plain, "one", "two", 1), "msg=changed option=Password from=(hidden) to=(hidden)")
	reload(strings.Replace(plain, "app:one", "other:three", 1), "msg=changed option=Username from=app to=other")
	testkit.Eventually(t, "the lanes belong to the other user", func() bool { return strings.Contains(s.Do("CLIENT", "LIST", "TYPE", "NORMAL"), " user=other ") })

	// What does not work changes nothing.
	for _, wrong := range []string{"redis://other:three@127.0.0.1:1?max_connections=8", strings.Replace(plain, "one", "wrong", 1)} {
		tooltest.Rewrite(t, file, url, wrong)
		r.reload(t, "the new configuration is invalid; the old one stays")
		tooltest.Rewrite(t, file, wrong, url)
		l.advance()
	}
	if text := r.log.String(); !strings.Contains(text, "connection refused") || !strings.Contains(text, "refused the username or password") {
		t.Error(text)
	}

	// From here on the server has another address, so the subscriptions move as at a failover.
	l.mu.Lock()
	l.gaps = true
	l.mu.Unlock()
	secure := "rediss://app:one@" + s.Addr() + "?max_connections=8&ssl_ca_certs="
	reload(secure+s.CAFile(), "msg=changed option=Addr from="+s.PlainAddr()+" to="+s.Addr(), `msg=changed option=TLS from=off to="on, TLS 1.2 or later"`)
	reload(secure+other, "msg=changed option=TLSFiles ")
	tooltest.Rewrite(t, file, url, url+"&db=3&client_name=x")
	r.reload(t, "option=DB kept=0 configured=3")
	r.log.Until(t, "option=ClientName kept=", 1)
	l.advance()
	l.end()
	if peak := count.Stop(); peak > 8 {
		t.Errorf("%d connections with max_connections=8", peak)
	}
	if text := r.log.String(); strings.Contains(text, "three") || strings.Contains(text, ":one@") {
		t.Error("the log shows a password")
	}
}

// After a change of the address, all commands go to the new server. Blocked and subscribed clients move, and a client with
// WATCH executes nothing.
func TestANewAddressIsLikeAFailover(t *testing.T) {
	old, fresh := redistest.Start(t, redistest.Config{}), redistest.Start(t, redistest.Config{})
	file := tooltest.File(t, "respool.yaml", "url: "+old.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")
	r := served(t, &Flags{Config: file})
	dial := func() *tooltest.Client { return tooltest.Dial(t, "tcp", r.at(t, 1)) }
	watching, blocked, subscribed, plain := dial(), dial(), dial(), dial()
	watching.Do("+OK", "WATCH", "k")
	blocked.Send("BLPOP", "jobs", "0")
	subscribed.Do("*3", "SUBSCRIBE", "news")
	for _, part := range []string{"$9", "subscribe", "$4", "news", ":1"} {
		if line, err := subscribed.Reader.ReadString('\n'); err != nil || strings.TrimSpace(line) != part {
			t.Fatalf("%q, %v: want %s", line, err, part)
		}
	}
	plain.Do("+OK", "SET", "k", "old")
	testkit.Eventually(t, "one client is blocked", func() bool { return r.gateway.Stats().Blocked == 1 })
	tooltest.Rewrite(t, file, old.URL(), fresh.URL())
	r.reload(t, "configuration is active")
	plain.Do("$-1", "GET", "k")
	plain.Do("+OK", "SET", "k", "fresh")
	if got := fresh.Do("GET", "k"); got != "fresh" {
		t.Error(got)
	}
	watching.Do("+OK", "MULTI")
	watching.Send("SET", "k", "watched")
	watching.Send("EXEC")
	if line, err := watching.Reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+QUEUED") {
		t.Errorf("%q, %v", line, err)
	}
	if line, err := watching.Reader.ReadString('\n'); err != nil || line != "*-1\r\n" {
		t.Errorf("EXEC: %q, %v", line, err)
	}
	if got := fresh.Do("GET", "k"); got != "fresh" {
		t.Error(got)
	}
	fresh.Do("RPUSH", "jobs", "a")
	if line, err := blocked.Reader.ReadString('\n'); err != nil || line != "*2\r\n" {
		t.Errorf("BLPOP: %q, %v", line, err)
	}
	testkit.Eventually(t, "the subscription is made again", func() bool { return fresh.Do("PUBLISH", "news", "x") == "1" })
	old.WaitClients(t, 0, tooltest.Patience)
}
