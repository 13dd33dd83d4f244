package pool_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

// nursery is a server that counts what it is asked by strangers while a holder is there.
type nursery struct{ strangers atomic.Int64 }

func (n *nursery) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	go n.serve(server)
	return client, nil
}

func (n *nursery) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for held := false; ; {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		switch args[0] {
		case "HELD":
			held = true
		case "FREE":
			held = false
		default:
			if held {
				n.strangers.Add(1)
			}
		}
		if _, err := io.WriteString(conn, "+OK\r\n"); err != nil {
			return
		}
	}
}

// A lane may be leased between the moment it is chosen for a probe and the probe's command.
func TestNoProbeMeetsAHoldersCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &nursery{}
		dial := &wire.Config{Network: "tcp", Addr: "memory", Protocol: 2, DialFunc: n.dial, ConnectTimeout: 5 * time.Second}
		cfg := (&memory{}).config()
		cfg.Max = 1
		cfg.Dial = func(ctx, cut context.Context, _ pool.Identity) (*wire.Conn, error) { return wire.Dial(ctx, cut, dial) }
		p := pool.New(cfg)
		ctx := context.Background()
		for range 1500 {
			l, err := p.Shared(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ask(ctx, l, lane.Options{Reserved: true}, "GET"); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 30 {
				wg.Go(func() { _, _ = p.Probe(ctx, "ROLE") })
			}
			wg.Go(func() {
				c := acquire(t, p)
				for _, name := range []string{"HELD", "HELD", "FREE"} {
					if _, err := ask(ctx, c.Lane(), lane.Options{}, name); err != nil {
						t.Error(err)
					}
				}
				c.Release()
			})
			wg.Wait()
		}
		if got := n.strangers.Load(); got > 0 {
			t.Errorf("%d commands met those of a holder", got)
		}
		_ = p.Close(ctx)
	})
}
