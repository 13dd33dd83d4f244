package e2e_test

import (
	"flag"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var waitCount = flag.Int("waits", 15_000, "how many blocking commands the differential test compares")

// Blocking commands return through the client and through the gateway what they return from the server, byte for byte,
// and leave the same data. Each worker has two servers and runs sessions on both in lockstep.
//
// Some of what a server does is not defined, or differs by intention; sessions leave it out: elements that arrive in
// several keys of one command at once; several elements on their way through BLMOVE to keys for which others wait; and
// before 7.2, streams that disappear while consumers of a group wait, because those servers do not tell them.
func TestBlockingCommandsReplyAsTheServerDoes(t *testing.T) {
	const workers = 4
	seed := seed(t)
	var done atomic.Int64
	var differs atomic.Bool
	var wg sync.WaitGroup
	for worker := range workers {
		var servers [2]*redistest.Server
		var controls [2]*rawConn
		for i := range servers {
			servers[i] = redistest.Start(t, redistest.Config{Args: oftenAwake})
			controls[i] = dialRaw(t, servers[i].Addr(), 2)
		}
		var sessions []*session
		var clients []*respool.Client
		watched := func() (n int) {
			for _, c := range clients {
				n += c.Engine().Stats().Blocking.Watcher.Keys
			}
			return n
		}
		for _, protocol := range []int{2, 3} {
			direct := newRawTarget(t, func() *rawConn { return dialRaw(t, servers[0].Addr(), protocol) }, controls[0].blockedClients)
			c := newClient(t, servers[1], func(o *respool.Options) {
				o.Protocol, o.MaxConnections, o.Lanes = protocol, 6, 1+worker%4
			})
			clients = append(clients, c)
			via := &clientTarget{c, controls[1].blockedClients}
			g, err := gateway.New(c.Engine(), gateway.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = g.Shutdown(bounded(t)) })
			throughGateway := newRawTarget(t, func() *rawConn { return openRaw(t, g.DialContext, protocol) }, via.blocked)
			for _, to := range []target{via, throughGateway} {
				sessions = append(sessions, &session{pair: newPair(t, servers, [2]target{direct, to}, controls, watched), r: newRand(seed, len(sessions)+10*worker)})
			}
		}
		wg.Go(func() {
			for n := 0; done.Load() < int64(*waitCount) && !differs.Load(); n++ {
				s := sessions[n%len(sessions)]
				before := s.done
				if !s.round() {
					differs.Store(true)
					return
				}
				done.Add(int64(s.done - before))
			}
		})
	}
	wg.Wait()
	t.Logf("%d blocking commands", done.Load())
}
