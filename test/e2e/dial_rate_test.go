package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// uses are the kinds of calls that need a connection.
var uses = map[string]func(ctx context.Context, c *respool.Client) error{
	"Do":       func(ctx context.Context, c *respool.Client) error { return c.Do(ctx, "GET", "k").Err() },
	"Blocking": func(ctx context.Context, c *respool.Client) error { return c.Do(ctx, "BLPOP", "k", 1).Err() },
	"Unknown":  func(ctx context.Context, c *respool.Client) error { return c.Do(ctx, "NOSUCHCOMMAND").Err() },
	"Warm":     func(ctx context.Context, c *respool.Client) error { return c.Warm(ctx) },
	"Pipeline": func(ctx context.Context, c *respool.Client) error {
		_, err := c.Pipeline().Do("GET", "k").Do("SET", "k", 1).Exec(ctx)
		return err
	},
	"Transaction": func(ctx context.Context, c *respool.Client) error {
		_, err := c.Transaction().Do("GET", "k").Exec(ctx)
		return err
	},
	"Watch": func(ctx context.Context, c *respool.Client) error {
		_, err := c.Watch(ctx, []string{"k"}, func(*respool.Watched) error { return nil })
		return err
	},
	"Acquire": func(ctx context.Context, c *respool.Client) error {
		conn, err := c.Acquire(ctx)
		if err == nil {
			err = conn.Do(ctx, "PING").Err()
			conn.Release()
		}
		return err
	},
	"DoTo": func(ctx context.Context, c *respool.Client) error {
		_, err := c.DoTo(ctx, io.Discard, "GET", "k")
		return err
	},
	"Subscribe": func(ctx context.Context, c *respool.Client) error {
		s, err := c.Subscribe(ctx, "channel")
		if err == nil {
			_ = s.Close()
		}
		return err
	},
}

// failing are servers that refuse every client.
var failing = map[string]struct {
	on, answer string // the command, or empty for all, and the reply; empty: the server closes the connection
	code       string // of the error that callers get; empty: no error of the server
	refuses    bool   // an identity, not the connection
}{
	"refuses the password":     {"HELLO", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", "WRONGPASS", true},
	"wants a password":         {"HELLO", "-NOAUTH HELLO must be called with the client already authenticated\r\n", "NOAUTH", true},
	"refuses SELECT":           {"SELECT", "-NOPERM this user has no permissions to run the 'select' command\r\n", "NOPERM", true},
	"lacks the database":       {"SELECT", "-ERR DB index is out of range\r\n", "ERR", true},
	"runs a script":            {"SELECT", "-BUSY Redis is busy running a script.\r\n", "BUSY", false},
	"is at maxclients":         {"HELLO", "-ERR max number of clients reached\r\n", "ERR", false},
	"loads its data":           {"PING", "-LOADING Redis is loading the dataset in memory\r\n", "LOADING", false},
	"closes every connection":  {"", "", "", false},
	"closes after the SELECT":  {"SELECT", "", "", false},
	"is of another protocol":   {"HELLO", "SSH-2.0-OpenSSH_9.2\r\n", "", false},
	"has a replica's trouble":  {"PING", "-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN", false},
	"is in the protected mode": {"HELLO", "-DENIED Redis is running in protected mode\r\n", "DENIED", false},
}

// After the first refusals the client dials the server once or twice a second, at any load, and callers get the cause at once.
func TestAServerThatRefusesEveryClientIsDialedSeldom(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, f := range failing {
		wg.Go(func() {
			t.Run(name, func(t *testing.T) {
				s := startFake(t, func(args []string) string {
					switch {
					case f.on == args[0] || f.on == "":
						return f.answer
					case args[0] == "HELLO":
						return "%1\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"
					}
					return welcome(args)
				})
				var mu sync.Mutex
				var dials []time.Duration
				began := time.Now()
				c := newFakeClient(t, s, func(o *respool.Options) {
					o.DB, o.Protocol, o.Password = 1, 0, "secret"
					o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
						mu.Lock()
						dials = append(dials, time.Since(began))
						mu.Unlock()
						return (&net.Dialer{}).DialContext(ctx, network, addr)
					}
				})
				calls := besiege(t, c, 1500*time.Millisecond, f.code)
				took := time.Since(began)
				mu.Lock()
				defer mu.Unlock()
				most := 4 + 1 + int(took/(500*time.Millisecond)) // DialParallel at first, then pauses of at least half a second
				if !f.refuses {
					most += 11 // pauses that double from 5 ms to half a second, and a second connection for the minimal handshake
				}
				if len(dials) > most {
					t.Errorf("%d dials in %v: want %d at most: %v", len(dials), took, most, dials)
				}
				if calls == 0 {
					t.Error("no call ended")
				}
			})
		})
	}
}

// besiege makes calls of all kinds for a time. It returns their number.
func besiege(t *testing.T, c *respool.Client, limit time.Duration, code string) (calls int) {
	ctx, cancel := context.WithTimeout(bounded(t), limit)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for name, use := range uses {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := use(ctx, c)
				if ctx.Err() != nil {
					return
				}
				var se *respool.ServerError
				if errors.As(err, &se); code != "" && (se == nil || se.Code != code) {
					t.Errorf("%s: got %v: want the server's %s", name, err, code)
					return
				}
				mu.Lock()
				calls++
				mu.Unlock()
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	return calls
}

// A connection that breaks at its first command is no failed dial. DialRate limits such dials.
func TestDialRateLimitsConnectionsThatBreakAtOnce(t *testing.T) {
	s := startFake(t, func(args []string) string {
		switch args[0] {
		case "PING", "CLIENT":
			return welcome(args)
		}
		return ""
	})
	const rate, burst = 20, 3
	c := newFakeClient(t, s, func(o *respool.Options) { o.DialRate, o.MaxConnections = rate, burst })
	began := time.Now()
	besiege(t, c, time.Second, "")
	if took, dials := time.Since(began), s.Accepted(); dials > 1+burst+int(rate*took.Seconds()) {
		t.Errorf("%d dials in %v: want %d a second at most", dials, took, rate)
	}
}

// A subscription reconnects. The pauses grow if the server confirms the subscription and then closes the connection.
func TestASubscriptionThatIsCutRepeatedlyReconnectsSeldom(t *testing.T) {
	s := startFake(t, func(args []string) string {
		if args[0] == "SUBSCRIBE" {
			return "*3\r\n$9\r\nsubscribe\r\n$7\r\nchannel\r\n:1\r\n-ERR the end\r\n"
		}
		return welcome(args)
	})
	c := newFakeClient(t, s, nil)
	sub, err := c.Subscribe(bounded(t), "channel")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	began := time.Now()
	testkit.Await(t, "eight dials", s.Accepted, testkit.AtLeast(8))
	took := time.Since(began)
	dials := s.Accepted() // the seventh pause is at least 320 ms
	if most := 8 + int(took/(300*time.Millisecond)); dials > most || took < 300*time.Millisecond {
		t.Errorf("%d dials in %v: want %d at most", dials, took, most)
	}
}

// Errors contain no secrets.
func TestRefusalsShowNoPassword(t *testing.T) {
	s := startFake(t, func([]string) string { return "-WRONGPASS invalid\r\n" })
	c := newFakeClient(t, s, func(o *respool.Options) { o.Protocol, o.Password = 0, "hunter2" })
	for range 3 {
		err := c.Do(bounded(t), "GET", "k").Err()
		wantServerError(t, err, "WRONGPASS")
		wantConnError(t, err, false)
		if strings.Contains(err.Error(), "hunter2") || bytes.Contains([]byte(c.Stats().LastDialError.Error()), []byte("hunter2")) {
			t.Errorf("the password is shown: %v", err)
		}
	}
	if st := c.Stats(); st.Refused != 3 || st.DialFailures != 1 {
		t.Errorf("%d callers refused, %d dials failed: want 3 and 1", st.Refused, st.DialFailures)
	}
}
