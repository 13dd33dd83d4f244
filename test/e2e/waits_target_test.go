package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// rawConn is a connection without a client: commands in, frames out.
type rawConn struct {
	conn net.Conn
	buf  []byte
}

// dialRaw connects to host:port, with a protocol.
func dialRaw(t *testing.T, addr string, protocol int) *rawConn {
	t.Helper()
	return openRaw(t, func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }, protocol)
}

func openRaw(t *testing.T, dial func(context.Context) (net.Conn, error), protocol int) *rawConn {
	t.Helper()
	conn, err := dial(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &rawConn{conn: conn}
	if reply := c.ask("HELLO", fmt.Sprint(protocol)); resp.ErrorIn([]byte(reply)) != nil {
		t.Fatalf("HELLO: %q", reply)
	}
	return c
}

func appendCommand(dst []byte, args []string) []byte {
	dst = resp.AppendArrayHeader(dst, len(args))
	for _, a := range args {
		dst = resp.AppendBulkString(dst, a)
	}
	return dst
}

// receive returns the next frame, or the error in its place.
func (c *rawConn) receive() string { return c.receiveBy(time.Now().Add(3 * patience)) }

// receiveBy is receive with a deadline.
func (c *rawConn) receiveBy(deadline time.Time) string {
	_ = c.conn.SetReadDeadline(deadline)
	for {
		if n, err := resp.FrameLen(c.buf); err == nil {
			frame := string(c.buf[:n])
			c.buf = slices.Delete(c.buf, 0, n)
			return frame
		} else if !errors.Is(err, io.ErrUnexpectedEOF) {
			return "broken reply: " + err.Error()
		}
		chunk := make([]byte, 4096)
		n, err := c.conn.Read(chunk)
		if err != nil {
			return "no reply: " + err.Error()
		}
		c.buf = append(c.buf, chunk[:n]...)
	}
}

// all sends commands in one write and returns their replies.
func (c *rawConn) all(lines [][]string) []string {
	var out []byte
	for _, args := range lines {
		out = appendCommand(out, args)
	}
	if _, err := c.conn.Write(out); err != nil {
		return []string{"not sent: " + err.Error()}
	}
	replies := make([]string, len(lines))
	for i := range replies {
		replies[i] = c.receive()
	}
	return replies
}

func (c *rawConn) ask(args ...string) string { return c.all([][]string{args})[0] }

// blockedClients is the number of clients that the server itself blocks.
func (c *rawConn) blockedClients() int { return c.info("clients", "blocked_clients") }

// info returns a number in the reply to INFO; -1 if it is not there.
func (c *rawConn) info(section, field string) int {
	_, after, _ := strings.Cut(c.ask("INFO", section), "\n"+field+":")
	text, _, _ := strings.Cut(after, "\r\n")
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// target runs blocking commands: a server, or respool in front of one.
type target interface {
	// start starts the i-th command of a round, and calls done with its reply.
	start(i int, args []string, done func(reply string))
	// blocked is how many of them wait; -1: unknown for now.
	blocked() int
}

// rawTarget runs each command of a round on a connection of its own. count reports how many wait there.
type rawTarget struct {
	conns []*rawConn
	count func() int
}

func newRawTarget(t *testing.T, dial func() *rawConn, count func() int) *rawTarget {
	r := &rawTarget{count: count}
	for range roundConns {
		r.conns = append(r.conns, dial())
	}
	return r
}

func (r *rawTarget) start(i int, args []string, done func(string)) {
	c := r.conns[i]
	if _, err := c.conn.Write(appendCommand(nil, args)); err != nil {
		done("not sent: " + err.Error())
		return
	}
	go func() { done(c.receive()) }()
}

func (r *rawTarget) blocked() int { return r.count() }

// clientTarget runs commands with a client. Those that need a dedicated connection wait on its server, if any do.
type clientTarget struct {
	c      *respool.Client
	server func() int
}

func (r *clientTarget) start(_ int, args []string, done func(string)) {
	all := make([]any, len(args))
	for i, a := range args {
		all[i] = a
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
		defer cancel()
		frame, err := r.c.Engine().Do(ctx, all) // what Client.Do returns as a Reply
		if err != nil {
			frame = []byte("no reply: " + err.Error())
		}
		done(string(frame))
	}()
}

func (r *clientTarget) blocked() int {
	st := r.c.Stats()
	waits := r.c.Engine().Stats().Blocking.Waits
	switch {
	case waits.InFlight > 0:
		return -1
	case st.Dedicated > 0 || st.Dialing > 0:
		return waits.Waiting + r.server()
	}
	return waits.Waiting
}

// pair is a server that clients use directly, and an equal one behind respool. They receive the same commands at the
// same time.
type pair struct {
	t        *testing.T
	version  redistest.Version
	controls [2]*rawConn
	targets  [2]target
	watched  func() int // keys that clients of the second server watch
	events   [2]chan event
	ended    [2][]string // the replies of a round; empty: it waits
	started  int
	log      []string
	limit    time.Duration // of a wait for the same state on both
}

type event struct {
	i     int
	reply string
}

// settleLimit is less than the time after which respool looks at keys without a notification.
const settleLimit = 6 * time.Second

// busyFactor is how many limits a wait for the same state takes at most.
const busyFactor = 10

func newPair(t *testing.T, servers [2]*redistest.Server, targets [2]target, controls [2]*rawConn, watched func() int) *pair {
	p := &pair{t: t, version: servers[0].Version(), targets: targets, controls: controls, watched: watched, limit: settleLimit}
	for i := range p.events {
		p.events[i] = make(chan event, 1024)
	}
	return p
}

// fail reports a difference with the commands of the round.
func (p *pair) fail(format string, args ...any) bool {
	p.t.Errorf("%s\nafter\n%s", fmt.Sprintf(format, args...), strings.Join(p.log, "\n"))
	return false
}

// begin starts a round without data.
func (p *pair) begin() bool {
	p.started, p.log = 0, nil
	p.ended = [2][]string{}
	return p.change([][]string{{"FLUSHALL"}})
}

// change runs commands on both servers.
func (p *pair) change(lines [][]string) bool {
	for _, args := range lines {
		p.log = append(p.log, fmt.Sprintf("  %q", args))
	}
	direct, via := p.controls[0].all(lines), p.controls[1].all(lines)
	for i := range direct {
		if direct[i] != via[i] {
			return p.fail("%q returns %q directly, %q on the other server", lines[i], direct[i], via[i])
		}
	}
	return true
}

// start starts a blocking command on both.
func (p *pair) start(args []string) {
	i := p.started
	p.started++
	p.log = append(p.log, fmt.Sprintf("%d %q", i, args))
	for side, to := range p.targets {
		p.ended[side] = append(p.ended[side], "")
		to.start(i, args, func(reply string) { p.events[side] <- event{i, reply} })
	}
}

// collect takes the replies that have arrived and returns how many commands have ended.
func (p *pair) collect(side int) (n int) {
	for {
		select {
		case e := <-p.events[side]:
			p.ended[side][e.i] = e.reply
			continue
		default:
		}
		for _, reply := range p.ended[side] {
			if reply != "" {
				n++
			}
		}
		return n
	}
}

// settle waits until the rest of the commands wait on both sides, and compares the replies.
func (p *pair) settle() bool {
	want := p.settleSide(0, -1)
	got := p.settleSide(1, want)
	if want < 0 || got != want {
		return p.fail("the replies differ:%s\ncommands that wait or have ended:", p.differences())
	}
	return p.equal()
}

// settleSide waits until all commands of one side have ended or wait, and returns how many have ended: want, unless
// that is negative. Its limit starts again with each attempt in flight, which on a busy machine may take longer.
func (p *pair) settleSide(side, want int) int {
	began := time.Now()
	quiet := began // no attempt is in flight since then
	for n := 0; ; n++ {
		ended := p.collect(side)
		blocked := p.targets[side].blocked() // after ended, so that no command counts twice
		if blocked >= 0 && blocked+ended == p.started && (want < 0 || ended == want) {
			return ended
		}
		if blocked < 0 {
			quiet = time.Now()
		}
		if time.Since(quiet) > p.limit || time.Since(began) > busyFactor*p.limit || want >= 0 && ended > want {
			p.log = append(p.log, fmt.Sprintf("%s: %d wait, %d have ended, of %d", [2]string{"direct", "respool"}[side], blocked, ended, p.started))
			return -1
		}
		if n > 20 {
			time.Sleep(time.Duration(min(n, 500)) * time.Microsecond)
		} else {
			runtime.Gosched()
		}
	}
}

// equal compares the replies so far.
func (p *pair) equal() bool {
	if text := p.differences(); text != "" {
		return p.fail("the replies differ:%s", text)
	}
	return true
}

func (p *pair) differences() string {
	var b strings.Builder
	for i, want := range p.ended[0] {
		if got := p.ended[1][i]; !p.same(got, want) {
			fmt.Fprintf(&b, "\ncommand %d\n  returns %.300q through respool,\n  returns %.300q directly", i, got, want)
		}
	}
	return b.String()
}

// same compares two replies. Before 7.2 a server has another text for the end of a group. Since 7.2 the error of a command
// on several streams that disappear at once names one of them: which one is not defined.
func (p *pair) same(got, want string) bool {
	const gone = "-NOGROUP "
	text := gone + "the consumer group"
	if p.version.Since(7, 2) {
		text = gone + "No such key"
	}
	return got == want || strings.HasPrefix(want, text) && strings.HasPrefix(got, gone)
}

// all waits until every command has ended.
func (p *pair) all() bool {
	for side := range p.targets {
		n := 0
		testkit.AwaitWithin(p.t, 2*patience, "the ends of all commands", func() int { n = p.collect(side); return n }, testkit.Is(p.started))
	}
	return p.equal()
}

// sameData compares what the servers hold.
func (p *pair) sameData(keys []string) bool {
	lines := [][]string{{"DBSIZE"}}
	for _, key := range keys {
		lines = append(lines, []string{"TYPE", key}, []string{"GET", key}, []string{"LRANGE", key, "0", "-1"},
			[]string{"ZRANGE", key, "0", "-1", "WITHSCORES"}, []string{"XRANGE", key, "-", "+"})
		if key == "s" || key == "r" {
			lines = append(lines, []string{"XPENDING", key, "g"}, []string{"XPENDING", key, "h"}, []string{"XINFO", "GROUPS", key})
		}
	}
	began := time.Now()
	for {
		direct, via := p.controls[0].all(lines), p.controls[1].all(lines)
		if slices.Equal(direct, via) {
			return true
		}
		if time.Since(began) < p.limit { // what respool returns may still be on its way
			time.Sleep(time.Millisecond)
			continue
		}
		for i := range direct {
			if direct[i] != via[i] {
				return p.fail("%q is %q through respool, %q directly", lines[i], via[i], direct[i])
			}
		}
	}
}
