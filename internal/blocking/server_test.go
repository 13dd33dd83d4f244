package blocking

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// testConn is one connection: raw commands, raw replies.
type testConn struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func connect(t *testing.T, srv *redistest.Server, setup ...string) *testConn {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &testConn{t, conn, bufio.NewReader(conn)}
	for _, line := range setup {
		if reply := c.ask(words(line)); resp.ErrorIn(reply) != nil {
			t.Fatalf("%s: %q", line, reply)
		}
	}
	return c
}

func words(line string) (args [][]byte) {
	for _, w := range strings.Fields(line) {
		args = append(args, []byte(w))
	}
	return args
}

func (c *testConn) send(args [][]byte) {
	b := resp.AppendArrayHeader(nil, len(args))
	for _, a := range args {
		b = resp.AppendBulk(b, a)
	}
	if _, err := c.conn.Write(b); err != nil {
		c.t.Error(err)
	}
}

func (c *testConn) receive() []byte {
	_ = c.conn.SetReadDeadline(time.Now().Add(testkit.Patience))
	var s resp.Scanner
	var frame []byte
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			c.t.Errorf("read after %q: %v", frame, err)
			return nil
		}
		frame = append(frame, b)
		if _, done, err := s.Scan([]byte{b}); err != nil {
			c.t.Errorf("read %q: %v", frame, err)
			return nil
		} else if done {
			return frame
		}
	}
}

func (c *testConn) ask(args [][]byte) []byte {
	c.send(args)
	return c.receive()
}

// connSender sends attempts on one connection, in order, from one goroutine.
type connSender struct {
	work chan *Attempt
	done sync.WaitGroup
}

func newConnSender(t *testing.T, c *testConn) *connSender {
	s := &connSender{work: make(chan *Attempt, 4096)}
	s.done.Go(func() {
		for a := range s.work {
			a.Done(Outcome{Reply: c.ask(a.Args)})
		}
	})
	t.Cleanup(func() { close(s.work); s.done.Wait() })
	return s
}

func (s *connSender) Send(a *Attempt) { s.work <- a }

// recorder watches nothing. The test reports changes itself.
type recorder struct {
	mu      sync.Mutex
	watched map[string]int
}

func (r *recorder) Watch(keys []string, s Subscriber) {
	r.mu.Lock()
	for _, k := range keys {
		r.watched[k]++
	}
	r.mu.Unlock()
	s.Changed(keys...)
}

func (r *recorder) Unwatch(keys []string, _ Subscriber) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if r.watched[k]--; r.watched[k] == 0 {
			delete(r.watched, k)
		}
	}
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.watched)
}

// story is one comparison with the server: data before the command, the command, and what happens while it waits.
type story struct {
	before  []string
	command string
	later   []string // while the command waits; empty and instant false: until the timeout
	since   func(v redistest.Version) bool
}

func since(major, minor int) func(redistest.Version) bool {
	return func(v redistest.Version) bool { return v.Since(major, minor) }
}

func redis74(v redistest.Version) bool { return v.Redis(7, 4) }

var stories = []story{
	// Data before the command.
	{before: []string{"RPUSH a x y z"}, command: "BLPOP a 0"},
	{before: []string{"RPUSH a x y z"}, command: "blpop a 0.01"},
	{before: []string{"RPUSH a x y z"}, command: "BRPOP a 0"},
	{before: []string{"RPUSH b x y z"}, command: "BLPOP a b c 0"},
	{before: []string{"RPUSH b x y z", "RPUSH c 1"}, command: "BRPOP a b c 0"},
	{before: []string{"RPUSH b x y z"}, command: "BLPOP a a b b 0"},
	{before: []string{"RPUSH a x y z"}, command: "BLMOVE a b LEFT right 0"},
	{before: []string{"RPUSH a x y z"}, command: "BLMOVE a a LEFT LEFT 0"},
	{before: []string{"RPUSH a x y z"}, command: "BRPOPLPUSH a b 0"},
	{before: []string{"RPUSH a x y z"}, command: "BLMPOP 0 1 a LEFT", since: since(7, 0)},
	{before: []string{"RPUSH b x y z"}, command: "BLMPOP 0 2 a b RIGHT COUNT 2", since: since(7, 0)},
	{before: []string{"RPUSH b x y z"}, command: "BLMPOP 0 2 a b RIGHT COUNT 1", since: since(7, 0)},
	{before: []string{"ZADD a 1 x 2.5 y"}, command: "BZPOPMIN a 0"},
	{before: []string{"ZADD a 1 x 2.5 y"}, command: "BZPOPMAX a 0"},
	{before: []string{"ZADD b -inf x inf y"}, command: "BZPOPMAX a b 0"},
	{before: []string{"ZADD b -inf x 0.1 y"}, command: "BZPOPMIN a b 0"},
	{before: []string{"ZADD b 3 x 0.1 y"}, command: "BZMPOP 0 2 a b MIN", since: since(7, 0)},
	{before: []string{"ZADD b 3 x 0.1 y"}, command: "BZMPOP 0 1 b MAX COUNT 7", since: since(7, 0)},
	{before: []string{"XADD s 1-1 f v"}, command: "XREAD BLOCK 0 STREAMS s 0"},
	{before: []string{"XADD s 1-1 f v", "XADD s 1-2 f v", "XADD r 1-1 g w"}, command: "XREAD COUNT 1 BLOCK 0 STREAMS s r 0-0 0"},
	{before: []string{"XADD s 1-1 f v", "XADD s 1-2 f w"}, command: "XREAD BLOCK 0 STREAMS s +", since: redis74},
	{before: []string{"XADD s 1-1 f v", "XGROUP CREATE s g 0"}, command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"},
	{before: []string{"XADD s 1-1 f v", "XGROUP CREATE s g 0"}, command: "XREADGROUP GROUP g c COUNT 5 BLOCK 0 NOACK STREAMS s >"},
	{before: []string{"XADD s 1-1 f v", "XGROUP CREATE s g 0"}, command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s 0"},
	{before: []string{"XADD s 1-1 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g c STREAMS s >", "XDEL s 1-1"}, command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s 0"},

	// Errors at once.
	{before: []string{"SET a x"}, command: "BLPOP a 0"},
	{before: []string{"SET b x"}, command: "BLPOP a b 0"},
	{before: []string{"SET a x", "RPUSH b y"}, command: "BRPOP a b 0"},
	{before: []string{"SET a x"}, command: "BLMOVE a b LEFT LEFT 0"},
	{before: []string{"RPUSH a x", "SET b x"}, command: "BLMOVE a b LEFT LEFT 0"},
	{before: []string{"RPUSH a x", "SET b x"}, command: "BRPOPLPUSH a b 0"},
	{before: []string{"SET a x"}, command: "BLMPOP 0 2 a b LEFT", since: since(7, 0)},
	{before: []string{"SET a x"}, command: "BZPOPMIN a 0"},
	{before: []string{"RPUSH b x"}, command: "BZPOPMAX a b 0"},
	{before: []string{"SET b x"}, command: "BZMPOP 0 2 a b MIN", since: since(7, 0)},
	{before: []string{"SET s x"}, command: "XREAD BLOCK 0 STREAMS s 0"},
	{before: []string{"SET s x"}, command: "XREAD BLOCK 0 STREAMS s $"},
	{command: "XREAD BLOCK 0 STREAMS s bad"},
	{command: "XREAD COUNT x BLOCK 0 STREAMS s 0"},
	{before: []string{"SET s x"}, command: "XREAD BLOCK 0 STREAMS r s bad 0"},
	{command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"},
	{before: []string{"XADD s 1-1 f v"}, command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"},
	{before: []string{"XADD s 1-1 f v", "XGROUP CREATE s g 0"}, command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s $"},

	// Data while the command waits.
	{command: "BLPOP a 0", later: []string{"RPUSH a x y"}},
	{command: "BRPOP a 20", later: []string{"RPUSH a x y"}},
	{command: "BLPOP a b c 0", later: []string{"RPUSH c x y"}},
	{command: "BRPOP a b c 0", later: []string{"LPUSH a x y"}},
	{command: "BLMPOP 0 2 a b LEFT COUNT 2", later: []string{"RPUSH b x y z"}, since: since(7, 0)},
	{command: "BLMOVE a b LEFT RIGHT 0", later: []string{"RPUSH a x y"}},
	{command: "BRPOPLPUSH a b 0", later: []string{"RPUSH a x y"}},
	{command: "BZPOPMIN a b 0", later: []string{"ZADD b 1.25 x 2 y"}},
	{command: "BZPOPMAX a 0", later: []string{"ZADD a 1e300 x 2 y"}},
	{command: "BZMPOP 0 2 a b MIN COUNT 2", later: []string{"ZADD b 1.25 x 2 y 3 z"}, since: since(7, 0)},
	{command: "XREAD BLOCK 0 STREAMS s $", later: []string{"XADD s 1-1 f v"}},
	{command: "XREAD BLOCK 0 STREAMS s +", later: []string{"XADD s 1-1 f v"}, since: redis74},
	{before: []string{"XADD s 5-5 f v"}, command: "XREAD BLOCK 0 STREAMS s $", later: []string{"XADD s 5-6 f w"}},
	{before: []string{"XADD s 5-5 f v", "XADD s 5-6 f v", "XDEL s 5-6"}, command: "XREAD BLOCK 0 STREAMS s $", later: []string{"XADD s 5-7 f w"}},
	{before: []string{"XADD s 5-5 f v", "XTRIM s MAXLEN 0"}, command: "XREAD COUNT 3 BLOCK 0 STREAMS r s $ $", later: []string{"XADD s 5-6 f w"}},
	{before: []string{"XGROUP CREATE s g $ MKSTREAM"}, command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", later: []string{"XADD s 1-1 f v"}},
	{
		before:  []string{"XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATE r g $ MKSTREAM"},
		command: "XREADGROUP GROUP g c COUNT 2 BLOCK 0 STREAMS r s > >", later: []string{"XADD s 1-1 f v"},
	},

	// A key of another type while the command waits.
	{command: "BLPOP a 0", later: []string{"SET a x", "DEL a", "RPUSH a x"}},
	{command: "BLMOVE a b LEFT LEFT 0", later: []string{"SET a x", "DEL a", "RPUSH a x"}},
	{command: "BLMOVE a b LEFT LEFT 0", later: []string{"SET b x", "RPUSH a x"}},
	{command: "BZPOPMIN a b 0", later: []string{"RPUSH a x", "DEL a", "ZADD b 1 x"}},
	{command: "XREAD BLOCK 0 STREAMS s $", later: []string{"SET s x", "DEL s", "XADD s 1-1 f v"}},
	{command: "BLPOP a b 0", later: []string{"SET a x", "RPUSH b x y"}},
	{command: "BLPOP a b c 0", later: []string{"SET b x", "RPUSH c x"}},
	{command: "BRPOP a b 0", later: []string{"SET b x", "RPUSH a x y"}},
	{command: "BLPOP a b 0", later: []string{"SET a x", "DEL a", "RPUSH b x"}},
	{command: "BLMPOP 0 2 a b LEFT COUNT 2", later: []string{"SET a x", "RPUSH b x y"}, since: since(7, 0)},
	{command: "BZPOPMAX a b 0", later: []string{"RPUSH a x", "ZADD b 1 x 2 y"}},
	{command: "BZPOPMIN b a 0", later: []string{"RPUSH a x", "ZADD b 1 x 2 y"}},
	{command: "BZMPOP 0 2 a b MIN", later: []string{"SET a x", "ZADD b 1 x"}, since: since(7, 0)},
	{command: "XREAD BLOCK 0 STREAMS s r $ $", later: []string{"SET s x", "XADD r 1-1 f v"}},
	{command: "XREAD BLOCK 0 STREAMS s r $ $", later: []string{"SET r x", "XADD s 1-1 f v"}},
	{
		before: []string{"XGROUP CREATE s g $ MKSTREAM"}, since: since(7, 2),
		command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", later: []string{"XGROUP DESTROY s g"},
	},
	{
		before: []string{"XGROUP CREATE s g $ MKSTREAM"}, since: since(7, 2),
		command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", later: []string{"DEL s"},
	},
	{
		before: []string{"XGROUP CREATE s g $ MKSTREAM"}, since: since(7, 2),
		command: "XREADGROUP GROUP g c BLOCK 0 STREAMS s >", later: []string{"SET s x"},
	},

	// The timeout.
	{command: "BLPOP a b 0.01"},
	{command: "BRPOP a 0.005"},
	{command: "BLMPOP 0.01 1 a LEFT", since: since(7, 0)},
	{command: "BLMOVE a b LEFT LEFT 0.01"},
	{command: "BRPOPLPUSH a b 0.01"},
	{command: "BZPOPMIN a 0.01"},
	{command: "BZPOPMAX a b 0.01"},
	{command: "BZMPOP 0.01 1 a MIN", since: since(7, 0)},
	{command: "XREAD BLOCK 5 STREAMS s $"},
	{before: []string{"XADD s 1-1 f v"}, command: "XREAD BLOCK 5 STREAMS s 1-1"},
	{before: []string{"XGROUP CREATE s g $ MKSTREAM"}, command: "XREADGROUP GROUP g c BLOCK 5 STREAMS s >"},
}

// The package replies to each blocking command exactly as the server does, and leaves the same data behind.
func TestRepliesAreThoseOfTheServer(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	for proto := 2; proto <= 3; proto++ {
		hello := fmt.Sprintf("HELLO %d", proto)
		direct, lane, control := connect(t, srv, hello), connect(t, srv, hello), connect(t, srv)
		sender := newConnSender(t, lane)
		for _, st := range stories {
			if st.since != nil && !st.since(srv.Version()) {
				continue
			}
			name := fmt.Sprintf("%s;%s;%s in RESP%d", strings.Join(st.before, ","), st.command, strings.Join(st.later, ","), proto)
			t.Run(name, func(t *testing.T) {
				prepare(control, st)
				direct.send(words(st.command))
				if len(st.later) > 0 {
					testkit.Eventually(t, "the client is blocked", func() bool { return srv.Info("clients")["blocked_clients"] == "1" })
					play(control, st.later)
				}
				want := string(direct.receive())
				wantData := data(control)

				prepare(control, st)
				got := tell(t, control, sender, st, proto == 3, srv.Version().Since(7, 2))
				if got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
				if gotData := data(control); gotData != wantData {
					t.Errorf("the keys hold %q: want %q", gotData, wantData)
				}
			})
		}
	}
}

func prepare(c *testConn, st story) {
	c.ask(words("FLUSHALL"))
	play(c, st.before)
}

func play(c *testConn, lines []string) {
	for _, line := range lines {
		if reply := c.ask(words(line)); resp.ErrorIn(reply) != nil {
			c.t.Errorf("%s: %q", line, reply)
		}
	}
}

func data(c *testConn) string {
	var b strings.Builder
	for _, line := range []string{
		"LRANGE a 0 -1", "LRANGE b 0 -1", "LRANGE c 0 -1", "ZRANGE a 0 -1 WITHSCORES", "ZRANGE b 0 -1 WITHSCORES",
		"XRANGE s - +", "XRANGE r - +", "XPENDING s g", "DBSIZE",
	} {
		b.Write(c.ask(words(line)))
	}
	return b.String()
}

// tell plays a story with the package.
func tell(t *testing.T, control *testConn, sender *connSender, st story, resp3, reexecutes bool) string {
	form, ok := Parse(words(st.command))
	if !ok {
		t.Fatalf("Parse does not accept %s", st.command)
	}
	watch := &recorder{watched: map[string]int{}}
	waits := New(Config{Sender: sender, Watcher: watch, Reexecutes: func() bool { return reexecutes }})
	done := make(chan Result, 1)
	if _, err := waits.Start(Request{Form: form, Identity: resp3, RESP3: resp3}, func(r Result) { done <- r }); err != nil {
		t.Fatal(err)
	}
	for _, line := range st.later {
		testkit.Eventually(t, "the command waits", func() bool {
			s := waits.Stats()
			return s.Waiting == 1 && s.InFlight == 0 && watch.count() == s.Keys
		})
		play(control, []string{line})
		for _, key := range form.Keys() {
			waits.Changed(string(key))
		}
	}
	r := <-done
	if err := waits.Close(context.Background()); err != nil || r.Err != nil {
		t.Errorf("the wait ended with %v, Close with %v", r.Err, err)
	}
	if n := watch.count(); n != 0 {
		t.Errorf("%d keys are still watched", n)
	}
	return string(r.Reply)
}

// heldSender keeps the replies of a connection until release.
type heldSender struct {
	conn *testConn
	hold chan struct{}
	done sync.WaitGroup
}

func (s *heldSender) Send(a *Attempt) {
	s.done.Go(func() {
		if a.Return {
			a.Done(Outcome{Reply: s.conn.ask(a.Args)})
			return
		}
		reply := s.conn.ask(a.Args)
		<-s.hold
		a.Done(Outcome{Reply: reply})
	})
}

// Elements that nobody can take any longer are back where they were.
func TestElementsGoBackToTheServer(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	for proto := 2; proto <= 3; proto++ {
		for _, st := range []story{
			{before: []string{"RPUSH a x y z"}, command: "BLPOP a 0"},
			{before: []string{"RPUSH a x y z"}, command: "BRPOP a 0"},
			{before: []string{"RPUSH a x y z"}, command: "BLMPOP 0 1 a LEFT COUNT 2", since: since(7, 0)},
			{before: []string{"RPUSH a x y z"}, command: "BLMPOP 0 1 a RIGHT COUNT 2", since: since(7, 0)},
			{before: []string{"ZADD a -inf x 0.1 y 1e300 z"}, command: "BZPOPMIN a 0"},
			{before: []string{"ZADD a -inf x 0.1 y inf z"}, command: "BZPOPMAX a 0"},
			{before: []string{"ZADD a -inf x 0.1 y 12345678901234567 z"}, command: "BZMPOP 0 1 a MAX COUNT 3", since: since(7, 0)},
		} {
			if st.since != nil && !st.since(srv.Version()) {
				continue
			}
			control := connect(t, srv)
			prepare(control, st)
			want := data(control)
			sender := &heldSender{conn: connect(t, srv, fmt.Sprintf("HELLO %d", proto)), hold: make(chan struct{})}
			waits := New(Config{Sender: sender, Watcher: noWatcher{}})
			form, _ := Parse(words(st.command))
			w, err := waits.Start(Request{Form: form, Identity: 0, RESP3: proto == 3}, func(Result) {})
			if err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the server has executed the attempt", func() bool { return data(control) != want })
			w.Abandon(nil)
			close(sender.hold)
			closeWaits(t, waits)
			sender.done.Wait()
			if got := data(control); got != want {
				t.Errorf("%s in RESP%d: the keys hold %q: want %q", st.command, proto, got, want)
			}
		}
	}
}
