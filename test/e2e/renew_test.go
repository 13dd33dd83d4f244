package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// issuer issues tokens that expire, and is the server that accepts them. It closes each connection whose token has expired. It
// works in memory, on the fake clock of synctest.
type issuer struct {
	*fakeserver.Server
	t    *testing.T
	life time.Duration

	mu       sync.Mutex
	asked    int
	auths    int
	refusing bool
	failing  error
	expired  int                    // connections closed because their token expired
	sessions map[int]*issuedSession // by the ID of the connection
}

func newIssuer(t *testing.T, life time.Duration) *issuer {
	s := &issuer{t: t, life: life, sessions: map[int]*issuedSession{}}
	s.Server = fakeserver.Start(t, fakeserver.Config{Memory: true, Answer: s.answer, Closed: s.closed})
	return s
}

// credentials is the credentials provider.
func (s *issuer) credentials(ctx context.Context) (respool.Credentials, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.failing != nil {
		return respool.Credentials{}, s.failing
	}
	until := time.Now().Add(s.life)
	return respool.Credentials{Username: "app", Password: until.Format(time.RFC3339Nano), Expires: until}, nil
}

// options are the options of a client of this server.
func (s *issuer) options() respool.Options {
	return respool.Options{Addr: "issuer:6379", Dialer: s.Dial, Credentials: s.credentials, LingerLimit: time.Second}
}

// issuedSession is one connection.
type issuedSession struct {
	*fakeserver.Conn
	s     *issuer
	end   *time.Timer
	multi bool
}

func (s *issuer) answer(conn *fakeserver.Conn, args []string) (string, bool) {
	s.mu.Lock()
	c := s.sessions[conn.ID]
	if c == nil {
		c = &issuedSession{Conn: conn, s: s}
		s.sessions[conn.ID] = c
	}
	s.mu.Unlock()
	return c.answer(args), true
}

func (s *issuer) closed(conn *fakeserver.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.sessions[conn.ID]; c != nil && c.end != nil {
		c.end.Stop()
	}
}

func (c *issuedSession) answer(args []string) string {
	switch args[0] {
	case "HELLO":
		if args[1] == "2" {
			return "-ERR not here\r\n"
		}
		if refusal := c.login(args[4]); refusal != "" {
			return refusal
		}
		return "%1\r\n$7\r\nversion\r\n$5\r\n7.2.4\r\n"
	case "AUTH":
		c.alone()
		c.s.mu.Lock()
		c.s.auths++
		c.s.mu.Unlock()
		if refusal := c.login(args[len(args)-1]); refusal != "" {
			return refusal
		}
	case "PING":
		return "+PONG\r\n"
	case "ECHO":
		return fakeserver.Bulk(args[1])
	case "SUBSCRIBE":
		return fmt.Sprintf(">3\r\n$9\r\nsubscribe\r\n$%d\r\n%s\r\n:1\r\n", len(args[1]), args[1])
	case "BLPOP":
		c.Flush()
		time.Sleep(2 * time.Minute)
		return "_\r\n"
	case "MULTI":
		c.multi = true
	case "EXEC":
		c.multi = false
		return "*0\r\n"
	default:
		if c.multi {
			return "+QUEUED\r\n"
		}
	}
	return "+OK\r\n"
}

// alone fails the test if the client sends anything between an AUTH and its reply.
func (c *issuedSession) alone() {
	if c.multi {
		c.s.t.Error("AUTH inside MULTI")
	}
	if b := c.NextWithin(time.Millisecond); b != nil {
		c.s.t.Errorf("%q arrived after an AUTH, before its reply", b)
	}
}

func (c *issuedSession) login(token string) (refusal string) {
	until, err := time.Parse(time.RFC3339Nano, token)
	c.s.mu.Lock()
	refusing := c.s.refusing
	c.s.mu.Unlock()
	if err != nil || !time.Now().Before(until) || refusing {
		return fakeserver.WrongPass
	}
	if c.end != nil {
		c.end.Stop()
	}
	c.end = time.AfterFunc(time.Until(until), func() {
		c.s.mu.Lock()
		c.s.expired++
		c.s.mu.Unlock()
		c.Cut()
	})
	return ""
}

func (s *issuer) figures() (asked, auths, expired, dials int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.auths, s.expired, s.Accepted()
}

// with changes the server or the provider.
func (s *issuer) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// reports records the events of renewals.
type reports struct {
	mu     sync.Mutex
	events []respool.Event
}

func (r *reports) take(e respool.Event) {
	if e.Kind == respool.EventRenewalFailed || e.Kind == respool.EventCredentialsRenewed {
		r.mu.Lock()
		r.events = append(r.events, e)
		r.mu.Unlock()
	}
}

func (r *reports) count(kind respool.EventKind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// inBubble runs a test on the fake clock with a client of an issuer, and closes the client.
func inBubble(t *testing.T, change func(*respool.Options), test func(t *testing.T, s *issuer, c *respool.Client)) {
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t, 15*time.Minute)
		opt := s.options()
		change(&opt)
		c, err := respool.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		test(t, s, c)
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestTokensAreRenewedWithoutABreak(t *testing.T) {
	for _, limit := range []int{1, 8} {
		t.Run(fmt.Sprintf("%d connections", limit), func(t *testing.T) {
			var seen reports
			inBubble(t, func(o *respool.Options) {
				o.MaxConnections, o.OnEvent, o.IdleTimeout = limit, seen.take, respool.Never
				o.MinIdle = min(2, limit-1)
			}, func(t *testing.T, s *issuer, c *respool.Client) {
				ctx := context.Background()
				if err := c.Warm(ctx); err != nil {
					t.Fatal(err)
				}
				var sub *respool.Subscription
				var held *respool.Conn
				if limit > 1 {
					var err error
					if sub, err = c.Subscribe(ctx, "news"); err != nil {
						t.Fatal(err)
					}
					if held, err = c.Acquire(ctx); err != nil {
						t.Fatal(err)
					}
				}
				end := time.Now().Add(2 * time.Hour)
				var callers sync.WaitGroup
				for range 4 {
					callers.Go(func() {
						for time.Now().Before(end) {
							if err := c.Do(ctx, "GET", "k").Err(); err != nil {
								t.Errorf("after %v: %v", 2*time.Hour-time.Until(end), err)
								return
							}
							time.Sleep(time.Second)
						}
					})
				}
				callers.Wait()
				asked, auths, expired, dials := s.figures()
				if expired > 0 || dials > limit {
					t.Errorf("%d connections were closed for an expired token, and %d dialed: want none, and %d at most", expired, dials, limit)
				}
				// Each connection renews every 11.25 to 12 minutes.
				if renewed := asked - dials; renewed < 10 || renewed > 11 || auths != renewed*dials {
					t.Errorf("%d renewals with %d AUTH on %d connections: want 10 or 11, and one on each", renewed, auths, dials)
				}
				st := c.Stats()
				if st.Renewals != uint64(auths) || st.RenewalFailures != 0 || st.LastRenewalError != nil {
					t.Errorf("stats: %d renewals, %d failures, last %v", st.Renewals, st.RenewalFailures, st.LastRenewalError)
				}
				if n := seen.count(respool.EventCredentialsRenewed); n != asked-dials {
					t.Errorf("%d events for %d renewals", n, asked-dials)
				}
				if held != nil {
					if err := held.Do(ctx, "GET", "k").Err(); err != nil {
						t.Error(err)
					}
					held.Release()
					sub.Close()
				}
			})
		})
	}
}

// A connection authenticates after its transaction, and between its blocking commands.
func TestBusyConnectionsAreRenewedBetweenTheirCommands(t *testing.T) {
	inBubble(t, func(o *respool.Options) {
		dedicated(o)
		o.IdleTimeout = respool.Never
	}, func(t *testing.T, s *issuer, c *respool.Client) {
		ctx := context.Background()
		var holders sync.WaitGroup
		holders.Go(func() { // always blocks, on leased connections
			for range 40 {
				if err := c.Do(ctx, "BLPOP", "list", 200).Err(); err != nil && !errors.Is(err, respool.ErrNil) {
					t.Errorf("BLPOP: %v", err)
				}
			}
		})
		holders.Go(func() { // the same, on a held connection
			conn, err := c.Acquire(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Release()
			for range 40 {
				if err := conn.Do(ctx, "BLPOP", "list", 200).Err(); err != nil && !errors.Is(err, respool.ErrNil) {
					t.Errorf("BLPOP on a held connection: %v", err)
				}
			}
		})
		holders.Go(func() { // transactions of 2 minutes
			conn, err := c.Acquire(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Release()
			for range 30 {
				for _, name := range []string{"MULTI", "SET", "SET", "EXEC"} {
					if err := conn.Do(ctx, name, "k", "v").Err(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					time.Sleep(40 * time.Second)
				}
			}
		})
		holders.Wait()
		if _, auths, expired, _ := s.figures(); expired > 0 || auths < 12 {
			t.Errorf("%d connections were closed for an expired token, %d AUTH: want none, and one every 12 minutes on each", expired, auths)
		}
	})
}

func TestNoAuthInsideATransaction(t *testing.T) {
	inBubble(t, func(o *respool.Options) {}, func(t *testing.T, s *issuer, c *respool.Client) {
		conn, err := c.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Do(context.Background(), "MULTI").Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(14 * time.Minute)
		if _, auths, _, _ := s.figures(); auths != 0 {
			t.Errorf("%d AUTH while the only connection is in a transaction", auths)
		}
		if c.Stats().LastRenewalError == nil {
			t.Error("nothing reports that a connection could not authenticate again")
		}
		if err := conn.Do(context.Background(), "EXEC").Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Second) // the token expires in a second
		if _, auths, expired, _ := s.figures(); auths != 1 || expired != 0 {
			t.Errorf("%d AUTH after EXEC, %d connections closed: want 1, and none", auths, expired)
		}
		conn.Release()
	})
}

// While the server refuses the new token, connections stay open. The client replaces them after their tokens have expired.
func TestRefusedRenewals(t *testing.T) {
	var seen reports
	inBubble(t, func(o *respool.Options) { o.OnEvent = seen.take }, func(t *testing.T, s *issuer, c *respool.Client) {
		ctx := context.Background()
		get := func(moment string) {
			t.Helper()
			if err := c.Do(ctx, "GET", "k").Err(); err != nil {
				t.Errorf("%s: %v", moment, err)
			}
		}
		get("at first")
		s.with(func() { s.refusing = true })
		time.Sleep(14 * time.Minute)
		get("while the new token is refused")
		st := c.Stats()
		if st.Renewals != 0 || st.RenewalFailures < 5 || st.RenewalFailures > 15 || st.Dials != 1 {
			t.Errorf("%d renewals, %d failures, %d dials: want none, some in 2 minutes, and 1", st.Renewals, st.RenewalFailures, st.Dials)
		}
		wantWords(t, st.LastRenewalError, "WRONGPASS", "issuer:6379", "authenticate again")
		if n := seen.count(respool.EventRenewalFailed); n != int(st.RenewalFailures) {
			t.Errorf("%d events for %d failures", n, st.RenewalFailures)
		}
		s.with(func() { s.refusing = false })
		time.Sleep(time.Minute)
		get("behind the end of the first token")
		if st := c.Stats(); st.Renewals != 1 || st.LastRenewalError != nil || st.Dials != 1 {
			t.Errorf("%d renewals, last error %v, %d dials: want 1, none, 1", st.Renewals, st.LastRenewalError, st.Dials)
		}
	})
}

// A failing provider costs no connection before the server closes it.
func TestAFailedProviderIsCalledAgain(t *testing.T) {
	var seen reports
	inBubble(t, func(o *respool.Options) { o.OnEvent = seen.take }, func(t *testing.T, s *issuer, c *respool.Client) {
		ctx := context.Background()
		broken := errors.New("the vault is closed")
		if err := c.Do(ctx, "GET", "k").Err(); err != nil {
			t.Fatal(err)
		}
		s.with(func() { s.failing = broken })
		time.Sleep(14 * time.Minute)
		if err := c.Do(ctx, "GET", "k").Err(); err != nil {
			t.Errorf("the connection broke: %v", err)
		}
		if err := c.Stats().LastRenewalError; !errors.Is(err, broken) {
			t.Errorf("got %v, want the provider's error", err)
		}
		asked, _, _, _ := s.figures()
		if asked < 5 || asked > 20 {
			t.Errorf("the provider was called %d times in 14 minutes", asked)
		}
		s.with(func() { s.failing = nil })
		time.Sleep(2 * time.Minute)
		if err := c.Do(ctx, "GET", "k").Err(); err != nil {
			t.Errorf("the connection broke: %v", err)
		}
		if _, auths, expired, dials := s.figures(); auths != 1 || expired != 0 || dials != 1 {
			t.Errorf("%d AUTH, %d expired, %d dials: want 1, none, 1", auths, expired, dials)
		}
	})
}

// A provider may return cached credentials until they expire. The client calls it at shrinking intervals, never in a loop.
func TestAProviderWithACache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(t, time.Hour)
		var mu sync.Mutex
		var kept respool.Credentials
		asked := 0
		opt := s.options()
		opt.Credentials = func(ctx context.Context) (respool.Credentials, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			if time.Until(kept.Expires) < 5*time.Minute {
				kept, _ = s.credentials(ctx)
			}
			return kept, nil
		}
		c, err := respool.New(opt)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 * 60 {
			if err := c.Do(context.Background(), "GET", "k").Err(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if _, auths, expired, dials := s.figures(); auths < 4 || expired > 0 || dials != 1 || asked > 20 {
			t.Errorf("%d AUTH, %d expired, %d dials, asked %d times: want 5 AUTH in 5 hours on one connection", auths, expired, dials, asked)
		}
		if err := c.Stats().LastRenewalError; err != nil {
			t.Error(err)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestCredentialsPrintWithoutThePassword(t *testing.T) {
	c := respool.Credentials{Username: "app", Password: "s3cret", Expires: time.Unix(1e9, 0).UTC()}
	text, _ := c.MarshalText()
	shown := []string{c.String(), c.GoString(), c.LogValue().String(), string(text)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c), fmt.Sprintf(verb, []respool.Credentials{c}))
	}
	if i := slices.IndexFunc(shown, func(s string) bool {
		return strings.Contains(s, "s3cret") || strings.Contains(s, fmt.Sprintf("%x", "s3cret"))
	}); i >= 0 {
		t.Errorf("the password is in %s", shown[i])
	}
	if want := `respool.Credentials{user "app", until 2001-09-09T01:46:40Z}`; c.String() != want {
		t.Errorf("got %s, want %s", c, want)
	}
}
