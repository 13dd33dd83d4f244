package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// load is what the other clients do.
type load struct {
	name, about string
	clients     int
	before      int           // small commands that each client sends first, one by one
	requests    []byte        // of each client, in one pipeline
	reads       bool          // the clients read the replies, and repeat their requests
	pause       time.Duration // between two reads of 64 KiB
	leaves      time.Duration // how long a client stays, on average, before another takes its place; 0: to the end
}

const (
	clients  = 60
	commands = 400
	keys     = 100 // with large values
	largest  = 1 << 20
	medium   = 16 << 10
)

var (
	smallGet   = command("GET", "small")
	smallReply = "$3\r\nabc\r\n"
)

func command(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

// pipeline returns n commands.
func pipeline(n int, of func(i int) []byte) (b []byte) {
	for i := range n {
		b = append(b, of(i)...)
	}
	return b
}

// same returns n equal commands.
func same(n int, args ...string) []byte {
	return bytes.Repeat(command(args...), n)
}

func largeKey(i int) string { return fmt.Sprint("large:", i%keys) }

func loads() []load {
	one := same(commands, "GET", largeKey(0))
	many := pipeline(commands, func(i int) []byte { return command("GET", largeKey(i)) })
	mget := []string{"MGET"}
	for i := range 64 {
		mget = append(mget, fmt.Sprint("medium:", i))
	}
	return []load{
		{name: "none", about: "no other client"},
		{name: "unread", about: "60 clients send 400 GET of one value of 1 MiB and read nothing", clients: clients, requests: one},
		{name: "unread-keys", about: "the same with 100 values", clients: clients, requests: many},
		{name: "unread-warm", about: "the same, after 200 GET of 3 bytes by each client, one by one", clients: clients, before: 200, requests: many},
		{name: "leave", about: "60 clients send 400 GET of 100 values of 1 MiB and read nothing, and each client disconnects after about a second and connects again", clients: clients, requests: many, leaves: time.Second},
		{name: "read", about: "60 clients send 400 GET of one value of 1 MiB, read, and repeat", clients: clients, requests: one, reads: true},
		{name: "read-keys", about: "the same with 100 values", clients: clients, requests: many, reads: true},
		{name: "slow", about: "60 clients send 400 GET of 1 MiB and read 64 KiB each 20 ms", clients: clients, requests: many, reads: true, pause: 20 * time.Millisecond},
		{name: "medium", about: "60 clients send 4,000 GET of 16 KiB, read, and repeat", clients: clients, requests: same(10*commands, "GET", "medium:0"), reads: true},
		{name: "kib", about: "60 clients send 4,000 GET of 1 KiB, read, and repeat", clients: clients, requests: same(10*commands, "GET", "kib"), reads: true},
		{name: "deep", about: "one client sends 100,000 GET of 3 bytes in one write, reads, and repeats", clients: 1, requests: same(100_000, "GET", "small"), reads: true},
		{name: "deep-many", about: "60 clients do so", clients: clients, requests: same(100_000, "GET", "small"), reads: true},
		{name: "hgetall", about: "60 clients send 400 HGETALL of 1 MiB, read, and repeat", clients: clients, requests: same(commands, "HGETALL", "hash"), reads: true},
		{name: "lrange", about: "60 clients send 400 LRANGE of 1 MiB, read, and repeat", clients: clients, requests: same(commands, "LRANGE", "list", "0", "-1"), reads: true},
		{name: "mget", about: "60 clients send 400 MGET of 64 values of 16 KiB, read, and repeat", clients: clients, requests: same(commands, mget...), reads: true},
		{name: "eval", about: "60 clients send 400 EVAL that return 1 MiB, read, and repeat", clients: clients, requests: same(commands, "EVAL", "return redis.call('GET', KEYS[1])", "1", largeKey(0)), reads: true},
	}
}

func describeLoads() string {
	var b strings.Builder
	for _, l := range loads() {
		fmt.Fprintf(&b, "%s: %s\n", l.name, l.about)
	}
	return b.String()
}

// choose returns the loads with these names, or all.
func choose(names []string) (chosen []load, err error) {
	if len(names) == 0 {
		return loads(), nil
	}
	for _, name := range names {
		before := len(chosen)
		for _, l := range loads() {
			if l.name == name {
				chosen = append(chosen, l)
			}
		}
		if len(chosen) == before {
			return nil, fmt.Errorf("no load is called %q: want one of\n%s", name, describeLoads())
		}
	}
	return chosen, nil
}

// run is one client.
func (l *load) run(addr string, end <-chan struct{}, received *atomic.Int64) {
	for {
		again := make(chan struct{})
		if l.leaves > 0 {
			leave := time.AfterFunc(l.leaves/2+rand.N(l.leaves), func() { close(again) })
			defer leave.Stop()
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		go l.send(conn, received)
		select {
		case <-end:
			_ = conn.Close()
			return
		case <-again:
			_ = conn.Close()
		}
	}
}

func (l *load) send(conn net.Conn, received *atomic.Int64) {
	reply := make([]byte, len(smallReply))
	for range l.before {
		if _, err := conn.Write(smallGet); err != nil {
			return
		}
		if _, err := io.ReadFull(conn, reply); err != nil {
			return
		}
	}
	if l.reads {
		go l.read(conn, received)
	}
	for {
		if _, err := conn.Write(l.requests); err != nil || !l.reads {
			return
		}
	}
}

func (l *load) read(conn net.Conn, received *atomic.Int64) {
	b := make([]byte, 64<<10)
	for {
		n, err := conn.Read(b)
		received.Add(int64(n))
		if err != nil {
			return
		}
		if l.pause > 0 {
			time.Sleep(l.pause)
		}
	}
}

// fill stores the values of all loads.
func fill(conn net.Conn) error {
	in := bufio.NewReader(conn)
	do := func(args ...string) error {
		if _, err := conn.Write(command(args...)); err != nil {
			return err
		}
		line, err := in.ReadString('\n')
		if err == nil && line[0] == '-' {
			err = fmt.Errorf("%s: %s", args[0], line)
		}
		return err
	}
	values := map[string]string{"small": "abc", "kib": strings.Repeat("x", 1<<10)}
	for i := range keys {
		values[largeKey(i)] = strings.Repeat("x", largest)
		values[fmt.Sprint("medium:", i)] = strings.Repeat("x", medium)
	}
	for key, value := range values {
		if err := do("SET", key, value); err != nil {
			return err
		}
	}
	const items = largest / 128
	list, hash := []string{"RPUSH", "list"}, []string{"HSET", "hash"}
	for i := range items {
		item := strings.Repeat("y", 112)
		list, hash = append(list, item), append(hash, fmt.Sprint(i), item)
	}
	if err := do(list...); err != nil {
		return err
	}
	return do(hash...)
}
