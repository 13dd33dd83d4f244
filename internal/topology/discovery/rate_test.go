package discovery

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// A sentinel that is of no use is dialed for the commands and for the
// subscription about once a second each, however it fails.
func TestUselessSentinelsAreDialedSeldom(t *testing.T) {
	refusal := resp.NewServerError("WRONGPASS invalid username-password pair or user is disabled.")
	for name, c := range map[string]struct {
		err    error  // of the dial
		answer string // to every command of a connection that stands
	}{
		"down":                 {err: errors.New("connection refused")},
		"refuses the password": {err: refusal},
		"refuses commands":     {answer: "-NOPERM no rights\r\n"},
		"is no sentinel":       {answer: "-ERR unknown command\r\n"},
		"speaks nonsense":      {answer: "?what\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, addrs...)
				for _, f := range w.sentinels {
					f.answer = func([]string) (string, bool) { return c.answer, true }
				}
				var dials atomic.Int64
				s := New(Config{QueryTimeout: time.Second, LingerLimit: time.Second, PingEvery: 10 * time.Second,
					Dial: func(ctx, cut context.Context, addr string) (Conn, error) {
						dials.Add(1)
						if c.err != nil {
							return nil, c.err
						}
						return w.dial(ctx, cut, addr)
					}})
				defer closeAll(t, s, w)
				_, n := w.watch(s)
				time.Sleep(5 * time.Second)
				dials.Store(0)
				time.Sleep(20 * time.Second)
				if most := int64(len(addrs) * 2 * 2 * 21); dials.Load() > most {
					t.Errorf("%d dials in 20 s: want %d at most", dials.Load(), most)
				}
				if primary, _ := n.now(); primary != "" {
					t.Errorf("%s is the primary", primary)
				}
			})
		})
	}
}
