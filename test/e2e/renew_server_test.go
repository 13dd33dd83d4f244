package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// expiring provides a password that expires soon, until change replaces it.
type expiring struct {
	user     string
	password atomic.Pointer[string]
	life     time.Duration
	asked    atomic.Int64
}

func (e *expiring) credentials(context.Context) (respool.Credentials, error) {
	e.asked.Add(1)
	c := respool.Credentials{Username: e.user, Password: "one", Expires: time.Now().Add(e.life)}
	if p := e.password.Load(); p != nil {
		c.Password, c.Expires = *p, time.Now().Add(time.Hour)
	}
	return c, nil
}

func (e *expiring) change(password string) { e.password.Store(&password) }

// ids are the connection IDs of the client on the server.
func ids(s *redistest.Server) []string {
	var all []string
	for _, fields := range clients(s, "stress") {
		all = append(all, fields["id"])
	}
	slices.Sort(all)
	return all
}

// Every open connection authenticates again and stays open: lanes, idle connections, a held one with WATCH, and the connection of
// the subscriptions. In RESP2 a subscribed connection cannot send AUTH: the subscriber gets another connection, and a gap.
func TestOpenConnectionsAuthenticateAgain(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			t.Parallel()
			renewStanding(t, protocol)
		})
	}
}

func renewStanding(t *testing.T, protocol int) {
	s := redistest.Start(t, redistest.Config{Users: []string{"alice on >one >two ~* &* +@all"}})
	e := &expiring{user: "alice", life: 6 * time.Second}
	c := newClient(t, s, func(o *respool.Options) {
		o.Protocol, o.MaxConnections, o.Lanes, o.MinIdle, o.Credentials = protocol, 6, 2, 2, e.credentials
	})
	ctx := bounded(t)
	if err := c.Warm(ctx); err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(ctx, "news")
	if err != nil {
		t.Fatal(err)
	}
	held := acquire(t, c)
	if err := held.Do(ctx, "WATCH", "key").Err(); err != nil {
		t.Fatal(err)
	}
	testkit.Await(t, "MinIdle connections are open again", func() []string { return ids(s) }, func(ids []string) bool { return len(ids) == 6 })
	before, dials := ids(s), c.Stats().Dials
	e.change("two")
	want := uint64(len(before))
	if protocol == 2 {
		want-- // the connection of the subscriber
	}
	testkit.Await(t, "every connection renews its credentials", c.Stats, func(s respool.Stats) bool { return s.Renewals >= want })
	s.Do("ACL", "SETUSER", "alice", "<one")
	if protocol == 2 {
		if m, err := sub.Receive(ctx); err != nil || m.Gap == nil {
			t.Errorf("got %v, %v: want a gap", m, err)
		}
	} else if after := ids(s); !slices.Equal(before, after) || c.Stats().Dials != dials {
		t.Errorf("the connections were %v and are %v", before, after)
	}
	s.Do("PUBLISH", "news", "flash")
	if m, err := sub.Receive(ctx); err != nil || m.Payload != "flash" {
		t.Errorf("got %v, %v: want the message", m, err)
	}
	s.Do("SET", "key", "changed")
	if err := held.Do(ctx, "MULTI").Err(); err != nil {
		t.Error(err)
	}
	if r := held.Do(ctx, "EXEC"); !r.IsNil() {
		t.Errorf("EXEC returned %v: AUTH has ended WATCH", r.Err())
	}
	wantText(t, mustDo(t, c, "ACL", "WHOAMI"), "alice")
	if st := c.Stats(); st.RenewalFailures != 0 || st.LastRenewalError != nil {
		t.Errorf("%d failures, last %v", st.RenewalFailures, st.LastRenewalError)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

// A held connection that has authenticated as another user keeps this user.
func TestARenewalLeavesOtherUsersAlone(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"alice on >one >two ~* &* +@all", "bob on >bobs ~* &* +@all"}})
	e := &expiring{user: "alice", life: 4 * time.Second}
	c := newClient(t, s, func(o *respool.Options) { o.Credentials = e.credentials })
	held := acquire(t, c)
	if err := held.Do(bounded(t), "AUTH", "bob", "bobs").Err(); err != nil {
		t.Fatal(err)
	}
	mustDo(t, c, "PING") // on another connection
	e.change("two")
	testkit.Await(t, "one renewal succeeds and one fails", c.Stats, func(s respool.Stats) bool { return s.Renewals == 1 && s.RenewalFailures > 0 })
	wantText(t, held.Do(bounded(t), "ACL", "WHOAMI"), "bob")
	wantText(t, mustDo(t, c, "ACL", "WHOAMI"), "alice")
}

// If the server refuses AUTH on an open connection, the client replaces the connection after its credentials have expired.
func TestExpiredConnectionsAreReplaced(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"alice on >one ~* &* +@all -auth"}})
	e := &expiring{user: "alice", life: 2 * time.Second}
	c := newClient(t, s, func(o *respool.Options) { o.Credentials = e.credentials })
	wantText(t, mustDo(t, c, "ACL", "WHOAMI"), "alice")
	before := ids(s)
	e.change("wrong") // the server refuses AUTH
	testkit.Await(t, "a renewal fails", c.Stats, func(s respool.Stats) bool { return s.RenewalFailures > 0 })
	wantServerError(t, c.Stats().LastRenewalError, "WRONGPASS")
	wantText(t, mustDo(t, c, "ACL", "WHOAMI"), "alice")
	if after := ids(s); !slices.Equal(before, after) {
		t.Errorf("the connections were %v and are %v", before, after)
	}
	s.Do("ACL", "SETUSER", "alice", ">wrong")
	s.Do("CONFIG", "RESETSTAT")
	testkit.Eventually(t, "the renewal succeeds on the one connection", func() bool {
		after := ids(s)
		return c.Stats().LastRenewalError == nil && len(after) == 1
	})
	wantText(t, mustDo(t, c, "ACL", "WHOAMI"), "alice")
}

// The connections to sentinels have other credentials.
func TestConnectionsToSentinelsAuthenticateAgain(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: -1, Sentinels: 1, SentinelPassword: "one"})
	e := &expiring{life: 2 * time.Second}
	var seen reports
	c := openClient(t, respool.Options{
		Service: set.Name(), OnEvent: seen.take,
		Sentinel: &respool.SentinelOptions{Addrs: set.SentinelAddrs(), Credentials: e.credentials},
	})
	mustDo(t, c, "PING")
	sockets := func() int { return c.Stats().Service.Sentinels[0].Sockets }
	testkit.Await(t, "two connections", sockets, testkit.Is(2))
	e.change("one")
	testkit.Eventually(t, "both connections renew their credentials", func() bool { return c.Stats().Renewals >= 2 && sockets() == 2 })
	testkit.Eventually(t, "an event of a renewal", func() bool { return seen.count(respool.EventCredentialsRenewed) > 0 })
	if st := c.Stats(); st.RenewalFailures != 0 || !st.Service.Known {
		t.Errorf("%d failures, last %v; the primary is known: %v", st.RenewalFailures, st.LastRenewalError, st.Service.Known)
	}
}

// A sentinel that refuses new credentials keeps its connections until the old ones expire. Commands are not affected.
func TestASentinelThatRefusesNewCredentials(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: -1, Sentinels: 1, SentinelPassword: "one"})
	e := &expiring{life: 2 * time.Second}
	var seen reports
	c := openClient(t, respool.Options{
		Service: set.Name(), OnEvent: seen.take,
		Sentinel: &respool.SentinelOptions{Addrs: set.SentinelAddrs(), Credentials: e.credentials},
	})
	mustDo(t, c, "PING")
	sentinel := func() respool.SentinelStats { return c.Stats().Service.Sentinels[0] }
	testkit.Eventually(t, "two connections", func() bool { return sentinel().Sockets == 2 })
	e.change("two")
	testkit.Eventually(t, "an event of a failed renewal", func() bool { return seen.count(respool.EventRenewalFailed) > 0 })
	if st := c.Stats(); st.RenewalFailures == 0 || st.LastRenewalError == nil {
		t.Errorf("%d failures, the last is %v", st.RenewalFailures, st.LastRenewalError)
	}
	wantConnError(t, c.Stats().LastRenewalError, false)
	testkit.Eventually(t, "the connections are closed when their credentials expire", func() bool { return sentinel().Sockets == 0 })
	mustDo(t, c, "PING")
	e.change("one")
	testkit.Eventually(t, "both connections are open again", func() bool { return sentinel().Sockets == 2 })
}
