package readers

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// nodes answer ROLE.
type nodes struct {
	mu      sync.Mutex
	offset  map[string]int64
	link    map[string]string // of replicas; empty: connected
	primary map[string]bool
	dead    map[string]bool
	asked   map[string]int
}

func newNodes() *nodes {
	return &nodes{offset: map[string]int64{}, link: map[string]string{}, primary: map[string]bool{"p": true}, dead: map[string]bool{}, asked: map[string]int{}}
}

func (n *nodes) role(_ context.Context, addr string) (resp.Value, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked[addr]++
	if n.dead[addr] {
		return resp.Value{}, errors.New("connection refused")
	}
	text := fmt.Sprintf("*3\r\n$6\r\nmaster\r\n:%d\r\n*0\r\n", n.offset[addr])
	if !n.primary[addr] {
		link := n.link[addr]
		if link == "" {
			link = "connected"
		}
		text = fmt.Sprintf("*5\r\n$5\r\nslave\r\n$1\r\np\r\n:1\r\n$%d\r\n%s\r\n:%d\r\n", len(link), link, n.offset[addr])
	}
	v, _, err := resp.Decode([]byte(text))
	return v, err
}

// count returns how often a node was asked.
func (n *nodes) count(addr string) (asked int) {
	n.change(func() { asked = n.asked[addr] })
	return asked
}

func (n *nodes) change(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// run runs a set with the replicas a and b of the primary p in a bubble. changes counts the calls of Changed.
func run(t *testing.T, lag time.Duration, test func(t *testing.T, s *Set, n *nodes, changes func() int)) {
	synctest.Test(t, func(t *testing.T) {
		n, changed := newNodes(), 0
		s := New(Config{MaxLag: lag, Ask: n.role, Timeout: time.Second, Changed: func() { n.change(func() { changed++ }) }})
		s.Use([]Shard{{Primary: "p", Replicas: []string{"a", "b"}}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		test(t, s, n, func() (count int) {
			n.change(func() { count = changed })
			return count
		})
		cancel()
		<-ended
	})
}

func usable(s *Set) (list []string) {
	for _, addr := range []string{"a", "b", "p", "other"} {
		if s.Usable(addr) {
			list = append(list, addr)
		}
	}
	return list
}

func want(t *testing.T, s *Set, when string, list ...string) {
	t.Helper()
	synctest.Wait()
	if got := usable(s); !reflect.DeepEqual(got, list) {
		t.Errorf("%s: %v are usable, want %v; excluded: %v", when, got, list, s.Excluded())
	}
}

func TestAReplicaIsExcludedUntilItAnswers(t *testing.T) {
	run(t, 0, func(t *testing.T, s *Set, n *nodes, changes func() int) {
		want(t, s, "at first", "a", "b")
		n.change(func() { n.dead["a"] = true })
		s.Doubt("a", 0)
		s.Doubt("a", 0)
		s.Doubt("p", 0)
		s.Doubt("other", 0)
		want(t, s, "a broken connection", "b")
		time.Sleep(time.Minute)
		want(t, s, "a dead replica", "b")
		if got := s.Excluded(); len(got) != 1 || got[0].Addr != "a" || got[0].Reason != "does not answer ROLE: connection refused" {
			t.Errorf("excluded: %v", got)
		}
		if asked := n.count("a"); asked < 60 || asked > 140 {
			t.Errorf("a dead replica was asked %d times in a minute", asked)
		}
		if n := changes(); n != 1 {
			t.Errorf("%d changes", n)
		}
		n.change(func() { n.dead["a"] = false })
		time.Sleep(time.Second)
		want(t, s, "it answers", "a", "b")
		s.Doubt("b", time.Second)
		time.Sleep(900 * time.Millisecond)
		want(t, s, "a refusal", "a")
		time.Sleep(101 * time.Millisecond)
		want(t, s, "a second after a refusal", "a", "b")
	})
}

func TestReplicasAreAskedRegularly(t *testing.T) {
	run(t, 0, func(t *testing.T, s *Set, n *nodes, _ func() int) {
		time.Sleep(checkEvery)
		n.change(func() { n.link["b"] = "connect" })
		if a, p := n.count("a"), n.count("p"); a == 0 || p != 0 {
			t.Errorf("a replica was asked %d times, and the primary %d times", a, p)
		}
		time.Sleep(checkEvery)
		want(t, s, "a broken link to the primary", "a")
		n.change(func() { n.link["b"] = "" })
		time.Sleep(lastPause)
		want(t, s, "a link to the primary", "a", "b")
		s.Use([]Shard{{Primary: "b", Replicas: []string{"a", "other"}}})
		want(t, s, "after a failover", "a", "other")
	})
}

func TestALaggingReplicaIsExcluded(t *testing.T) {
	run(t, time.Second, func(t *testing.T, s *Set, n *nodes, _ func() int) {
		want(t, s, "after the first answers", "a", "b")
		for range 50 { // b stops
			n.change(func() { n.offset["p"]++; n.offset["a"]++ })
			time.Sleep(100 * time.Millisecond)
		}
		want(t, s, "b lags", "a")
		n.change(func() { n.offset["b"] = n.offset["p"] })
		time.Sleep(time.Second)
		want(t, s, "b has caught up", "a", "b")
	})
}

// An answer to a query from before the doubt proves nothing.
func TestAnAnswerFromBeforeADoubtDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, release := newNodes(), make(chan struct{})
		first := true
		s := New(Config{Timeout: time.Minute, Changed: func() {}, Ask: func(ctx context.Context, addr string) (resp.Value, error) {
			v, err := n.role(ctx, addr)
			if first {
				first = false
				<-release
			} else {
				v, err = resp.Value{}, errors.New("connection refused")
			}
			return v, err
		}})
		s.Use([]Shard{{Primary: "p", Replicas: []string{"a"}}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		time.Sleep(checkEvery)
		s.Doubt("a", 0)
		close(release)
		time.Sleep(time.Second)
		want(t, s, "a late answer")
		cancel()
		<-ended
	})
}
