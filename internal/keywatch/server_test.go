package keywatch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestEachKindOfChangeNotifies(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	for name, change := range map[string]func(){
		"RPUSH":            func() { srv.Do("RPUSH", "k", "x") },
		"DEL":              func() { srv.Do("SET", "k", "x"); srv.Do("DEL", "k") },
		"XADD":             func() { srv.Do("XADD", "k", "*", "f", "v") },
		"ZADD":             func() { srv.Do("ZINCRBY", "k", "1", "m") },
		"RENAME":           func() { srv.Do("SET", "other", "x"); srv.Do("RENAME", "other", "k") },
		"LMOVE":            func() { srv.Do("RPUSH", "l", "x"); srv.Do("LMOVE", "l", "k", "LEFT", "LEFT") },
		"MULTI":            func() { srv.Do("MULTI"); srv.Do("RPUSH", "k", "x"); srv.Do("EXEC") },
		"script":           func() { srv.Do("EVAL", "return redis.call('RPUSH', KEYS[1], 'x')", "1", "k") },
		"expiry":           func() { srv.Do("SET", "k", "x", "PX", "1") },
		"FLUSHALL":         func() { srv.Do("FLUSHALL") },
		"FLUSHDB":          func() { srv.Do("FLUSHDB") },
		"another database": func() { srv.Do("SELECT", "1"); srv.Do("SET", "k", "x"); srv.Do("SELECT", "0") },
	} {
		t.Run(name, func(t *testing.T) {
			srv.Do("DEL", "k", "l", "other")
			r := newRecorder()
			x := b.mustWatch(t, r, "k")
			defer x.Stop()
			r.more(t, "k", 0)
			change()
			n := r.more(t, "k", 1)
			n = max(n, b.quiet(t, r, "k"))
			change()
			r.more(t, "k", n)
		})
	}
}

func TestAnExpiredKeyNotifiesOnceMore(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	srv.Do("SET", "k", "x", "PX", "200")
	n := r.more(t, "k", 1)
	testkit.Await(t, "EXISTS k", func() string { return srv.Do("EXISTS", "k") }, testkit.Is("0"))
	r.more(t, "k", n)
}

func TestAFurtherWatchOfATrackedKeyIsNotified(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	first, second := newRecorder(), newRecorder()
	b.mustWatch(t, first, "k")
	first.more(t, "k", 0)
	b.quiet(t, first, "k")
	b.mustWatch(t, second, "k")
	second.more(t, "k", 0)
	if n := first.of("k"); n != 1 {
		t.Errorf("the first watch has %d notifications: want 1", n)
	}
	srv.Do("SET", "k", "x")
	first.more(t, "k", 1)
	second.more(t, "k", 1)
}

func TestSwapDBIsFoundByTheLastResort(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{LastResort: 200 * time.Millisecond})
	r := newRecorder()
	b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	srv.Do("SELECT", "1")
	srv.Do("SET", "k", "x")
	srv.Do("SELECT", "0")
	testkit.Await(t, "Stats.Invalidations", func() uint64 { return b.Stats().Invalidations }, testkit.AtLeast(uint64(1)))
	n := b.quiet(t, r, "k")
	pushes := b.Stats().Invalidations
	srv.Do("SWAPDB", "0", "1")
	r.more(t, "k", n)
	if s := b.Stats(); s.LastResort == 0 || s.Invalidations != pushes {
		t.Errorf("%d last-resort notifications, %d invalidations: want some, and %d", s.LastResort, s.Invalidations, pushes)
	}
}

func TestTheServersTableOverflows(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{Args: []string{"--tracking-table-max-keys", "20"}})
	b := start(t, srv, Config{})
	r := newRecorder()
	const n = 100
	for i := range n {
		b.mustWatch(t, r, fmt.Sprint("k", i))
	}
	for i := range n {
		key := fmt.Sprint("k", i)
		r.more(t, key, 0)
		srv.Do("SET", key, "x")
		r.more(t, key, r.of(key)) // each push is followed by an EXISTS and a notification
	}
	if s := b.Stats(); s.Invalidations <= n {
		t.Errorf("%d invalidations: want more than the %d changes", s.Invalidations, n)
	}
}

func TestManyKeysAreTrackedWithFewCommands(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	r := newRecorder()
	const n = 10_000
	for i := range n {
		b.mustWatch(t, r, fmt.Sprint("k", i))
	}
	for i := range n {
		r.more(t, fmt.Sprint("k", i), 0)
	}
	before := b.Stats().Exists
	srv.Do("FLUSHALL")
	for i := range n {
		r.more(t, fmt.Sprint("k", i), 1)
	}
	if commands := b.Stats().Exists - before; commands != n/mostKeys {
		t.Errorf("%d EXISTS after FLUSHALL: want %d", commands, n/mostKeys)
	}
	if clients := srv.ClientCount(); clients != 1 {
		t.Errorf("%d connections: want 1", clients)
	}
}

func TestAKilledConnectionIsReplaced(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	r := newRecorder()
	b.mustWatch(t, r, "k")
	n := r.more(t, "k", 0)
	for i := range 3 {
		srv.Do("CLIENT", "KILL", "TYPE", "normal")
		r.more(t, "k", n)
		testkit.Await(t, "Stats.Reconnects", func() uint64 { return b.Stats().Reconnects }, testkit.AtLeast(uint64(i+1)))
		n = b.quiet(t, r, "k")
		srv.Do("SET", "k", fmt.Sprint(i))
		n = r.more(t, "k", n)
	}
}

func TestARestartedServerIsTrackedAgain(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	r := newRecorder()
	b.mustWatch(t, r, "k")
	n := r.more(t, "k", 0)
	srv.Kill()
	testkit.Eventually(t, "an attempt to connect fails", func() bool { s := b.Stats(); return !s.Connected && s.LastError != nil })
	srv.Restart()
	n = r.more(t, "k", n)
	srv.Do("SET", "k", "x")
	r.more(t, "k", n)
}

func TestRenewReplacesTheConnection(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{})
	r := newRecorder()
	b.mustWatch(t, r, "k")
	n := r.more(t, "k", 0)
	b.Renew()
	n = r.more(t, "k", n)
	if s := b.Stats(); s.Reconnects != 1 {
		t.Errorf("%d reconnects: want 1", s.Reconnects)
	}
	srv.Do("SET", "k", "x")
	r.more(t, "k", n)
}

func TestAnUnusedConnectionReturnsCleanAfterTheLinger(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{Linger: time.Millisecond})
	r := newRecorder()
	b.mustWatch(t, r, "k").Stop()
	x := b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	x.Stop()
	x.Stop()
	b.waitConnected(t, false)
	testkit.Eventually(t, "the connection is idle", func() bool { s := b.pool.Stats(); return s.Subscribed == 0 && s.Idle == 1 })
	if list := srv.Do("CLIENT", "LIST"); strings.Contains(list, "flags=t") {
		t.Errorf("a connection still tracks keys: %s", list)
	}
	x = b.mustWatch(t, r, "k")
	r.more(t, "k", 1)
	x.Stop()
	if dials := b.pool.Stats().Dials; dials != 1 {
		t.Errorf("%d dials: want 1", dials)
	}
}

func TestAContendedConnectionReturnsAtOnce(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	var p *pool.Pool
	cfg := Config{Linger: long, Contended: func() bool { return p.Stats().Waiting > 0 }}
	b := newBench(t, wire.Config{Addr: srv.Addr()}, cfg, func(c *pool.Config) { c.Max = 2 })
	p = b.pool
	r := newRecorder()
	x := b.mustWatch(t, r, "k")
	r.more(t, "k", 0)
	x.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := p.Acquire(ctx)
	if err != nil {
		t.Fatalf("Acquire while the watcher lingers: %v", err)
	}
	c.Release()
	if b.Stats().Connected {
		t.Error("the watcher still holds a connection")
	}
}

func TestALingeringConnectionServesTheNextWatch(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := start(t, srv, Config{Linger: long})
	r := newRecorder()
	for i := range 50 {
		x := b.mustWatch(t, r, "k")
		r.more(t, "k", i)
		x.Stop()
	}
	if s := b.pool.Stats(); s.Dials != 1 || s.Subscribed != 1 || s.Waits > 1 {
		t.Errorf("%d dials, %d subscribed, %d waits: want one each", s.Dials, s.Subscribed, s.Waits)
	}
}

func TestAUserWithoutPermissionIsRefused(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{Users: []string{
		"notracking on >pw ~* +@all -client",
		"noexists on >pw ~* +@all -exists",
		"nokeys on >pw ~open* +@all",
	}})
	for user, op := range map[string]string{"notracking": "CLIENT TRACKING", "noexists": "EXISTS"} {
		t.Run(user, func(t *testing.T) {
			refusals := make(chan *RefusedError, 10)
			cfg := Config{OnRefusal: func(err *RefusedError) { refusals <- err }}
			b := newBench(t, wire.Config{Addr: srv.Addr(), Username: user, Password: "pw"}, cfg, nil)
			r := newRecorder()
			b.mustWatch(t, r, "k")
			wantRefusal(t, testkit.Await(t, "the end of the watch", func() error { return r.end("k") }, notNil), op, false)
			wantRefusal(t, <-refusals, op, false)
			_, err := b.Watch("k", r)
			wantRefusal(t, err, op, false)
			wantRefusal(t, b.Stats().Refusal, op, false)
			b.waitConnected(t, false)
			srv.Do("ACL", "SETUSER", user, "+@all")
			b.Renew()
			b.mustWatch(t, r, "k")
			r.more(t, "k", 0)
			if err := <-refusals; err != nil {
				t.Errorf("OnRefusal received %v: want nil", err)
			}
			if r.of("k") == 0 || b.Stats().Refusal != nil {
				t.Errorf("refusal %v: want none", b.Stats().Refusal)
			}
		})
	}
	t.Run("nokeys", func(t *testing.T) {
		b := newBench(t, wire.Config{Addr: srv.Addr(), Username: "nokeys", Password: "pw"}, Config{}, nil)
		r := newRecorder()
		for _, key := range []string{"open1", "k", "open2"} {
			b.mustWatch(t, r, key)
		}
		wantRefusal(t, testkit.Await(t, "the end of the watch", func() error { return r.end("k") }, notNil), "EXISTS", true)
		for _, key := range []string{"open1", "open2"} {
			n := r.more(t, key, 0)
			srv.Do("SET", key, "x")
			r.more(t, key, n)
		}
		if r.of("k") != 0 {
			t.Error("a key that the user may not read was notified")
		}
	})
}

func notNil(err error) bool { return err != nil }

func wantRefusal(t testing.TB, err error, op string, key bool) {
	t.Helper()
	var refused *RefusedError
	var se *resp.ServerError
	if !errors.As(err, &refused) || refused.Op != op || refused.Key != key || !errors.As(err, &se) || se.Code != "NOPERM" {
		t.Errorf("got %v: want a refusal of %s with NOPERM, of one key: %v", err, op, key)
	}
}

func TestRESP2CannotTrack(t *testing.T) {
	srv := redistest.Start(t, redistest.Config{})
	b := newBench(t, wire.Config{Addr: srv.Addr(), Protocol: 2}, Config{}, nil)
	r := newRecorder()
	b.mustWatch(t, r, "k")
	err := testkit.Await(t, "the end of the watch", func() error { return r.end("k") }, notNil)
	if !errors.Is(err, errRESP2) {
		t.Errorf("the watch ended with %v: want %v", err, errRESP2)
	}
	testkit.Eventually(t, "the connection is idle", func() bool { return b.pool.Stats().Idle == 1 })
}
