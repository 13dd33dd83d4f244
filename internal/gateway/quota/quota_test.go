package quota

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// newUser returns a user with limits, as a gateway has it.
func newUser(l Limits) *User {
	var s Users
	s.Set(map[string]Limits{"app": l})
	return s.Get("app")
}

// run is what the clients of simulate did.
type run struct {
	took, refused []int // by client
	bytes         int64
}

// simulate lets clients take requests for a time. Each client always has another request.
func simulate(clients []*Client, start time.Time, d, most time.Duration, size func(i int) int) run {
	r := run{took: make([]int, len(clients)), refused: make([]int, len(clients))}
	next := make([]time.Time, len(clients))
	since := make([]time.Time, len(clients))
	for i := range next {
		next[i], since[i] = start, start
	}
	for {
		at := 0
		for i := range next {
			if next[i].Before(next[at]) {
				at = i
			}
		}
		now := next[at]
		if now.Sub(start) >= d {
			return r
		}
		c := clients[at]
		wait, _ := c.Admit(now, most)
		if wait > 0 {
			next[at] = now.Add(wait)
			continue
		}
		n := size(at)
		if c.Refusal() != "" {
			r.refused[at]++
			if now.Sub(since[at]) < most {
				panic("a request was refused before its time")
			}
		} else {
			r.took[at]++
			r.bytes += int64(n)
		}
		c.Took(n)
		next[at], since[at] = now.Add(100*time.Microsecond), now.Add(100*time.Microsecond)
	}
}

func sum(list []int) (n int) {
	for _, x := range list {
		n += x
	}
	return n
}

func TestAUserTakesAsManyCommandsAsItsRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.IntRange(100, 2000).Draw(t, "rate")
		u := newUser(Limits{Rate: Rate{Commands: rate}})
		start := time.Now()
		clients := make([]*Client, rapid.IntRange(1, 12).Draw(t, "clients"))
		for i := range clients {
			clients[i] = &Client{}
			clients[i].Limit(Rate{}, u, start)
		}
		most := time.Duration(rapid.IntRange(50, 3000).Draw(t, "most")) * time.Millisecond
		r := simulate(clients, start, 4*time.Second, most, func(int) int { return 30 })
		want := 4 * rate
		if got := sum(r.took); got < want*95/100 || got > want*105/100 {
			t.Errorf("%d commands in 4 s at %d per second: want %d, within 5%%", got, rate, want)
		}
		if sum(r.refused) > 0 {
			return
		}
		for i, n := range r.took { // they take turns
			if share := sum(r.took) / len(clients); n < share/2-1 || n > share*2+rate/10+1 {
				t.Errorf("client %d took %d commands: its share is %d", i, n, share)
			}
		}
	})
}

func TestBytesStayWithinTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Int64Range(10_000, 1e9).Draw(t, "rate")
		largest := int(rate / 50)
		u := newUser(Limits{Rate: Rate{Bytes: rate}})
		start := time.Now()
		clients := make([]*Client, rapid.IntRange(1, 8).Draw(t, "clients"))
		for i := range clients {
			clients[i] = &Client{}
			clients[i].Limit(Rate{}, u, start)
		}
		sizes := rapid.SliceOfN(rapid.IntRange(largest/10, largest), 16, 16).Draw(t, "sizes")
		n := 0
		r := simulate(clients, start, 4*time.Second, time.Minute, func(int) int { n++; return sizes[n%16] })
		if want := 4 * rate; r.bytes < want*95/100 || r.bytes > want*105/100 {
			t.Errorf("%d bytes in 4 s at %d per second", r.bytes, rate)
		}
	})
}

func TestAClientHasItsOwnRate(t *testing.T) {
	start := time.Now()
	slow, fast := &Client{}, &Client{}
	slow.Limit(Rate{Commands: 10}, nil, start)
	fast.Limit(Rate{Commands: 1000}, nil, start)
	r := simulate([]*Client{slow, fast}, start, 10*time.Second, time.Second, func(int) int { return 1 })
	if r.took[0] < 95 || r.took[0] > 105 || r.took[1] < 9500 || r.took[1] > 10_500 || sum(r.refused) > 0 {
		t.Errorf("%+v: want about 100 and 10,000 commands, and no refusal", r)
	}
}

// Each client waits for its whole time before a refusal, and the others still use the whole rate.
func TestClientsBeyondTheQueueAreRefused(t *testing.T) {
	u := newUser(Limits{Rate: Rate{Commands: 10}})
	start := time.Now()
	clients := make([]*Client, 100)
	for i := range clients {
		clients[i] = &Client{}
		clients[i].Limit(Rate{}, u, start)
	}
	r := simulate(clients, start, 10*time.Second, time.Second, func(int) int { return 1 })
	if got := sum(r.took); got < 95 || got > 105 {
		t.Errorf("%d commands: want about 100", got)
	}
	if got := sum(r.refused); got < 700 || got > 1000 {
		t.Errorf("%d refusals: want about 9 in 10 clients each second", got)
	}
	if s := u.Stats(); s.Refused != uint64(sum(r.refused)) || s.Waits == 0 {
		t.Errorf("%+v: want %d refusals", s, sum(r.refused))
	}
}

func TestAnotherRateAppliesAtOnce(t *testing.T) {
	now := time.Now()
	c := &Client{}
	c.Limit(Rate{Bytes: 1000}, nil, now)
	c.Admit(now, time.Minute)
	c.Took(11_100) // 100 were there
	if wait, began := c.Admit(now, time.Minute); wait != 11*time.Second || !began {
		t.Errorf("wait %v, began %v", wait, began)
	}
	c.Limit(Rate{Bytes: 2000}, nil, now)
	if wait, _ := c.Admit(now, time.Minute); wait != 5500*time.Millisecond {
		t.Errorf("wait %v after the rate doubled", wait)
	}
	c.Limit(Rate{}, nil, now)
	if wait, _ := c.Admit(now, time.Minute); wait != 0 {
		t.Errorf("wait %v without a limit", wait)
	}
}

func TestClientsOfAUserAreCounted(t *testing.T) {
	u := newUser(Limits{MaxClients: 2})
	for _, want := range []bool{true, true, false} {
		if got := u.Enter(); got != want {
			t.Fatalf("%v: want %v, for two clients", got, want)
		}
	}
	u.EnterBeyond()
	if !u.LeaveBeyond() || u.LeaveBeyond() {
		t.Error("want the third client to leave, and no other one")
	}
	u.Leave()
	if !u.Enter() {
		t.Error("a place is free")
	}
	if s := u.Stats(); s.Clients != 2 || s.Refused != 2 {
		t.Errorf("%+v", s)
	}
}

func TestConnectionsAreGrantedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Users
		s.Set(map[string]Limits{"app": {MaxConnections: 1}})
		u, ctx := s.Get("app"), t.Context()
		if err := u.Acquire(ctx, 0); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := u.Acquire(ctx, time.Second); !errors.Is(err, ErrOverLimit) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		order := make(chan int, 3)
		left, leave := context.WithCancel(ctx)
		for i := range 3 {
			waits := ctx
			if i == 1 {
				waits = left
			}
			go func() {
				if u.Acquire(waits, time.Minute) == nil {
					order <- i
				}
			}()
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		u.Release()
		synctest.Wait()
		if got := <-order; got != 0 || len(order) > 0 {
			t.Errorf("%d came first, and %d others", got, len(order))
		}
		s.Set(map[string]Limits{"app": {MaxConnections: 2}})
		synctest.Wait()
		if got := <-order; got != 2 {
			t.Errorf("%d came after the limit rose", got)
		}
		u.Release()
		u.Release()
		if got := u.Stats(); got.Connections != 0 || got.Refused != 1 {
			t.Errorf("%+v", got)
		}
	})
}
