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

// flushLimit limits how long unsent alerts delay the end.
const flushLimit = 5 * time.Second

// queuedSink is a sink and its queue.
type queuedSink struct {
	settings config.Sink
	queue    *notify.Queue
	close    func() // closes the sink
}

// openSinks opens the sinks. It reuses those whose configuration has not changed.
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

// closeSinks sends the pending alerts of all queues at the same time, and closes them.
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
