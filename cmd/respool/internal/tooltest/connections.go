package tooltest

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Crowd is a number of plain connections of one service.
type Crowd struct {
	T    *testing.T
	Addr string
	Name string
	Open []net.Conn
}

// Add opens n more connections, and returns how many the server admitted.
func (c *Crowd) Add(n int) (in int) {
	for range n {
		conn, err := net.Dial("tcp", c.Addr)
		if err != nil {
			c.T.Error(err)
			return in
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(conn, "CLIENT SETNAME %s\r\n", c.Name)
		answer := make([]byte, 64)
		if k, _ := conn.Read(answer); !strings.HasPrefix(string(answer[:k]), "+OK") {
			conn.Close()
			continue
		}
		in++
		c.Open = append(c.Open, conn)
	}
	return in
}

// Quiet opens n more connections without a name, which send PING once.
func (c *Crowd) Quiet(n int) {
	for range n {
		conn, err := net.Dial("tcp", c.Addr)
		if err != nil {
			c.T.Error(err)
			return
		}
		c.Open = append(c.Open, conn)
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprint(conn, "PING\r\n")
		if _, err := conn.Read(make([]byte, 64)); err != nil {
			c.T.Error(err)
		}
	}
}

// Close closes all connections.
func (c *Crowd) Close() {
	for _, conn := range c.Open {
		conn.Close()
	}
	c.Open = nil
}
