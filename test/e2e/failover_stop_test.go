package e2e_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The old primary stalls until the sentinels fail over, and then continues as a primary. No command that begins after the
// failover may reach it.
func TestStoppedPrimaryGetsNoWriteAfterTheSwitch(t *testing.T) {
	tr := newTrial(t, redistest.SentinelConfig{}, func(o *respool.Options) {
		o.SocketTimeout = failoverLimit // reads in flight on the stalled primary end with the failover, however long it takes
	})
	tr.work(60, 40)
	var tagged sync.Mutex
	tag := ""
	for range 100 {
		tr.each(&tr.writes, func(int) error {
			tagged.Lock()
			value := tag
			tagged.Unlock()
			if value == "" {
				value = "before"
			}
			err := tr.client.Do(tr.ctx, "SET", "tagged", value).Err()
			if ce := (*respool.ConnError)(nil); errors.As(err, &ce) && ce.Sent {
				return nil
			}
			return err
		})
	}
	for range *failovers {
		tr.set.WaitHealthy(t, failoverLimit)
		tr.goesOn()
		old := tr.set.Primary()
		seen := old.Monitor(t)
		old.Pause()
		now := tr.moved(old)
		tagged.Lock()
		tag = "after " + time.Now().Format(time.RFC3339Nano)
		mark := tag
		tagged.Unlock()
		tr.goesOn()
		old.Resume()
		tr.set.WaitHealthy(t, failoverLimit) // the sentinels demote the old primary
		tr.goesOn()
		lines := seen.Stop()
		replicated := "[0 " + now.Addr() + "]" // the replication stream of the new primary
		before := 0
		for _, line := range lines {
			if strings.Contains(line, `"SET" "tagged"`) && !strings.Contains(line, replicated) {
				if before++; strings.Contains(line, mark) {
					t.Errorf("the old primary executed %s", line)
				}
			}
		}
		if before == 0 {
			t.Error("the old primary executed no write at all: this shows nothing")
		}
	}
	tr.check()
}

// The network cuts off the primary and one sentinel for a time.
func TestPrimaryCutOff(t *testing.T) {
	relays := map[string]*faultnet.Relay{}
	via := func(target string) string {
		r := faultnet.Start(t, target)
		relays[r.Addr()] = r
		return r.Addr()
	}
	cut := func(addr string, on bool) {
		relays[addr].Refuse(on)
		if on {
			relays[addr].CutAll()
		}
	}
	var sentinel *faultnet.Relay
	tr := newTrial(t, redistest.SentinelConfig{Via: via}, func(o *respool.Options) {
		sentinel = faultnet.Start(t, o.Sentinel.Addrs[0])
		direct := o.Sentinel.Addrs[0]
		o.Sentinel.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == direct {
				addr = sentinel.Addr()
			}
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		}
		o.LingerLimit = time.Second
	})
	tr.work(120, 80)
	old := tr.set.Primary()
	sentinel.Refuse(true)
	sentinel.CutAll()
	cut(tr.set.AddrOf(old), true)
	tr.moved(old)
	tr.goesOn()
	cut(tr.set.AddrOf(old), false)
	sentinel.Refuse(false)
	tr.set.WaitHealthy(t, failoverLimit)
	tr.goesOn()
	tr.check()
}

// Uses of dedicated connections while the node loses its role.
func TestDedicatedConnectionsToTheOldPrimary(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	opt := serviceOptions(t, set)
	opt.WaitTimeout, opt.SocketTimeout, opt.Blocking = failoverLimit, failoverLimit, respool.BlockingDedicated
	c := openClient(t, opt)
	ctx := bounded(t)
	mustDo(t, c, "SET", "k", "v")

	blocked := make(chan error, 1)
	go func() { blocked <- c.Do(ctx, "BLPOP", "list", 0).Err() }()
	sub, err := c.Subscribe(ctx, "channel")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	conn, err := c.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if err := conn.Do(ctx, "WATCH", "k").Err(); err != nil {
		t.Fatal(err)
	}
	old := set.Primary()
	testkit.Eventually(t, "one client is blocked", func() bool { return len(blockedClients(old)) == 1 })
	old.Pause() // commands sent now stay in flight
	pipelined := make(chan error, 1)
	go func() {
		_, err := c.Pipeline().Do("INCR", "n").Do("INCR", "n").Exec(ctx)
		pipelined <- err
	}()
	read := make(chan error, 1)
	go func() {
		_, err := c.Pipeline().Do("GET", "k").Do("GET", "k").Exec(ctx)
		read <- err
	}()
	set.WaitPrimary(t, old, failoverLimit)

	wantConnError(t, <-blocked, true)
	wantConnError(t, <-pipelined, true)
	if err := <-read; err != nil {
		t.Errorf("a pipeline that reads got %v", err)
	}
	err = conn.Do(ctx, "GET", "k").Err()
	wantConnError(t, err, false)
	wantWords(t, err, "not used any more")

	// The subscription continues on the new primary and reports the gap.
	m, err := sub.Receive(ctx)
	if err != nil || m.Gap == nil || m.Gap.Cause != respool.GapReconnected {
		t.Errorf("got %+v, %v: want a gap", m, err)
	}
	mustDo(t, c, "PUBLISH", "channel", "hello")
	if m, err = sub.Receive(ctx); err != nil || m.Payload != "hello" {
		t.Errorf("got %+v, %v", m, err)
	}
	mustDo(t, c, "SET", "k", "w")
	old.Resume()
}

// The server ends a blocked command when it loses its role. The command had no effect, so the client sends it to the new
// primary.
func TestABlockedCommandMovesWhenItsServerIsDemoted(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	opt := serviceOptions(t, set, "drain_limit=60s")
	opt.WaitTimeout, opt.Blocking = failoverLimit, respool.BlockingDedicated
	c := openClient(t, opt)
	ctx := bounded(t)
	if err := c.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	got := make(chan []string, 1)
	go func() {
		r := c.Do(ctx, "BLPOP", "list", 0)
		list, err := r.Texts()
		if err != nil {
			t.Errorf("BLPOP: %v", err)
		}
		got <- list
	}()
	old := set.Primary()
	testkit.Eventually(t, "one client is blocked", func() bool { return len(blockedClients(old)) == 1 })
	// An operator demotes the primary and kills no clients.
	old.Do("CONFIG", "SET", "replica-read-only", "yes")
	other := set.Replicas()[0]
	host, port, _ := strings.Cut(other.Addr(), ":")
	old.Do("REPLICAOF", host, port)
	if !old.Version().Since(7, 0) { // the sentinels of 6.2 detect the demotion after 20 s
		set.Sentinels[0].Do("SENTINEL", "FAILOVER", set.Name())
	}
	set.WaitHealthy(t, failoverLimit)
	mustDo(t, c, "RPUSH", "list", "element")
	if list := <-got; !slices.Equal(list, []string{"list", "element"}) {
		t.Errorf("got %q", list)
	}
}

// blockedClients are the clients in a blocking command.
func blockedClients(s *redistest.Server) []map[string]string {
	return slices.DeleteFunc(clients(s, "respool"), func(f map[string]string) bool { return !strings.Contains(f["flags"], "b") })
}

// delaying dials addr through a relay that delays every byte by d.
func delaying(t *testing.T, addr string, d time.Duration) func(context.Context, string, string) (net.Conn, error) {
	relay := faultnet.Start(t, addr)
	relay.Delay(d, 0)
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		if to == addr {
			to = relay.Addr()
		}
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, to)
	}
}
