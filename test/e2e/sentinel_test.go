package e2e_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/faultnet"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// wantOpenError fails the test unless Open fails within the connect timeout, with these words.
func wantOpenError(t *testing.T, url string, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := respool.Open(ctx, url)
	if err == nil {
		_ = c.Close(ctx)
		t.Errorf("%s was opened", url)
		return
	}
	if ctx.Err() != nil {
		t.Errorf("%s: Open takes longer than %v", url, patience)
	}
	if !errors.Is(err, respool.ErrNoPrimary) {
		t.Errorf("%v is no ErrNoPrimary", err)
	}
	wantConnError(t, err, false)
	wantWords(t, err, words...)
	if strings.Contains(err.Error(), "hush") {
		t.Errorf("%v contains a password", err)
	}
}

func TestErrorsOfOpenForAService(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: -1, Sentinels: 1, SentinelPassword: "hushsentinel"})
	plain := redistest.Start(t, redistest.Config{})
	guarded := redistest.Start(t, redistest.Config{Password: "hushother"})
	nobody := testkit.ReserveAddr(t)
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	other := startFake(t, func([]string) string { return "HTTP/1.1 400 Bad Request\r\n\r\n" })
	addr := set.SentinelAddrs()[0]

	wantOpenError(t, "redis+sentinel://"+addr+"/another?sentinel_password=hushsentinel", addr, "does not know the service", `"another"`)
	wantOpenError(t, "redis+sentinel://"+addr+"/mymaster", addr, "refuses the credentials", "sentinel_password")
	wantOpenError(t, "redis+sentinel://"+addr+"/mymaster?sentinel_password=hushwrong", addr, "refuses the credentials")
	wantOpenError(t, "redis+sentinel://"+nobody+"/mymaster", nobody, "unreachable", "connection refused")
	wantOpenError(t, "redis+sentinel://"+plain.Addr()+"/mymaster", plain.Addr(), "is no sentinel")
	wantOpenError(t, "redis+sentinel://"+guarded.Addr()+"/mymaster", guarded.Addr(), "refuses the credentials")
	wantOpenError(t, "redis+sentinel://"+other.Addr()+"/mymaster", other.Addr(), "is no sentinel")
	wantOpenError(t, "redis+sentinel://"+deaf.Addr().String()+"/mymaster?sentinel_timeout=0.2", deaf.Addr().String(), "unreachable")
	wantOpenError(t, "redis+sentinel://"+nobody+","+plain.Addr()+"/mymaster", nobody, "unreachable", plain.Addr(), "is no sentinel")
	wantOpenError(t, "redis+sentinel://"+addr+"/mymaster?sentinel_password=hushsentinel&min_other_sentinels=1&socket_connect_timeout=1",
		"knows 0 other sentinels and 1 are wanted", "connect timeout of 1s")

	// The data node refuses the credentials of the sentinel.
	set.Nodes[0].Do("CONFIG", "SET", "requirepass", "hushdata")
	wantOpenError(t, "redis+sentinel://"+addr+"/mymaster?sentinel_password=hushsentinel&socket_connect_timeout=1",
		set.AddrOf(set.Nodes[0]), "does not answer ROLE", "NOAUTH")
}

func TestCallersWaitForAPrimaryWithinTheirDeadlines(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Replicas: -1, Sentinels: 1})
	opt := serviceOptions(t, set)
	opt.WaitTimeout = 200 * time.Millisecond
	c := openClient(t, opt)
	mustDo(t, c, "PING")
	set.Nodes[0].Kill()
	testkit.Await(t, "the primary is unknown", c.Stats, func(s respool.Stats) bool { return !s.Service.Known })

	err := c.Do(bounded(t), "GET", "k").Err()
	wantConnError(t, err, false)
	wantWords(t, err, "wait timeout of 200ms", set.SentinelAddrs()[0], set.AddrOf(set.Nodes[0]))
	if !errors.Is(err, respool.ErrNoPrimary) || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v is no ErrNoPrimary and os.ErrDeadlineExceeded", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	for _, try := range []func() error{
		func() error { return c.Do(ctx, "SET", "k", "v").Err() },
		func() error { return c.Do(ctx, "BLPOP", "k", 0).Err() },
		func() error { _, err := c.Acquire(ctx); return err },
		func() error { _, err := c.Pipeline().Do("GET", "k").Exec(ctx); return err },
		func() error { _, err := c.Transaction().Do("GET", "k").Exec(ctx); return err },
	} {
		if err := try(); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, respool.ErrNoPrimary) {
			t.Errorf("%v is no DeadlineExceeded and ErrNoPrimary", err)
		}
	}
	set.Nodes[0].Restart()
	testkit.Await(t, "a SET succeeds", func() error { return c.Do(bounded(t), "SET", "k", "v").Err() }, succeeded)
}

func TestOneClientForOneServiceRoleAndOptions(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	watches := []*redistest.ClientWatch{}
	for _, s := range set.Sentinels {
		watches = append(watches, s.WatchOutsiders())
	}
	s, err := respool.NewSentinel(respool.SentinelOptions{Addrs: set.SentinelAddrs(), ClientName: "respool"})
	if err != nil {
		t.Fatal(err)
	}
	get := func(c *respool.Client, err error) *respool.Client {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	hook := func(respool.Event) {}
	opt := respool.Options{ClientName: "respool", MaxConnections: 4}
	withHook := opt
	withHook.OnEvent = hook
	primary := get(s.Primary("mymaster", opt))
	if get(s.Primary("mymaster", opt)) != primary {
		t.Error("the same options return another client")
	}
	hooked := get(s.Primary("mymaster", withHook))
	if hooked != get(s.Primary("mymaster", withHook)) {
		t.Error("the same hook returns another client")
	}
	n := 0
	closure := opt
	closure.OnEvent = func(respool.Event) { _ = n }
	for name, c := range map[string]*respool.Client{
		"replicas":         get(s.Replicas("mymaster", opt)),
		"another bound":    get(s.Primary("mymaster", respool.Options{ClientName: "respool", MaxConnections: 5})),
		"a hook":           hooked,
		"a closure":        get(s.Primary("mymaster", closure)),
		"prefers replicas": get(s.Replicas("mymaster", respool.Options{ClientName: "respool", MaxConnections: 4, Role: respool.RolePreferReplica})),
	} {
		if c == primary {
			t.Errorf("%s returns the same client", name)
		}
		if err := c.Warm(bounded(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustDo(t, primary, "SET", "k", "v")
	if _, err := s.Primary("mymaster", respool.Options{Service: "x"}); err == nil {
		t.Error("options with a service are accepted")
	}
	if _, err := s.Primary("", opt); err == nil {
		t.Error("an empty name is accepted")
	}

	// After Close of the client there is a new one.
	if err := primary.Close(bounded(t)); err != nil {
		t.Error(err)
	}
	if again := get(s.Primary("mymaster", opt)); again == primary {
		t.Error("a closed client is returned")
	} else {
		mustDo(t, again, "GET", "k")
	}
	for i, w := range watches {
		if peak := w.Peak(); peak > 2 {
			t.Errorf("sentinel %d counted %d connections of six clients: want 2 at most", i, peak)
		}
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := s.Close(bounded(t)); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wg.Wait()
	for _, server := range append(append([]*redistest.Server(nil), set.Nodes...), set.Sentinels...) {
		server.WaitOutsiders(t, 0, patience)
	}
	if _, err := s.Primary("mymaster", opt); !errors.Is(err, respool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := primary.Do(bounded(t), "GET", "k").Err(); !errors.Is(err, respool.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Sentinels report unreachable addresses, and MapAddr translates them.
func TestAddressesAreMapped(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{Via: func(addr string) string {
		_, port, _ := net.SplitHostPort(addr)
		return "127.0.0.1:" + port
	}})
	opt := serviceOptions(t, set)
	var mapped sync.Map
	opt.Sentinel.MapAddr = func(addr string) string {
		mapped.Store(addr, true)
		return "localhost" + addr[strings.LastIndex(addr, ":"):]
	}
	c := openClient(t, opt)
	mustDo(t, c, "SET", "k", "v")
	st := c.Stats()
	if want := "localhost" + st.Addr[strings.LastIndex(st.Addr, ":"):]; st.Addr != want || st.Service.Primary != want {
		t.Errorf("the primary is %s, %s: want %s", st.Addr, st.Service.Primary, want)
	}
	if _, ok := mapped.Load(set.AddrOf(set.Primary())); !ok {
		t.Error("the primary's address was not mapped")
	}
}

func TestStatsOfTheSentinels(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	opt := serviceOptions(t, set)
	opt.Sentinel.Addrs = opt.Sentinel.Addrs[:1] // the client learns the others
	var mu sync.Mutex
	var events []respool.Event
	opt.OnEvent = func(e respool.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == respool.EventPrimaryFound || e.Kind == respool.EventPrimaryLost {
			events = append(events, e)
		}
	}
	c := openClient(t, opt)
	if st := c.Stats(); st.Service == nil || st.Service.Known || st.Addr != "" || st.Sockets() != 0 {
		t.Errorf("before the first use: %v", st)
	}
	mustDo(t, c, "PING")
	testkit.Await(t, "three sentinels and two replicas", c.Stats, func(s respool.Stats) bool {
		return len(s.Service.Sentinels) == 3 && len(s.Service.Replicas) == 2
	})
	st := c.Stats()
	if s := st.Service; s.Name != "mymaster" || s.Epoch != 1 || !s.Known || s.Primary != set.AddrOf(set.Primary()) ||
		time.Since(s.Changed) > patience || s.Cause == "" || s.Err != nil {
		t.Errorf("%+v", s)
	}
	for _, s := range st.Service.Sentinels {
		if s.Learnt == (s.Addr == opt.Sentinel.Addrs[0]) || s.Sockets > 2 {
			t.Errorf("%+v", s)
		}
	}
	if len(st.Nodes) == 0 || st.Nodes[0].Addr != st.Addr || st.Dials == 0 {
		t.Errorf("%+v", st)
	}
	wantWords(t, errors.New(st.String()), "mymaster", st.Addr, "epoch 1")
	dials := st.Dials
	old := set.Primary()
	old.Kill()
	testkit.AwaitWithin(t, failoverLimit, "the second epoch", c.Stats, func(s respool.Stats) bool { return s.Service.Epoch == 2 && s.Service.Known })
	mustDo(t, c, "PING")
	if st = c.Stats(); st.Dials < dials || st.Service.Cause == "" || st.Addr == set.AddrOf(old) {
		t.Errorf("%+v", st)
	}
	mu.Lock()
	defer mu.Unlock()
	kinds := ""
	for _, e := range events {
		kinds += e.Kind.String() + ", "
	}
	if !strings.HasPrefix(kinds, "primary found, primary lost, ") || !strings.HasSuffix(kinds, "primary found, ") {
		t.Errorf("events: %s", kinds)
	}
}

// subscribers are the IDs of the clients named respool that are subscribed to a sentinel.
func subscribers(s *redistest.Server) map[string]bool {
	ids := map[string]bool{}
	for line := range strings.Lines(s.Do("CLIENT", "LIST", "TYPE", "pubsub")) {
		if id, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.Contains(rest, " name=respool ") {
			ids[id] = true
		}
	}
	return ids
}

// The paths to all sentinels drop all bytes, and new connections work. The client subscribes again long before the next two pings
// of a subscription, so that it learns of a failover.
func TestDeadPathsToAllSentinelsAreLeft(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	opt := serviceOptions(t, set, "sentinel_timeout=0.5", "poll_interval=1")
	var relays []*faultnet.Relay
	for i, addr := range opt.Sentinel.Addrs {
		relays = append(relays, faultnet.Start(t, addr))
		opt.Sentinel.Addrs[i] = relays[i].Addr()
	}
	c := openClient(t, opt)
	mustDo(t, c, "PING")
	before := make([]map[string]bool, len(set.Sentinels))
	testkit.Eventually(t, "one subscriber on each sentinel", func() bool {
		all := true
		for i, s := range set.Sentinels {
			before[i] = subscribers(s)
			all = all && len(before[i]) == 1
		}
		return all
	})
	for _, r := range relays {
		r.Swallow()
	}
	testkit.Within(t, 10*time.Second, "a new subscriber on each sentinel", func() bool {
		all := true
		for i, s := range set.Sentinels {
			fresh := false
			for id := range subscribers(s) {
				fresh = fresh || !before[i][id]
			}
			all = all && fresh
		}
		return all
	})
	set.Failover()
	testkit.Within(t, failoverLimit, "the client uses the new primary", func() bool { return c.Stats().Addr == set.AddrOf(set.Primary()) })
	mustDo(t, c, "SET", "k", "v")
}

// Clients close at random moments of their discovery, with callers in every kind of wait. They leave no connection or goroutine.
func TestCloseDuringTheDiscovery(t *testing.T) {
	set := redistest.StartSentinels(t, redistest.SentinelConfig{})
	seed := seed(t)
	r := newRand(seed, 0)
	shared, err := respool.NewSentinel(respool.SentinelOptions{Addrs: set.SentinelAddrs(), ClientName: "respool"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		opt := serviceOptions(t, set)
		opt.Role = respool.Role(r.IntN(3))
		opt.MaxConnections = 1 + r.IntN(4)
		opt.LingerLimit = 5 * time.Second
		var c *respool.Client
		if own := opt; r.IntN(2) == 0 {
			c, err = respool.New(own)
		} else {
			own.Sentinel, own.Service = nil, ""
			own.OnEvent = func(respool.Event) { _ = i } // each has its own client
			if opt.Role == respool.RolePrimary {
				c, err = shared.Primary("mymaster", own)
			} else {
				c, err = shared.Replicas("mymaster", own)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, use := range []func(context.Context) error{
			func(ctx context.Context) error { return c.Do(ctx, "GET", "k").Err() },
			func(ctx context.Context) error { return c.Do(ctx, "SET", "k", "v").Err() },
			func(ctx context.Context) error { return c.Do(ctx, "BLPOP", "none", 0).Err() },
			func(ctx context.Context) error { return c.Warm(ctx) },
			func(ctx context.Context) error {
				sub, err := c.Subscribe(ctx, "ch")
				if err == nil {
					_, err = sub.Receive(ctx)
				}
				return err
			},
		} {
			if r.IntN(3) > 0 {
				wg.Go(func() { _ = use(bounded(t)) })
			}
		}
		time.Sleep(time.Duration(r.IntN(15_000)) * time.Microsecond)
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(50))*time.Millisecond)
		for range 2 {
			wg.Go(func() { _ = c.Close(ctx) })
		}
		wg.Wait()
		cancel()
		if st := c.Stats(); st.Sockets() != 0 {
			t.Errorf("client %d has %v after Close", i, st)
		}
	}
	if err := shared.Close(bounded(t)); err != nil {
		t.Error(err)
	}
	for _, s := range append(append([]*redistest.Server(nil), set.Nodes...), set.Sentinels...) {
		s.WaitOutsiders(t, 0, patience)
	}
}
