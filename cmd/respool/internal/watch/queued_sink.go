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
func (w *Watcher) openSinks(list []config.Sink) (sinks []*queuedSink, err error) {
	var made []*queuedSink
	for _, s := range list {
		at := slices.IndexFunc(w.sinks, func(q *queuedSink) bool { return reflect.DeepEqual(q.settings, s) && !slices.Contains(sinks, q) })
		if at >= 0 {
			sinks = append(sinks, w.sinks[at])
			continue
		}
		sink, err := s.Open(w.log)
		if err != nil {
			closeSinks(made)
			return nil, err
		}
		q := &queuedSink{settings: s, queue: notify.NewQueue(sink, notify.QueueConfig{}), close: func() {}}
		if c, ok := sink.(interface{ Close() }); ok {
			q.close = c.Close
		}
		made, sinks = append(made, q), append(sinks, q)
	}
	return sinks, nil
}

// closeSinks sends the pending alerts of all queues at the same time, and closes them.
func closeSinks(sinks []*queuedSink) {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	var wg sync.WaitGroup
	for _, q := range sinks {
		wg.Go(func() {
			_ = q.queue.Close(ctx)
			q.close()
		})
	}
	wg.Wait()
}
