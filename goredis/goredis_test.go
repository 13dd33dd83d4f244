package goredis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/goredis"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

const (
	patience = time.Minute
	bound    = 4
)

// open returns a client with at most bound connections, and a dialer on it.
func open(t *testing.T, s *redistest.Server) (*respool.Client, *goredis.Dialer) {
	t.Helper()
	client, err := respool.Open(t.Context(), fmt.Sprintf("%s?max_connections=%d&timeout=60", s.URL(), bound))
	if err != nil {
		t.Fatal(err)
	}
	d, err := goredis.New(client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(d.Close(ctx), client.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return client, d
}

// ask sends inline commands and compares the lines of the replies.
func ask(conn net.Conn, in *bufio.Reader, commands string, lines ...string) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, commands); err != nil {
		return err
	}
	for _, want := range lines {
		got, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if got = strings.TrimSpace(got); got != want {
			return fmt.Errorf("%q gave %q: want %q", commands, got, want)
		}
	}
	return nil
}

func TestEachConnectionHasItsOwnStateOverAFewSockets(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	_, d := open(t, s)
	watch := s.WatchClients()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			conn, err := d.DialContext(t.Context(), "tcp", "nowhere:0")
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			name := fmt.Sprint("name", i)
			size := fmt.Sprint("$", len(name))
			for range 20 {
				if err := errors.Join(
					ask(conn, in, fmt.Sprintf("SELECT %d\r\nCLIENT SETNAME %s\r\n", i%4, name), "+OK", "+OK"),
					ask(conn, in, fmt.Sprintf("SET key%d %s\r\nGET key%d\r\nCLIENT GETNAME\r\n", i/4, name, i/4), "+OK", size, name, size, name),
					ask(conn, in, fmt.Sprintf("BLPOP none%d 0.002\r\n", i), "*-1"),
				); err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if peak := watch.Stop(); peak > bound {
		t.Errorf("the server counted %d connections: want %d at most", peak, bound)
	}
}

func TestUsersAreTheServers(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"user reader on >secret ~* +@read +@connection +acl|whoami"}})
	_, d := open(t, s)
	conn, err := d.DialContext(t.Context(), "tcp", "nowhere:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	if err := errors.Join(
		ask(conn, in, "AUTH reader wrong\r\n", "-WRONGPASS invalid username-password pair or user is disabled."),
		ask(conn, in, "SET a 1\r\nACL WHOAMI\r\n", "+OK", "$7", "default"),
		ask(conn, in, "AUTH reader secret\r\nACL WHOAMI\r\n", "+OK", "$6", "reader"),
		ask(conn, in, "SET a 2\r\n", "-"+s.Version().NoCommand("reader", "set")),
		ask(conn, in, "GET a\r\n", "$1", "1"),
	); err != nil {
		t.Error(err)
	}
}

func TestAUserThatIsDeletedAndMadeAgainWorksAtOnce(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	_, d := open(t, s)
	for range 20 {
		s.Do("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+get", "+set")
		conn, err := d.DialContext(t.Context(), "tcp", "nowhere:0")
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		if err := ask(conn, in, "AUTH reader secret\r\nSET a 1\r\nGET a\r\n", "+OK", "+OK", "$1", "1"); err != nil {
			t.Fatal(err)
		}
		s.Do("ACL", "DELUSER", "reader")
		if _, err := in.ReadByte(); err == nil {
			t.Error("the connection of a deleted user goes on")
		}
		conn.Close()
	}
}

func TestCloseEndsAllConnectionsAndLeavesTheClient(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	client, d := open(t, s)
	conn, err := d.DialContext(t.Context(), "tcp", "nowhere:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "INCR a\r\nINCR a\r\n"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got, err := io.ReadAll(conn); string(got) != ":1\r\n:2\r\n" || err != nil {
		t.Errorf("after the end %q came, and %v: want the replies to what was sent", got, err)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "nowhere:0"); err == nil || !strings.Contains(err.Error(), "shut down") {
		t.Errorf("a dial after the end gave %v", err)
	}
	if n, err := client.Do(t.Context(), "INCR", "a").Int64(); n != 3 || err != nil {
		t.Errorf("the client itself gave %d, %v", n, err)
	}
}

func TestADialEndsWithItsContext(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	_, d := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.DialContext(ctx, "tcp", "nowhere:0"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
