package pubsub

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// step is what a worker of the storm does to a channel.
type step struct {
	Verb    string
	Channel string
}

// TestStormLosesAndRepeatsNothing runs workers that concurrently subscribe,
// unsubscribe and publish, each with its own subscription. A worker must receive
// its messages to a subscribed channel exactly once and in order. It must not
// receive its messages to other channels, unless they were in flight when it
// subscribed. No worker receives a message twice.
func TestStormLosesAndRepeatsNothing(t *testing.T) {
	storm(t, "add", "add", "remove", "publish", "publish")
}

// TestStormWithLostConnectionsMarksWhatItLoses is the same with connections
// that are killed at any moment: then messages may be missing, but only where
// a gap stands.
func TestStormWithLostConnectionsMarksWhatItLoses(t *testing.T) {
	storm(t, "add", "add", "remove", "publish", "publish", "publish", "kill")
}

func storm(t *testing.T, verbs ...string) {
	eachProtocol(t, redistest.Config{}, setup{}, func(t *testing.T, srv *redistest.Server, h *Hub) {
		aStep := rapid.Custom(func(t *rapid.T) step {
			return step{
				Verb:    rapid.SampledFrom(verbs).Draw(t, "verb"),
				Channel: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel"),
			}
		})
		round := 0
		rapid.Check(t, func(t *rapid.T) {
			scripts := rapid.SliceOfN(rapid.SliceOfN(aStep, 1, 25), 1, 6).Draw(t, "scripts")
			round++
			errs := make([]error, len(scripts))
			var wg sync.WaitGroup
			for i, script := range scripts {
				wg.Go(func() {
					w := &worker{h: h, srv: srv, id: fmt.Sprintf("%d.%d", round, i), has: map[string]bool{}}
					errs[i] = w.run(script)
				})
			}
			wg.Wait()
			for i, err := range errs {
				if err != nil {
					t.Errorf("worker %d: %v", i, err)
				}
			}
		})
	})
}

// published is a message that a worker sent.
type published struct {
	payload, channel string
	must             bool // it had the channel, and has not left it since
	may              bool // it has or had the channel since
}

type worker struct {
	h   *Hub
	srv *redistest.Server
	id  string
	sub *Subscription
	has map[string]bool
	n   int
	due []published
}

func (w *worker) run(script []step) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range script {
		if err := w.do(ctx, s); err != nil {
			return fmt.Errorf("%s %s: %w", s.Verb, s.Channel, err)
		}
	}
	if w.sub == nil {
		return nil
	}
	defer w.sub.Close()
	return w.check(ctx)
}

func (w *worker) do(ctx context.Context, s step) error {
	switch s.Verb {
	case "add":
		w.has[s.Channel] = true
		for i := range w.due {
			if w.due[i].channel == s.Channel {
				w.due[i].may = true
			}
		}
		if w.sub == nil {
			sub, err := w.h.Subscribe(ctx, Channel, []string{s.Channel})
			w.sub = sub
			return err
		}
		return w.sub.Add(ctx, s.Channel)
	case "remove":
		w.has[s.Channel] = false
		for i := range w.due {
			if w.due[i].channel == s.Channel {
				w.due[i].must = false // it may be in flight
			}
		}
		if w.sub != nil {
			return w.sub.Remove(s.Channel)
		}
	case "publish":
		w.n++
		payload := fmt.Sprintf("%s:%d", w.id, w.n)
		has := w.has[s.Channel]
		w.due = append(w.due, published{payload, s.Channel, has, has})
		w.srv.Do("PUBLISH", s.Channel, payload)
	case "kill":
		w.srv.Do("CLIENT", "KILL", "TYPE", "pubsub")
	}
	return nil
}

// check receives everything up to a last message, which is repeated until it
// comes: it may be lost, too.
func (w *worker) check(ctx context.Context) error {
	last := "end." + w.id
	if err := w.sub.Add(ctx, last); err != nil {
		return fmt.Errorf("add the last: %w", err)
	}
	w.srv.Do("PUBLISH", last, "end")
	seen := map[string]bool{}
	next, gap := 0, false
	for {
		msg, err := w.sub.Receive(ctx)
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if msg.Gap != nil {
			gap = true
			w.srv.Do("PUBLISH", last, "end")
			continue
		}
		end := msg.Channel == last
		if !end && seen[msg.Payload] {
			return fmt.Errorf("received %q twice", msg.Payload)
		}
		seen[msg.Payload] = true
		if !end && !strings.HasPrefix(msg.Payload, w.id+":") {
			continue
		}
		for ; next < len(w.due) && (end || w.due[next].payload != msg.Payload); next++ {
			if w.due[next].must && !gap {
				return fmt.Errorf("received %q where %q was due", msg.Payload, w.due[next].payload)
			}
		}
		if end {
			return nil
		}
		if next == len(w.due) || !w.due[next].may {
			return fmt.Errorf("received %q, which was not due", msg.Payload)
		}
		next, gap = next+1, false
	}
}
