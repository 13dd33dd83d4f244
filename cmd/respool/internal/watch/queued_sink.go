package watch

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// flushLimit is how long alerts that are not sent yet may hold up an end.
const flushLimit = 5 * time.Second

// queuedSink is a sink with its queue.
type queuedSink struct {
	settings config.Sink
	queue    *notify.Queue
	close    func() // of the sink
}

// openSinks makes the sinks, or takes those that there are already.
func (w *Watcher) openSinks(list []config.Sink) (tellers []*queuedSink, err error) {
	var made []*queuedSink
	for _, s := range list {
		at := slices.IndexFunc(w.sinks, func(t *queuedSink) bool { return reflect.DeepEqual(t.settings, s) && !slices.Contains(tellers, t) })
		if at >= 0 {
			tellers = append(tellers, w.sinks[at])
			continue
		}
		sink, err := s.Open(w.log)
		if err != nil {
			closeSinks(made)
			return nil, err
		}
		t := &queuedSink{settings: s, queue: notify.NewQueue(sink, notify.QueueConfig{}), close: func() {}}
		if c, ok := sink.(interface{ Close() }); ok {
			t.close = c.Close
		}
		made, tellers = append(made, t), append(tellers, t)
	}
	return tellers, nil
}

// closeSinks sends what waits, all queues at a time.
func closeSinks(tellers []*queuedSink) {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	var wg sync.WaitGroup
	for _, t := range tellers {
		wg.Go(func() {
			_ = t.queue.Close(ctx)
			t.close()
		})
	}
	wg.Wait()
}
