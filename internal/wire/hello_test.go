package wire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// helloRefusals are ways in which servers and proxies refuse HELLO.
var helloRefusals = []string{
	"-ERR unknown command 'HELLO'\r\n",
	"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n",
	"-err Unknown Command\r\n",
	"-ERR unsupported command 'HELLO'\r\n",
	"-ERR command is not allowed\r\n",
	"-ERR HELLO is disabled\r\n",
	"-ERR wrong number of arguments for 'hello' command\r\n",
	"-ERR syntax error\r\n",
	"-ERR Protocol version is not an integer or out of range\r\n",
	"-NOPROTO unsupported protocol version\r\n",
	"-NOPERM this user has no permissions to run the 'hello' command\r\n",
	"-proxy: no such command\r\n",
	"!21\r\nSYNTAX invalid syntax\r\n",
	"*2\r\n$5\r\nproto\r\n:2\r\n",
}

func TestAServerThatRefusesHelloIsSpokenToInRESP2(t *testing.T) {
	for _, answer := range helloRefusals {
		for _, password := range []string{"", secret} {
			s := serve(t, redis(map[string]string{"HELLO": answer}))
			cfg := s.config()
			cfg.Password, cfg.DB, cfg.ClientName, cfg.LibName, cfg.Peer = password, 3, "name", "lib", &wire.Peer{}
			c, err := wire.Dial(background, background, cfg)
			if err != nil {
				t.Fatalf("%q: %v", answer, err)
			}
			c.Linger(patience)
			if c.Protocol() != 2 || cfg.Peer.Protocol() != 2 {
				t.Errorf("%q: RESP%d, remembered %d", answer, c.Protocol(), cfg.Peer.Protocol())
			}
			got := s.Commands()
			for _, want := range []string{"SELECT 3", "CLIENT SETNAME name"} {
				if !slices.Contains(got, want) {
					t.Errorf("%q: %q lacks %q", answer, got, want)
				}
			}
			if password != "" && !slices.Contains(got, "AUTH "+secret) {
				t.Errorf("%q: no password in %q", answer, got)
			}
			cfg.Protocol = 3
			wantText(t, refused(t, cfg), "protocol", "2")
		}
	}
}

// What is about who asks, or about the server's state, is no refusal of HELLO.
func TestOtherAnswersToHelloAreFinal(t *testing.T) {
	for _, answer := range []string{
		"-WRONGPASS invalid username-password pair or user is disabled.", "-NOAUTH HELLO must be called with the client already authenticated",
		"-LOADING Redis is loading the dataset in memory", "-ERR max number of clients reached", "-ERR max number of clients + cluster connections reached",
		"-DENIED Redis is running in protected mode", "-MASTERDOWN Link with MASTER is down", "-BUSY Redis is busy running a script.",
	} {
		s := serve(t, redis(map[string]string{"HELLO": answer + "\r\n"}))
		cfg := s.config()
		cfg.Password = secret
		err := refused(t, cfg)
		var se *resp.ServerError
		if !errors.As(err, &se) || !strings.HasPrefix(answer, "-"+se.Code) {
			t.Errorf("%q: got %v", answer, err)
		}
		if got := s.Commands(); slices.Contains(got, "AUTH "+secret) {
			t.Errorf("%q: it went on with %q", answer, got)
		}
	}
	s := serve(t, redis(map[string]string{"SELECT": "-NOPERM no right to select\r\n"}))
	cfg := s.config()
	cfg.DB = 1
	wantText(t, refused(t, cfg), "NOPERM no right to select")
	if got := s.Commands(); len(got) != 3 {
		t.Errorf("HELLO was accepted, and yet it went on: %q", got)
	}
}

// closesOn replies like redis. It closes the connection on a command, after some text.
func closesOn(word, text string) func(*peer) {
	return func(p *peer) {
		for {
			args, err := p.Command()
			switch {
			case err != nil:
				return
			case args[0] == word:
				p.Write(text)
				return
			case args[0] == "PING":
				p.Write("+PONG\r\n")
			default:
				p.Write("+OK\r\n")
			}
		}
	}
}

// A proxy that closes the connection on what it does not know gets another
// one, without what is not needed, and is remembered.
func TestAServerThatClosesOnHelloIsSpokenToOnASecondConnection(t *testing.T) {
	for _, text := range []string{"", "-ERR unsupported\r\n", "-unknown\r\n"} {
		for _, word := range []string{"HELLO", "CLIENT"} {
			s := serve(t, closesOn(word, text))
			cfg := s.config()
			cfg.Password, cfg.DB, cfg.ClientName, cfg.LibName, cfg.Peer = secret, 3, "name", "lib", &wire.Peer{}
			if word == "CLIENT" {
				cfg.Protocol = 2
				if text != "" {
					continue // it said why, behind other answers
				}
			}
			for round := range 3 {
				c, err := wire.Dial(background, background, cfg)
				if err != nil {
					t.Fatalf("closes on %s, %q: %v", word, text, err)
				}
				if c.Protocol() != 2 {
					t.Errorf("RESP%d", c.Protocol())
				}
				c.Linger(patience)
				await(t, "the connection's end", s.ended)
				if round == 0 {
					await(t, "the first connection's end", s.ended)
				}
			}
			if n := len(s.ended); n != 0 {
				t.Errorf("closes on %s: %d connections more than one for each dial", word, n)
			}
			got := s.Commands()
			if last := got[len(got)-3:]; !slices.Equal(last, []string{"AUTH " + secret, "SELECT 3", "PING"}) {
				t.Errorf("the bare handshake was %q", last)
			}
		}
	}
}

// While the second connection is dialed the first one counts no more: the bound holds.
func TestTheSecondConnectionComesAfterTheFirst(t *testing.T) {
	s := serve(t, closesOn("HELLO", "")) // takes one connection after the other
	dial(t, s.config())
}

func TestAServerThatClosesEveryConnectionIsDialedTwiceOnce(t *testing.T) {
	s := serve(t, func(p *peer) { skip(p, 1) })
	cfg := s.config()
	cfg.Peer = &wire.Peer{}
	for range 5 {
		wantText(t, refused(t, cfg), "closed the connection")
	}
	for range 6 {
		await(t, "a connection's end", s.ended)
	}
	if n := len(s.ended); n != 0 {
		t.Errorf("%d connections more than one for each dial and one to try", n)
	}
}

// A server that has answered HELLO closes for another reason.
func TestAServerThatKnowsHelloIsDialedOnce(t *testing.T) {
	var good atomic.Bool
	good.Store(true)
	s := serve(t, func(p *peer) {
		if good.Load() {
			redis(nil)(p)
		} else {
			skip(p, 1)
		}
	})
	cfg := s.config()
	cfg.Peer = &wire.Peer{}
	c, err := wire.Dial(background, background, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Linger(patience)
	await(t, "the connection's end", s.ended)
	good.Store(false)
	wantText(t, refused(t, cfg), "closed the connection")
	await(t, "the connection's end", s.ended)
	if n := len(s.ended); n != 0 {
		t.Errorf("%d connections more than one for each dial", n)
	}
}

// What a server sends unasked before it closes is why it does.
func TestWhatIsSaidBeforeAConnectionClosesIsItsError(t *testing.T) {
	for _, answer := range []string{"-ERR max number of clients reached", "-DENIED Redis is running in protected mode", "-LOADING Redis is loading the dataset in memory"} {
		for name, script := range map[string]func(*peer){
			"at once":               func(p *peer) { p.Write(answer + "\r\n") },
			"with a reset":          func(p *peer) { p.Next(); p.Write(answer + "\r\n"); p.Reset() },
			"after the first bytes": func(p *peer) { p.Next(); p.Write(answer + "\r\n") },
		} {
			for _, protocol := range []int{0, 2, 3} {
				for _, password := range []string{"", secret} {
					s := serve(t, script)
					cfg := s.config()
					cfg.Protocol, cfg.Password, cfg.LibName = protocol, password, "lib"
					err := refused(t, cfg)
					var se *resp.ServerError
					if !errors.As(err, &se) || !strings.HasPrefix(answer, "-"+se.Code) {
						t.Errorf("RESP%d, %s: got %v: want %s", protocol, name, err, answer)
					}
				}
			}
		}
	}
}

// deaf is a connection to a server that has sent something and closed: writes fail.
type deaf struct {
	net.Conn
	said io.Reader
	err  error
}

func (d deaf) Write([]byte) (int, error)  { return 0, d.err }
func (d deaf) Read(b []byte) (int, error) { return d.said.Read(b) }

func TestWhatIsSaidIsReadAfterAWriteThatFailedToo(t *testing.T) {
	for _, cause := range []error{syscall.EPIPE, syscall.ECONNRESET} {
		for _, protocol := range []int{0, 2, 3} {
			client, server := net.Pipe()
			defer server.Close()
			cfg := &wire.Config{Network: "tcp", Addr: "memory", Protocol: protocol, ConnectTimeout: patience,
				DialFunc: func(context.Context, string, string) (net.Conn, error) {
					return deaf{client, strings.NewReader("-ERR max number of clients reached\r\n"), cause}, nil
				}}
			err := refused(t, cfg)
			var se *resp.ServerError
			if !errors.As(err, &se) {
				t.Errorf("RESP%d, %v: got %v", protocol, cause, err)
			}
			wantText(t, err, "maxclients")
		}
	}
}
