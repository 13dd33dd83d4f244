//go:build unix

package clustertest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// The counts of a load on moving slots are exact, so no key is lost or doubled.
func TestSlotsMoveUnderLoad(t *testing.T) {
	t.Parallel()
	c := Start(t, Config{Replicas: -1})
	a, b := c.Owner(0), c.Owner(Slots-1)
	const callers, keys = 4, 40
	var stop atomic.Bool
	var calls atomic.Int64
	var load sync.WaitGroup
	var counted [callers][keys]int
	for i := range callers {
		conns := map[string]net.Conn{}
		for _, n := range c.Nodes() {
			conns[n.Addr()] = connect(t, n)
		}
		load.Go(func() {
			for k := 0; !stop.Load(); k = (k + 1) % keys {
				if err := incr(conns, a.Addr(), testkit.SlotKey(k, "k")); err != nil {
					t.Error(err)
					return
				}
				counted[i][k]++
				calls.Add(1)
			}
		})
	}
	var slots []int
	for slot := range keys {
		slots = append(slots, slot)
	}
	for round := 0; !t.Failed() && (round < 3 || calls.Load() < callers*keys); round++ {
		c.MoveSlots(a, b, slots...)
		c.MoveSlots(b, a, slots...)
	}
	stop.Store(true)
	load.Wait()
	for k := range keys {
		total := 0
		for i := range callers {
			total += counted[i][k]
		}
		want(t, "the count", a.Do("GET", testkit.SlotKey(k, "k")), fmt.Sprint(total))
	}
}

// incr increments a key. It follows redirects.
func incr(conns map[string]net.Conn, addr, key string) error {
	for asking := false; ; {
		if asking {
			if _, err := exchange(conns[addr], "ASKING"); err != nil {
				return err
			}
		}
		line, err := exchange(conns[addr], "INCR "+key)
		if err != nil {
			return err
		}
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && (f[0] == "-MOVED" || f[0] == "-ASK"):
			addr, asking = f[2], f[0] == "-ASK"
		case line[0] == ':':
			_, err := strconv.Atoi(line[1:])
			return err
		default:
			return fmt.Errorf("INCR %s: %s", key, line)
		}
	}
}
