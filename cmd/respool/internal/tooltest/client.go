package tooltest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Client is a plain client.
type Client struct {
	t *testing.T
	net.Conn
	Reader *bufio.Reader
}

func Dial(t *testing.T, network, addr string) *Client {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(t, conn)
}

func NewClient(t *testing.T, conn net.Conn) *Client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return &Client{t, conn, bufio.NewReader(conn)}
}

// Do sends a command, and wants a reply of one line or one string.
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

func (c *Client) Send(args ...string) {
	c.t.Helper()
	fmt.Fprintf(c, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(c, "$%d\r\n%s\r\n", len(a), a)
	}
}
