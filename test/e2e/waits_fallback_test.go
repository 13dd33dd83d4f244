package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// refusals counts the events that say why blocking commands hold connections.
type refusals struct {
	mu    sync.Mutex
	texts []string
}

func (r *refusals) on(e respool.Event) {
	if e.Kind == respool.EventBlockingDedicated {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.texts = append(r.texts, e.Err.Error())
	}
}

func (r *refusals) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.texts...)
}

// If the server does not report changes of keys, blocking commands wait on dedicated connections, and the client says
// why.
func TestBlockingCommandsOfUsersWhoMayNotTrack(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{
		"notracking on >pw ~* &* +@all -client", "noexists on >pw ~* &* +@all -exists",
	}})
	if s.Version().Since(7, 0) {
		s.Do("ACL", "SETUSER", "notracking", "+client", "-client|tracking")
	}
	for user, reason := range map[string]string{"notracking": "CLIENT TRACKING", "noexists": "EXISTS"} {
		t.Run(user, func(t *testing.T) {
			var told refusals
			c := newClient(t, s, func(o *respool.Options) {
				o.Username, o.Password, o.OnEvent, o.ClientName = user, "pw", told.on, ""
			})
			for n := range 2 {
				key := fmt.Sprintf("%s%d", user, n)
				popped := make(chan respool.Reply, 1)
				go func() { popped <- c.Do(context.Background(), "BLPOP", key, 0) }()
				blocked(t, s, 1)
				mustDo(t, c, "RPUSH", key, "element")
				wantPopped(t, <-popped, key, "element")
			}
			if err := c.Stats().Blocking.Refusal; err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("Stats().Blocking.Refusal is %v: want one with %q", err, reason)
			}
			if all := told.all(); len(all) != 1 || !strings.Contains(all[0], reason) {
				t.Errorf("events say %q: want one with %q", all, reason)
			}
		})
	}
}

// A server before 6.0 has neither HELLO nor CLIENT TRACKING.
func TestBlockingCommandsWithAServerWithoutTracking(t *testing.T) {
	var blocking atomic.Int64
	f := startFake(t, func(args []string) string {
		switch args[0] {
		case "LPOP":
			return "$-1\r\n"
		case "BLPOP":
			blocking.Add(1)
			return "*2\r\n$1\r\nq\r\n$7\r\nelement\r\n"
		case "CLIENT":
			if args[1] == "TRACKING" {
				return "-ERR Unknown subcommand or wrong number of arguments for 'TRACKING'. Try CLIENT HELP\r\n"
			}
		case "EXISTS":
			return ":0\r\n"
		}
		return welcome(args)
	})
	var told refusals
	c := newFakeClient(t, f, func(o *respool.Options) { o.Protocol, o.OnEvent = 0, told.on })
	for range 3 {
		wantPopped(t, c.Do(bounded(t), "BLPOP", "q", 0), "q", "element")
	}
	if blocking.Load() != 3 || c.Stats().Blocking.Refusal == nil || len(told.all()) != 1 {
		t.Errorf("%d BLPOPs arrived, %v, events %q", blocking.Load(), c.Stats().Blocking.Refusal, told.all())
	}
}

// If the notifications do not arrive, the client looks at each key within 15 s.
func TestElementsAreFoundWithoutNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, late = 50, 15 * time.Second
		var mu sync.Mutex
		lists := map[string]bool{}
		f := fakeserver.Start(t, fakeserver.Config{Memory: true, Answer: func(c *fakeserver.Conn, args []string) (string, bool) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case args[0] == "CLIENT" && args[1] == "TRACKING":
				return "+OK\r\n", true
			case args[0] == "EXISTS":
				return ":0\r\n", true
			case args[0] == "LPOP" && lists[args[1]]:
				return "$7\r\nelement\r\n", true
			case args[0] == "LPOP":
				return c.Nil(), true
			}
			return "", false
		}})
		c, err := respool.New(respool.Options{Addr: "memory:1", Dialer: f.Dial})
		if err != nil {
			t.Fatal(err)
		}
		pushed := make([]time.Time, keys)
		took := make([]time.Duration, keys)
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() {
				key := fmt.Sprint("q", i)
				wantPopped(t, c.Do(ctx, "BLPOP", key, 0), key, "element")
				mu.Lock()
				defer mu.Unlock()
				took[i] = time.Since(pushed[i])
			})
		}
		for i := range keys {
			time.Sleep(937 * time.Millisecond)
			mu.Lock()
			pushed[i] = time.Now()
			lists[fmt.Sprint("q", i)] = true
			mu.Unlock()
		}
		wg.Wait()
		for i, d := range took {
			if d > late {
				t.Errorf("the element of key %d was found after %v: want %v at most", i, d, late)
			}
		}
		if n := c.Stats().Blocking.Invalidations; n != 0 {
			t.Errorf("%d notifications arrived", n)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		f.Close()
	})
}

// A wait continues on the new primary, with the rest of its timeout.
func TestWaitsContinueAfterAFailover(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	opt := serviceOptions(t, set)
	opt.MaxConnections = 3
	c := openClient(t, opt)
	const n = 50
	replies := make([]chan respool.Reply, n)
	wait := func(args ...any) chan respool.Reply {
		reply := make(chan respool.Reply, 1)
		go func() { reply <- c.Do(context.Background(), args...) }()
		return reply
	}
	for i := range replies {
		replies[i] = wait("BLPOP", fmt.Sprint("q", i), 0)
	}
	const timeout = 4 * time.Second
	began := time.Now()
	timed := wait("BLPOP", "empty", timeout.Seconds())
	parked(t, c, n+1)

	old := set.Failover()
	testkit.Within(t, failoverLimit, "the client uses another primary", func() bool {
		st := c.Stats()
		now := set.NodeAt(st.Addr)
		return st.Service.Known && now != nil && now != old
	})
	r := <-timed
	if !r.IsNil() || time.Since(began) < timeout {
		t.Errorf("a wait of %v ended after %v with %v", timeout, time.Since(began), r)
	}
	for i, reply := range replies {
		select {
		case r := <-reply:
			t.Fatalf("a wait ended at the failover: %v", r)
		default:
		}
		key := fmt.Sprint("q", i)
		testkit.Within(t, failoverLimit, "a push succeeds", func() bool { return c.Do(bounded(t), "RPUSH", key, "element").Err() == nil })
		wantPopped(t, <-reply, key, "element")
	}
	if st := c.Stats().Blocking.Commands["BLPOP"]; st.Failed != 0 || st.Lost != 0 {
		t.Errorf("after the failover: %+v", st)
	}
}
