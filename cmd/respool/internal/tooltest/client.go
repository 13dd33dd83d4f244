package tooltest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Client is a plain Redis client.
type Client struct {
	t *testing.T
	net.Conn
	Reader *bufio.Reader
}

// Dial connects a client.
func Dial(t *testing.T, network, addr string) *Client {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(t, conn)
}

// NewClient returns a client on a connection, which the end of the test closes.
func NewClient(t *testing.T, conn net.Conn) *Client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return &Client{t, conn, bufio.NewReader(conn)}
}

// Do sends a command. The reply has to be one line or one string that begins with want.
func (c *Client) Do(want string, args ...string) {
	c.t.Helper()
	c.Send(args...)
	line, err := c.Reader.ReadString('\n')
	if strings.HasPrefix(line, "$") && line != "$-1\r\n" {
		line, err = c.Reader.ReadString('\n')
	}
	if got := strings.TrimSpace(line); err != nil || !strings.HasPrefix(got, want) {
		c.t.Fatalf("%q: %q, %v: want %q", args, got, err, want)
	}
}

// Send sends a command.
func (c *Client) Send(args ...string) {
	c.t.Helper()
	fmt.Fprintf(c, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(a), a)
	}
}
