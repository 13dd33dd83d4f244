package wire_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestTheHandshakeIsOneRoundTrip(t *testing.T) {
	s := serve(t, redis(nil))
	cfg := s.config()
	cfg.Username, cfg.Password, cfg.DB = "me", secret, 3
	cfg.ClientName, cfg.LibName, cfg.LibVersion = "app", "respool", "1.0"
	c := dial(t, cfg)
	if c.Protocol() != 3 || c.Server() != "7.2.4" || c.Addr() != cfg.Addr {
		t.Errorf("got protocol %d, server %q, address %q", c.Protocol(), c.Server(), c.Addr())
	}
	want := []string{
		"HELLO 3 AUTH me " + secret + " SETNAME app", "CLIENT SETINFO LIB-NAME respool",
		"CLIENT SETINFO LIB-VER 1.0", "SELECT 3", "PING",
	}
	if got := s.Commands(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAReaderOfAReplicaSendsReadOnly(t *testing.T) {
	s := serve(t, redis(nil))
	cfg := s.config()
	cfg.ReadOnly = true
	dial(t, cfg)
	if got := s.Commands(); !slices.Equal(got, []string{"HELLO 3", "READONLY", "PING"}) {
		t.Errorf("got %q", got)
	}
	refusing := serve(t, redis(map[string]string{"READONLY": "-NOPERM no permission\r\n"}))
	cfg = refusing.config()
	cfg.ReadOnly = true
	if _, err := wire.Dial(t.Context(), t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("without permission for READONLY: %v", err)
	}
}

func TestAConnectionKnowsItsNumberAtTheServer(t *testing.T) {
	for proto, reply := range map[int]string{2: ":42\r\n", 3: "%2\r\n$2\r\nid\r\n:42\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n"} {
		s := serve(t, redis(map[string]string{"HELLO": reply, "CLIENT": reply}))
		cfg := s.config()
		cfg.Protocol, cfg.DB = proto, 1
		if c := dial(t, cfg); c.ID() != 42 || c.Protocol() != proto {
			t.Errorf("protocol %d: got %d under %d", proto, c.ID(), c.Protocol())
		}
	}
	s := serve(t, redis(map[string]string{"CLIENT": "-NOPERM no\r\n"}))
	cfg := s.config()
	if cfg.Protocol = 2; dial(t, cfg).ID() != 0 {
		t.Error("a number came from nowhere")
	}
}

func TestAPasswordAloneIsOfTheDefaultUser(t *testing.T) {
	s := serve(t, redis(nil))
	cfg := s.config()
	cfg.Password = secret
	dial(t, cfg)
	if got := s.Commands()[0]; got != "HELLO 3 AUTH default "+secret {
		t.Errorf("got %q", got)
	}
}

func TestProtocol2NeedsNoHello(t *testing.T) {
	for user, want := range map[string]string{"": "AUTH " + secret, "me": "AUTH me " + secret} {
		s := serve(t, redis(nil))
		cfg := s.config()
		cfg.Protocol, cfg.Username, cfg.Password, cfg.ClientName = 2, user, secret, "app"
		c := dial(t, cfg)
		if got := s.Commands(); c.Protocol() != 2 || !slices.Equal(got, []string{want, "CLIENT SETNAME app", "CLIENT ID", "PING"}) {
			t.Errorf("protocol %d: got %q", c.Protocol(), got)
		}
	}
}

// unknownHello is what servers before Redis 6 say; they repeat the arguments.
const unknownHello = "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `" + secret + "`, \r\n"

func TestAServerWithoutHelloGetsProtocol2(t *testing.T) {
	for _, reply := range []string{unknownHello, "-ERR unknown command 'HELLO'\r\n", "-NOPROTO unsupported protocol version\r\n"} {
		s := serve(t, redis(map[string]string{"HELLO": reply, "CLIENT": "-ERR unknown command 'CLIENT'\r\n"}))
		cfg := s.config()
		cfg.Password, cfg.ClientName, cfg.LibName, cfg.DB = secret, "app", "respool", 1
		c := dial(t, cfg)
		if c.Protocol() != 2 {
			t.Errorf("got protocol %d", c.Protocol())
		}
		if got := s.Commands(); !slices.Contains(got, "AUTH "+secret) || got[len(got)-1] != "PING" || !slices.Contains(got, "SELECT 1") {
			t.Errorf("got %q", got)
		}
	}
}

func TestTheErrorsOfAHandshakeSayWhatToDo(t *testing.T) {
	tests := []struct {
		name     string
		replies  map[string]string
		password string
		protocol int
		want     string
		code     string
	}{
		{"no password given", map[string]string{"HELLO": "-NOAUTH HELLO must be called with the client already authenticated\r\n"}, "", 0, "none is configured", "NOAUTH"},
		{"no password given to PING", map[string]string{"PING": "-NOAUTH Authentication required.\r\n"}, "", 2, "none is configured", "NOAUTH"},
		{"wrong password", map[string]string{"HELLO": "-WRONGPASS invalid username-password pair or user is disabled.\r\n"}, secret, 0, "refused the username or password", "WRONGPASS"},
		{"wrong password of old", map[string]string{"HELLO": unknownHello, "AUTH": "-ERR invalid password\r\n"}, secret, 0, "refused the username or password", "ERR"},
		{"loading", map[string]string{"PING": "-LOADING Redis is loading the dataset in memory\r\n"}, "", 0, "is loading", "LOADING"},
		{"loading, protocol 2", map[string]string{"PING": "-LOADING Redis is loading the dataset in memory\r\n"}, "", 2, "is loading", "LOADING"},
		{"protocol 3 wanted", map[string]string{"HELLO": unknownHello}, secret, 3, "unknown command", "ERR"},
		{"no such db", map[string]string{"SELECT": "-ERR DB index is out of range\r\n"}, "", 0, "out of range", "ERR"},
		{"bad name", map[string]string{"HELLO": "-ERR Client names cannot contain spaces\r\n"}, "", 0, "cannot contain spaces", "ERR"},
		{"replica without its primary", map[string]string{"PING": "-MASTERDOWN Link with MASTER is down\r\n"}, "", 0, "MASTERDOWN", "MASTERDOWN"},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			s := serve(t, redis(x.replies))
			cfg := s.config()
			cfg.Password, cfg.Protocol, cfg.DB, cfg.ClientName = x.password, x.protocol, 9, "app"
			err := refused(t, cfg)
			wantText(t, err, "handshake with "+cfg.Addr, x.want)
			if strings.Contains(err.Error(), "HELLO must be called") {
				t.Errorf("%v: the server's advice is not for users", err)
			}
			var se *resp.ServerError
			if !errors.As(err, &se) || se.Code != x.code {
				t.Errorf("got %v, want code %s", err, x.code)
			}
			await(t, "the connection's end", s.ended)
		})
	}
}

func TestAServerThatRefusesAndClosesIsUnderstood(t *testing.T) {
	for reply, want := range map[string]string{
		"-ERR max number of clients reached\r\n":                     "maxclients",
		"-DENIED Redis is running in protected mode because ...\r\n": "protected mode",
	} {
		s := serve(t, func(p *peer) { p.Write(reply) })
		for range 20 { // the refusal and the write race
			cfg := s.config()
			cfg.Password = secret
			c, err := wire.Dial(background, background, cfg)
			if err == nil {
				c.Abort()
				t.Fatal("got a connection")
			}
			// A reset may overtake the reply: then the error is the reset's.
			var se *resp.ServerError
			if errors.As(err, &se) {
				wantText(t, err, want)
			}
		}
	}
}

func TestWhatIsNoRedisIsNamed(t *testing.T) {
	tests := map[string]struct {
		script func(*peer)
		want   string
	}{
		"HTTP":         {func(p *peer) { p.Write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"); p.Discard() }, `not a Redis server: it sent "HTTP/1.1 400`},
		"SSH":          {func(p *peer) { p.Write("SSH-2.0-OpenSSH_9.2p1\r\n"); p.Discard() }, "not a Redis server"},
		"TLS":          {func(p *peer) { p.Write("\x15\x03\x01\x00\x02\x02\x46"); p.Discard() }, "the server speaks TLS"},
		"web page":     {func(p *peer) { p.Write("<!DOCTYPE HTML>\n<html lang=\"en\">\n    <head>"); p.Discard() }, "which is HTTP: check the port"},
		"closes":       {func(p *peer) { skip(p, 1) }, "closed the connection without a reply, as one that speaks TLS (use rediss://)"},
		"huge reply":   {func(p *peer) { p.Write("$1000000\r\n"); p.Discard() }, "frame"},
		"half a frame": {func(p *peer) { skip(p, 2); p.Write("%2\r\n+ver") }, ": the server closed the connection"},
	}
	for name, x := range tests {
		t.Run(name, func(t *testing.T) {
			s := serve(t, x.script)
			cfg := s.config()
			cfg.Password = secret
			wantText(t, refused(t, cfg), x.want)
			await(t, "the connection's end", s.ended)
		})
	}
}

func TestCredentialsAreAskedAtEachDial(t *testing.T) {
	s := serve(t, redis(nil))
	cfg := s.config()
	cfg.Username, cfg.Password = "not", "this"
	n := 0
	expires := time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC)
	cfg.Credentials = func(ctx context.Context) (string, string, time.Time, error) {
		n++
		if n == 3 {
			return "", "", time.Time{}, io.ErrNoProgress
		}
		return "me", strings.Repeat("x", n), expires, nil
	}
	for range 2 {
		c, err := wire.Dial(background, background, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Expires(); !got.Equal(expires) {
			t.Errorf("the credentials end at %v, want %v", got, expires)
		}
		c.Linger(patience)
	}
	err := refused(t, cfg)
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
	for range 3 {
		await(t, "a connection's end", s.ended)
	}
	if got, want := s.Commands(), []string{"HELLO 3 AUTH me x", "PING", "HELLO 3 AUTH me xx", "PING"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What stands behind the handshake's last reply belongs to the connection's user.
func TestBytesBehindTheHandshakeAreKept(t *testing.T) {
	s := serve(t, func(p *peer) {
		skip(p, 2)
		p.Write(helloReply + ">1\r\n+skipped\r\n+PONG\r\n>1\r\n+pu")
		p.Write("sh\r\n+more\r\n")
		p.Discard()
	})
	c := dial(t, s.config())
	want := ">1\r\n+push\r\n+more\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(readerOf{c}, got); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
}

// A push that is cut between the two exchanges of an old server's handshake.
func TestBytesBehindTheFirstExchangeAreKept(t *testing.T) {
	s := serve(t, func(p *peer) {
		skip(p, 2)
		p.Write(unknownHello + "+PONG\r\n>1\r\n$4\r\npu")
		skip(p, 2)
		p.Write("sh\r\n:7\r\n+PONG\r\n+more\r\n")
		p.Discard()
	})
	c := dial(t, s.config())
	want := "+more\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(readerOf{c}, got); err != nil || string(got) != want || c.Protocol() != 2 {
		t.Errorf("got %q, %v", got, err)
	}
}

type readerOf struct{ c *wire.Conn }

func (r readerOf) Read(b []byte) (int, error) { return r.c.Read(b) }

// Replies may come in any pieces.
func TestAHandshakeCutAnywherePasses(t *testing.T) {
	reply := helloReply + "+PONG\r\n"
	for at := 1; at < len(reply); at++ {
		s := serve(t, func(p *peer) {
			skip(p, 2)
			p.Write(reply[:at])
			p.Write(reply[at:])
			p.Discard()
		})
		c, err := wire.Dial(background, background, s.config())
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		c.Linger(patience)
	}
}
