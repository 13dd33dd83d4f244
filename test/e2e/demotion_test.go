package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// demotion is a primary behind a name, and the server that will replace it. The name is a relay: open connections stay on their
// server, and new ones go to the target of the name.
type demotion struct {
	old, new *redistest.Server
	name     *faultnet.Relay
}

func newDemotion(t *testing.T, args ...string) *demotion {
	t.Helper()
	d := &demotion{old: redistest.Start(t, redistest.Config{Args: args}), new: redistest.Start(t, redistest.Config{})}
	d.name = faultnet.Start(t, d.old.Addr())
	return d
}

// client returns a client that knows only the name.
func (d *demotion) client(t *testing.T, change func(*respool.Options)) *respool.Client {
	t.Helper()
	opt := respool.Options{Addr: d.name.Addr(), ClientName: "named", WaitTimeout: patience}
	if change != nil {
		change(&opt)
	}
	return openClient(t, opt)
}

// demote makes the old primary a replica.
func (d *demotion) demote() {
	_, port, _ := strings.Cut(d.new.Addr(), ":")
	d.old.Do("REPLICAOF", "127.0.0.1", port)
}

// rejected is the number of commands that the old primary refused.
func (d *demotion) rejected() int {
	n := 0
	for line := range strings.Lines(d.old.Do("INFO", "commandstats")) {
		if _, count, ok := strings.Cut(line, "rejected_calls="); ok {
			count, _, _ = strings.Cut(count, ",")
			rejected, _ := strconv.Atoi(count)
			n += rejected
		}
	}
	return n
}

// Writers of all kinds wait while the name still points to the demoted primary. Then they continue on the new one.
func TestDemotedPrimary(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			t.Parallel()
			d := newDemotion(t)
			c := d.client(t, func(o *respool.Options) { o.Protocol, o.MaxConnections = protocol, 8 })
			ctx := bounded(t)
			script := respool.NewScript("return redis.call('incr',KEYS[1])")
			kinds := map[string]func() error{
				"Do": func() error { return c.Do(ctx, "INCR", "do").Err() },
				"Pipeline": func() error {
					replies, err := c.Pipeline().Do("INCR", "p").Do("INCR", "p").Exec(ctx)
					return errors.Join(err, anyErr(replies))
				},
				"Transaction": func() error {
					replies, err := c.Transaction().Do("INCR", "t").Do("GET", "t").Exec(ctx)
					return errors.Join(err, anyErr(replies))
				},
				"transaction with a script": func() error {
					replies, err := c.Transaction().Do("GET", "t").Do("EVAL", "return redis.call('incr',KEYS[1])", 1, "ts").Exec(ctx)
					return errors.Join(err, anyErr(replies))
				},
				"script": func() error { return script.Run(ctx, c, []string{"s"}).Err() },
				"DoTo": func() error {
					_, err := c.DoTo(ctx, &strings.Builder{}, "GETSET", "to", "x")
					if errors.Is(err, respool.ErrNil) {
						return nil
					}
					return err
				},
			}
			var wg sync.WaitGroup
			var stop atomic.Bool
			counts := map[string]*atomic.Int64{}
			for name, do := range kinds {
				done := &atomic.Int64{}
				counts[name] = done
				wg.Go(func() {
					for !stop.Load() {
						if err := do(); err != nil {
							t.Errorf("%s: %v", name, err)
							return
						}
						done.Add(1)
					}
				})
			}
			defer wg.Wait()
			defer stop.Store(true)
			popped := make(chan respool.Reply, 1)
			go func() { popped <- c.Do(ctx, "BLPOP", "q", 0) }()
			each := func(n int64) {
				t.Helper()
				before := map[string]int64{}
				for name, done := range counts {
					before[name] = done.Load()
				}
				for name, done := range counts {
					testkit.Eventually(t, name+" succeeds n more times", func() bool { return done.Load() >= before[name]+n || t.Failed() })
				}
			}
			each(20)
			parked(t, c, 1)
			d.demote()
			testkit.Await(t, "the old primary rejects commands", d.rejected, testkit.AtLeast(21))
			d.name.SetTarget(d.new.Addr())
			each(20)
			d.new.Do("RPUSH", "q", "a")
			if texts, err := (<-popped).Texts(); err != nil || len(texts) != 2 {
				t.Errorf("a blocked command got %q, %v", texts, err)
			}
			testkit.Eventually(t, "no connection to the old primary is left", func() bool { return len(clients(d.old, "named")) == 0 })
		})
	}
}

func anyErr(replies []respool.Reply) error {
	for _, r := range replies {
		if err := r.Err(); err != nil && !errors.Is(err, respool.ErrNil) {
			return err
		}
	}
	return nil
}

// The first transaction of a client also waits.
func TestFirstTransactionAtADemotedPrimary(t *testing.T) {
	d := newDemotion(t)
	c := d.client(t, nil)
	mustDo(t, c, "PING")
	d.demote()
	done := make(chan error, 1)
	go func() {
		_, err := c.Transaction().Do("SET", "k", "v").Exec(bounded(t))
		done <- err
	}()
	testkit.Await(t, "the old primary rejects a command", d.rejected, testkit.AtLeast(1))
	d.name.SetTarget(d.new.Addr())
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := d.new.Do("GET", "k"); got != "v" {
		t.Errorf("the new primary has %q", got)
	}
}

// Callers get the refusal when the wait timeout or the ctx ends. Until then the client dials, since the name may change.
func TestDemotedPrimaryThatStays(t *testing.T) {
	const waitTimeout = 1500 * time.Millisecond
	d := newDemotion(t)
	c := d.client(t, func(o *respool.Options) { o.WaitTimeout = waitTimeout })
	mustDo(t, c, "PING")
	d.demote()
	for name, refused := range map[string]func(ctx context.Context){
		"SET": func(ctx context.Context) { wantServerError(t, c.Do(ctx, "SET", "k", "v").Err(), "READONLY") },
		"EVAL": func(ctx context.Context) {
			wantScriptRefused(t, c.Do(ctx, "EVAL", "return redis.call('set','k','v')", 0).Err())
		},
	} {
		began := time.Now()
		refused(bounded(t))
		if took := time.Since(began); took < waitTimeout*3/4 {
			t.Errorf("%s was refused after %v: want about the wait timeout of %v", name, took, waitTimeout)
		}
	}
	conn := acquire(t, c)
	wantServerError(t, conn.Do(bounded(t), "SET", "k", "v").Err(), "READONLY")
	// The first lane, at least two lanes from the immediate redial and the redial a second later, and the held connection. Without
	// pauses there would be dozens of dials.
	if n := c.Stats().Dials; n < 4 || n > 12 {
		t.Errorf("%d dials: want those of two to four redials", n)
	}
}

// A refusal on a leased connection counts too: the client dials its next connection to the new target of the name.
func TestLeasedConnectionAtADemotedPrimary(t *testing.T) {
	d := newDemotion(t)
	c := d.client(t, nil)
	conn := acquire(t, c)
	wantText(t, conn.Do(bounded(t), "SET", "k", "v"), "OK")
	d.demote()
	d.name.SetTarget(d.new.Addr())
	wantServerError(t, conn.Do(bounded(t), "SET", "k", "v").Err(), "READONLY")
	conn.Release()
	wantText(t, acquire(t, c).Do(bounded(t), "SET", "k", "v"), "OK")
}

// A replica that has lost its primary and does not serve stale data also refuses reads.
func TestReplicaWithoutItsPrimary(t *testing.T) {
	d := newDemotion(t, "--replica-serve-stale-data", "no")
	c := d.client(t, nil)
	d.new.Do("SET", "k", "new")
	mustDo(t, c, "SET", "k", "old")
	d.old.Do("REPLICAOF", "127.0.0.1", "1")
	got := make(chan respool.Reply, 1)
	go func() { got <- c.Do(bounded(t), "GET", "k") }()
	testkit.Await(t, "the old primary rejects a command", d.rejected, testkit.AtLeast(1))
	d.name.SetTarget(d.new.Addr())
	wantText(t, <-got, "new")
}

// scriptsByThemselves are scripts that write and then return the error of a replica themselves.
var scriptsByThemselves = map[string]func(ctx context.Context, c *respool.Client) error{
	"EVAL": func(ctx context.Context, c *respool.Client) error { return c.Do(ctx, "EVAL", bySelf, 1, "n").Err() },
	"LOADING": func(ctx context.Context, c *respool.Client) error {
		return c.Do(ctx, "EVAL", strings.Replace(bySelf, "READONLY", "LOADING", 1), 1, "n").Err()
	},
	"MASTERDOWN": func(ctx context.Context, c *respool.Client) error {
		return c.Do(ctx, "EVAL", strings.Replace(bySelf, "READONLY", "MASTERDOWN", 1), 1, "n").Err()
	},
	"EVALSHA": func(ctx context.Context, c *respool.Client) error {
		return respool.NewScript(bySelf).Run(ctx, c, []string{"n"}).Err()
	},
	"FCALL": func(ctx context.Context, c *respool.Client) error {
		library := "#!lua name=own\nredis.register_function('own',function(KEYS) " + bySelf + " end)"
		if err := c.Do(ctx, "FUNCTION", "LOAD", "REPLACE", library).Err(); err != nil {
			return err
		}
		return c.Do(ctx, "FCALL", "own", 1, "n").Err()
	},
	"Pipeline": func(ctx context.Context, c *respool.Client) error {
		replies, err := c.Pipeline().Do("EVAL", bySelf, 1, "n").Exec(ctx)
		return errors.Join(err, anyErr(replies))
	},
	"Transaction": func(ctx context.Context, c *respool.Client) error {
		for range 2 { // the first one takes another path
			c.Do(ctx, "DEL", "n")
			replies, err := c.Transaction().Do("GET", "other").Do("EVAL", bySelf, 1, "n").Exec(ctx)
			if err = errors.Join(err, anyErr(replies)); err == nil || c.Do(ctx, "GET", "n").String() == "2" {
				return err
			}
		}
		return c.Do(ctx, "EVAL", "return redis.error_reply('READONLY')", 0).Err()
	},
}

const bySelf = "redis.call('incr',KEYS[1]) return redis.error_reply('READONLY by itself')"

// wantScriptRefused fails the test unless a write in a script was refused. Servers before 7.0 wrap that error.
func wantScriptRefused(t *testing.T, err error) {
	t.Helper()
	var se *respool.ServerError
	if !errors.As(err, &se) || se.Code != "READONLY" && !strings.Contains(se.Message, ": -READONLY ") {
		t.Errorf("got %v: want the server's READONLY", err)
	}
}

func runsOnce(t *testing.T, s *redistest.Server, c *respool.Client) {
	functions := s.Has("FCALL")
	for name, do := range scriptsByThemselves {
		ctx := bounded(t)
		mustDo(t, c, "DEL", "n")
		var se *respool.ServerError
		if err := do(ctx, c); !errors.As(err, &se) {
			t.Errorf("%s: got %v: want the script's error", name, err)
		}
		want := "1"
		if name == "FCALL" && !functions {
			want = "" // the command is unknown
		}
		if n := s.Do("GET", "n"); n != want {
			t.Errorf("%s: the key is %q: want %q", name, n, want)
		}
	}
}

func TestScriptsThatReturnREADONLYThemselvesRunOnce(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		s := redistest.Start(t, redistest.Config{})
		inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
			before := c.Stats().Dials
			runsOnce(t, s, c)
			if n := c.Stats().Dials; n > before+2 { // a lane and the connection of the first transaction
				t.Errorf("%d dials: the primary's connections were redialed", n)
			}
		})
	})
	t.Run("behind Sentinel", func(t *testing.T) {
		set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: 1})
		runsOnce(t, set.Primary(), openClient(t, serviceOptions(t, set)))
	})
}

// If the server does not report its role, it is unknown whether a script has written. The client returns the error.
func TestScriptsAreNotRepeatedIfTheRoleIsUnknown(t *testing.T) {
	const waitTimeout = 2 * time.Second // a repeated script would run many times
	t.Run("the user may not ask", func(t *testing.T) {
		old := redistest.Start(t, redistest.Config{Users: []string{"app on >pw ~* +@all -role"}})
		c := openClient(t, respool.Options{Addr: old.Addr(), Username: "app", Password: "pw", WaitTimeout: waitTimeout})
		mustDo(t, c, "PING")
		wantScriptRefused(t, c.Do(bounded(t), "EVAL", bySelf, 1, "n").Err())
		if n := old.Do("GET", "n"); n != "1" {
			t.Errorf("the script of a primary wrote %s times", n)
		}
		old.Do("REPLICAOF", "127.0.0.1", "1")
		wantScriptRefused(t, c.Do(bounded(t), "EVAL", "return redis.call('incr','n')", 0).Err())
		if n := calls(old, "eval"); n != 2 {
			t.Errorf("the two scripts ran %d times", n)
		}
	})
	for name, reply := range map[string]string{
		"it does not know ROLE":   "-ERR unknown command 'ROLE'\r\n",
		"its role is another one": "*1\r\n$8\r\nsentinel\r\n",
		"its role is nothing":     "*0\r\n",
		"its role is no array":    "+slave\r\n",
		"it closes":               "",
		"it is a replica":         "*1\r\n$5\r\nslave\r\n", // the only reply with a role
	} {
		t.Run(name, func(t *testing.T) {
			var scripts, questions atomic.Int64
			s := startFake(t, func(args []string) string {
				switch args[0] {
				case "EVAL":
					if scripts.Add(1) > 1 {
						return ":1\r\n"
					}
					return "-READONLY You can't write against a read only replica.\r\n"
				case "ROLE":
					questions.Add(1)
					return reply
				}
				return welcome(args)
			})
			c := openClient(t, respool.Options{Addr: s.Addr(), Protocol: 2, WaitTimeout: waitTimeout})
			err := c.Do(bounded(t), "EVAL", "return redis.call('incr','n')", 0).Err()
			want := int64(1)
			if name == "it is a replica" {
				want = 2
				if err != nil {
					t.Error(err)
				}
			} else {
				wantScriptRefused(t, err)
			}
			if scripts.Load() != want || questions.Load() != 1 {
				t.Errorf("the script ran %d times, with %d ROLE queries: want %d and once", scripts.Load(), questions.Load(), want)
			}
		})
	}
}
