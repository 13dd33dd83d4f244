package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pubsub"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/internal/wire"
)

var rawClientInfo = []byte("*2\r\n$6\r\nCLIENT\r\n$4\r\nINFO\r\n")

// guest is a client of the gateway: a user, a database and a protocol.
type guest struct {
	up   *engine.Engine
	user string // the name on the server
	key  engine.Identity
}

// recognize checks the CLIENT INFO of the connection that a reply came from.
func (g *guest) recognize(frame []byte) error {
	if frame[0] == '-' {
		return fmt.Errorf("%v: %s", g.key, frame)
	}
	if verbatim := frame[0] == '='; verbatim != (g.key.Proto == 3) { // before 7.0 CLIENT INFO does not contain the protocol
		return fmt.Errorf("a connection that is not of RESP%d was used: %s", g.key.Proto, frame)
	}
	_, text, _ := strings.Cut(string(frame), "id=")
	fields := strings.Fields(text)
	for _, want := range []string{"user=" + g.user, fmt.Sprint("db=", g.key.DB)} {
		found := false
		for _, f := range fields {
			found = found || f == want
		}
		if !found {
			return fmt.Errorf("a connection that is not %s was used: %s", want, text)
		}
	}
	return nil
}

// post posts a request to a lane, if there is one.
func (g *guest) post() error {
	l, opt := g.up.Lanes(g.key, engine.Loop{}).Lane(rawClientInfo, true)
	if l == nil {
		return nil
	}
	s := answered{make(chan []byte, 1), make(chan error, 1)}
	if err := l.Post(rawClientInfo, 1, s, 0, opt); err != nil {
		return private(err)
	}
	l.Flush(false)
	select {
	case frame := <-s.frame:
		return g.recognize(frame)
	case err := <-s.err:
		return private(err)
	}
}

// private returns nil for failures of lanes, which the gateway handles.
func private(err error) error {
	var we *wire.Error
	if errors.As(err, &we) || errors.Is(err, lane.ErrDraining) || errors.Is(err, lane.ErrFull) {
		return nil
	}
	return err
}

// answered is a sink for one reply.
type answered struct {
	frame chan []byte
	err   chan error
}

func (s answered) Reply(_ uint64, frame []byte, _ bool, _ *lane.Batch) {
	s.frame <- append([]byte(nil), frame...)
}
func (s answered) Part(uint64, []byte) bool { return false }
func (s answered) Fail(_ uint64, err error) { s.err <- err }

// hold sends a request on a dedicated connection.
func (g *guest) hold(ctx context.Context, destroy bool) error {
	held, err := g.up.Lease(ctx, g.key)
	if err != nil {
		return err
	}
	if destroy {
		held.Destroy("by chance")
		return nil
	}
	frame, err := held.Lane().Do(ctx, []any{"CLIENT", "INFO"}, lane.Options{})
	held.Release()
	if err != nil {
		return private(err)
	}
	return g.recognize(frame)
}

// listen subscribes for a moment.
func (g *guest) listen(ctx context.Context) error {
	sub, err := g.up.Hub(g.key.User).Subscribe(ctx, pubsub.Channel, []string{"news"})
	if err != nil {
		var se *respool.ServerError
		if errors.As(err, &se) {
			return err
		}
		return nil
	}
	return sub.Close()
}

// Under load, faults and several identities, each guest uses only connections of its own identity, and all together stay within
// the limit.
func TestGuestsShareTheLimitButNotConnections(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 6} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, redistest.Config{Users: []string{"alice on >a ~* &* +@all", "bob on >b ~* &* +@all", "guest on nopass ~* &* +@all"}})
			seed := seed(t)
			c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = limit })
			up := c.Engine()
			var guests []guest
			for user, password := range map[string]string{"default": "", "alice": "a", "bob": "b", "guest": ""} {
				token := ""
				if user != "default" {
					var err error
					if token, err = up.Logins().Verify(bounded(t), user, password); err != nil {
						t.Fatal(err)
					}
				}
				for db := range 2 {
					for proto := 2; proto <= 3; proto++ {
						guests = append(guests, guest{up, user, engine.Identity{User: token, DB: db, Proto: proto}})
					}
				}
			}
			watch := s.WatchClients()
			stop := make(chan struct{})
			var side sync.WaitGroup
			side.Go(func() { t.Logf("%d connections killed", killer(s, seed, stop)) })
			load(t, 60, seed, *stressFor, func(ctx context.Context, r *rand.Rand, _ int) error {
				g := guests[r.IntN(len(guests))]
				switch r.IntN(20) {
				case 0:
					_, err := up.Logins().Verify(ctx, "alice", "wrong")
					var se *respool.ServerError
					if err == nil || errors.As(err, &se) && se.Code != "WRONGPASS" {
						return fmt.Errorf("a wrong password: %v", err)
					}
					return nil
				case 1:
					return g.listen(ctx)
				case 2:
					up.Reconnect()
				case 3, 4, 5:
					return g.hold(ctx, r.IntN(5) == 0)
				case 6, 7, 8, 9, 10, 11:
					return g.post()
				}
				frames, err := up.Exchange(ctx, g.key, rawClientInfo, 1, true, nil)
				if err != nil {
					return err
				}
				return g.recognize(frames[0])
			})
			close(stop)
			side.Wait()
			if peak := watch.Stop(); peak > limit || peak == 0 {
				t.Errorf("the server counted %d sockets at peak: want 1 to %d", peak, limit)
			}
			checkFree(t, c, limit)
		})
	}
}
