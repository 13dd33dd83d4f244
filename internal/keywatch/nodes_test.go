package keywatch

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// town is a set of nodes, named by numbers from 1 on, that serve parts. The first byte of a key is its part.
type town struct {
	*Nodes[byte, int]
	owners  map[byte]int
	gone    map[int]bool
	open    map[int]int // Nodes opened
	changed map[string]int
}

func newTown() *town {
	w := &town{owners: map[byte]int{}, gone: map[int]bool{}, open: map[int]int{}, changed: map[string]int{}}
	w.Nodes = NewNodes(NodesConfig[byte, int]{
		Part:  func(key string) byte { return key[0] },
		Owner: func(p byte) int { return w.owners[p] },
		Gone:  func(n int) bool { return w.gone[n] },
		Open: func(n int) *Node {
			w.open[n]++
			return NewNode(nil, Config{}, SetConfig{
				Changed: func(string) {}, Refused: func(string, error) {}, Polling: func() bool { return true },
			})
		},
		Changed: func(key string) { w.changed[key]++ },
	})
	return w
}

// watched returns the keys that the Set of each node watches.
func (w *town) watched() map[string]int {
	at := map[string]int{}
	for n, p := range w.nodes {
		p.set.mu.Lock()
		for name, e := range p.set.keys {
			if !e.Listed() {
				at[name] = n
			}
		}
		p.set.mu.Unlock()
	}
	return at
}

// Each key is watched at the node that serves its part, and nowhere else. A key that moves is reported.
func TestKeysAreWatchedAtTheNodesThatServeThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTown()
		defer w.Close()
		keys, at := map[string]bool{}, map[byte]int{} // the watched keys, and where their parts are watched
		some := rapid.SampledFrom([]string{"a1", "a2", "a3", "b1", "b2", "c1"})
		watches := func(p byte) bool {
			return slices.ContainsFunc(slices.Collect(maps.Keys(keys)), func(key string) bool { return key[0] == p })
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				key := some.Draw(t, "key")
				if keys[key] {
					return
				}
				if !watches(key[0]) {
					at[key[0]] = w.owners[key[0]]
				}
				keys[key] = true
				w.Add(key)
			},
			"drop": func(t *rapid.T) {
				key := some.Draw(t, "key")
				delete(keys, key)
				w.Drop(key)
			},
			"move": func(t *rapid.T) {
				for _, p := range []byte("abc") {
					w.owners[p] = rapid.IntRange(0, 3).Draw(t, "owner")
				}
				owners := slices.Collect(maps.Values(w.owners))
				for n := 1; n <= 3; n++ {
					w.gone[n] = !slices.Contains(owners, n)
				}
				clear(w.changed)
				w.Move()
				for key := range keys {
					moves := 0
					if now := w.owners[key[0]]; now != 0 && now != at[key[0]] {
						moves = 1
					}
					if got := w.changed[key]; got != moves {
						t.Fatalf("%d reports of %s: want %d", got, key, moves)
					}
				}
				for p, now := range w.owners {
					if now != 0 {
						at[p] = now
					}
				}
				for n := range w.nodes {
					used := slices.ContainsFunc([]byte("abc"), func(p byte) bool { return watches(p) && at[p] == n })
					if w.gone[n] && !used {
						t.Fatalf("node %d is gone, has no keys, and was not closed", n)
					}
				}
			},
			"": func(t *rapid.T) {
				expect := map[string]int{}
				for key := range keys {
					if n := at[key[0]]; n != 0 {
						expect[key] = n
					}
				}
				if got := w.watched(); !maps.Equal(got, expect) {
					t.Fatalf("watched: %v, want %v", got, expect)
				}
				if len(w.Watchers()) != len(w.nodes) {
					t.Fatalf("%d watchers of %d nodes", len(w.Watchers()), len(w.nodes))
				}
			},
		})
	})
}

// Nothing tells the client that the part of an absent key has moved, so one key of each part is reported now and then.
func TestOneKeyOfEachPartIsReportedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown()
		defer w.Close()
		w.owners['a'], w.owners['b'] = 1, 2
		for _, key := range []string{"a1", "a2", "b1"} {
			w.Add(key)
		}
		time.Sleep(checkPeriod)
		synctest.Wait()
		if a, b := w.changed["a1"]+w.changed["a2"], w.changed["b1"]; a != 1 || b != 1 {
			t.Errorf("reports: %v", w.changed)
		}
		for _, key := range []string{"a1", "a2", "b1"} {
			w.Drop(key)
		}
		clear(w.changed)
		time.Sleep(2 * checkPeriod)
		synctest.Wait()
		if len(w.changed) > 0 {
			t.Errorf("reports of dropped keys: %v", w.changed)
		}
	})
}

// While another node serves a key, its subscriber looks at it often, since nothing reports its changes.
func TestAKeyOfAnotherNodeIsReportedUntilItIsTracked(t *testing.T) {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1})
	const slot = 7
	from, to := c.Owner(slot), c.Owner(clustertest.Slots-1)
	b := newBench(t, wire.Config{Addr: from.Addr()}, Config{Moves: true}, nil)
	r, key := newRecorder(), testkit.SlotKey(slot, "q")
	m := c.BeginMove(slot, to)
	b.mustWatch(t, r, key)
	r.more(t, key, 3)
	m.Cancel()
	n := b.quiet(t, r, key)
	from.Do("RPUSH", key, "x")
	r.more(t, key, n)
	if err := r.end(key); err != nil {
		t.Error(err)
	}
}
