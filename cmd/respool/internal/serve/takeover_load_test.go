//go:build linux

package serve

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// counter sends INCR of its own key, in pipelines, transactions and after large values, until stop is set. Each reply has to be
// the next number.
func counter(addr string, i int, stop *atomic.Bool) (n int, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	key, value := fmt.Sprint("count", i), strings.Repeat("x", 50_000)
	expect := func(want string) {
		if err != nil {
			return
		}
		var got string
		if got, err = r.ReadString('\n'); err == nil && got != want+"\r\n" {
			err = fmt.Errorf("%q: want %q", got, want)
		}
	}
	for round := i; !stop.Load() && err == nil; round++ {
		var b strings.Builder
		var want []string
		incr := func() string {
			n++
			fmt.Fprintf(&b, "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", len(key), key)
			return fmt.Sprint(":", n)
		}
		switch round % 3 {
		case 0:
			for range 1 + round%40 {
				want = append(want, incr())
			}
		case 1:
			b.WriteString("MULTI\r\n")
			one, two := incr(), incr()
			b.WriteString("EXEC\r\n")
			want = append(want, "+OK", "+QUEUED", "+QUEUED", "*2", one, two)
		case 2:
			fmt.Fprintf(&b, "*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", len(value), value)
			want = append(want, fmt.Sprint("$", len(value)), value, incr())
		}
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, b.String())
			sent <- err
		}()
		for _, line := range want {
			expect(line)
		}
		err = errors.Join(err, <-sent)
	}
	return n, err
}

// No reply is lost, doubled or exchanged while clients send commands all the time, and no client is disconnected. The sockets
// of both processes stay within the limit of the smaller one.
func TestRepliesStayExactInTakeovers(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	count := s.WatchClients()
	flags := upgradable(t, s.URL()+"?max_connections=6")
	r := served(t, &flags)
	addr := r.at(t, 1)
	const clients = 40
	type result struct {
		i, n int
		err  error
	}
	var stop atomic.Bool
	results := make(chan result, clients)
	for i := range clients {
		go func() {
			n, err := counter(addr, i, &stop)
			results <- result{i, n, err}
		}()
	}
	for _, limit := range []int{6, 3, 1, 6} {
		flags.URL = fmt.Sprintf("%s?max_connections=%d", s.URL(), limit)
		next := served(t, &flags)
		r.succeededBy(t, next)
		r = next
	}
	stop.Store(true)
	for range clients {
		got := <-results
		if got.err != nil {
			t.Errorf("client %d after %d commands: %v", got.i, got.n, got.err)
		} else if stored := s.Do("GET", fmt.Sprint("count", got.i)); stored != fmt.Sprint(got.n) {
			t.Errorf("client %d: the server has %s: want %d", got.i, stored, got.n)
		}
	}
	if peak := count.Stop(); peak > 6 {
		t.Errorf("%d connections: want 6 at most", peak)
	}
}
