//go:build !race

package lane_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/lane"
)

// The race detector makes sync.Pool forget, so that these hold without it.
func TestACommandAllocatesNothingButItsReply(t *testing.T) {
	cancellable, cancel := context.WithCancel(background)
	defer cancel()
	ctxs := map[string]context.Context{"background": background, "cancellable": cancellable}
	for name, ctx := range ctxs {
		for reply, most := range map[string]float64{"+OK\r\n": 0, "$5\r\nhello\r\n": 1, ":1\r\n": 0, "$-1\r\n": 0} {
			t.Run(name+reply[:1], func(t *testing.T) {
				k := connect(t, overTCP, config(), fixed(reply))
				defer k.close()
				one := func() {
					if _, err := k.Do(ctx, []any{"SET", "k", "v"}, lane.Options{}); err != nil {
						t.Error(err)
					}
				}
				one() // buffers grow at first
				if n := testing.AllocsPerRun(2000, one); n > most {
					t.Errorf("%q: %v allocations, want %v", reply, n, most)
				}
			})
		}
	}
}

func TestABundleAllocatesNothingButItsReplies(t *testing.T) {
	for reply, most := range map[string]float64{"+OK\r\n": 0, "$5\r\nhello\r\n": 4} {
		t.Run(reply[:1], func(t *testing.T) {
			var lanes [2]*link
			for i := range lanes {
				lanes[i] = connect(t, overTCP, config(), fixed(reply))
				defer lanes[i].close()
			}
			raw := bytes.Repeat([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"), 50)
			var b lane.Bundle
			one := func() {
				for _, k := range lanes {
					if !b.Post(background, k.Lane, raw, 50, lane.Options{}) {
						t.Error("the lane took no request")
					}
				}
				b.Wait(background)
				b.Reset()
			}
			one() // buffers grow at first
			if n := testing.AllocsPerRun(500, one); n > most {
				t.Errorf("%q: %v allocations, want %v", reply, n, most)
			}
		})
	}
}
