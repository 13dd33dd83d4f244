// Package watch reads servers at intervals, evaluates rules, and sends alerts to sinks. Rules and
// sampling are package monitor. A Watcher owns the sampler's goroutine, the queues of its sinks, and
// the goroutine that closes replaced sinks; Close waits for them.
package watch

import (
	"context"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// Watcher reads servers at intervals, evaluates rules, and sends alerts to sinks.
type Watcher struct {
	log   *slog.Logger
	pools func() map[string]monitor.PoolView // called at each look, by one goroutine at a time; nil: none

	flushed chan struct{} // closed when the sinks that Apply replaced are closed; the goroutine of Apply owns the field

	mu       sync.Mutex
	settings config.Watch
	sampler  *monitor.Sampler
	stop     func() // ends the sampler and waits for it
	judge    *monitor.Judge
	sinks    []*queuedSink
	started  time.Time // of the sampler
	pages    string    // URL of the pages
	socket   string    // path of the Unix socket
	observe  func(*monitor.State, []monitor.Alert)
}

// Start starts a watch. pools reports the pools of this process; nil if there are none.
func Start(s config.Watch, log *slog.Logger, pools func() map[string]monitor.PoolView) (*Watcher, error) {
	w := &Watcher{log: log, pools: pools, flushed: make(chan struct{})}
	close(w.flushed)
	return w, w.Apply(s)
}

// Apply changes the settings. It changes nothing if it fails. Firing alerts continue, and sinks
// that stay do not receive them again. Replaced sinks send their alerts in the background; the next
// Apply waits for that, so that no receiver gets an old alert after a newer one.
func (w *Watcher) Apply(s config.Watch) error {
	<-w.flushed
	judge, err := monitor.NewJudge(s.Rules)
	if err != nil {
		return err
	}
	first := w.judge == nil // only the goroutine that calls Apply sets it
	restart := first || !sameSampler(&w.settings.Sampler, &s.Sampler)
	sampler := w.sampler
	if restart {
		cfg := s.Sampler
		cfg.OnState = w.evaluate
		connect.LogEvents(&cfg.Options, w.log)
		if sampler, err = monitor.NewSampler(cfg); err != nil {
			return err
		}
	}
	sinks, err := w.openSinks(s.Sinks)
	if err != nil {
		return err
	}
	if restart && !first {
		w.stop() // before locking, because the last look may need the lock
	}
	w.mu.Lock()
	old := w.sinks
	w.settings, w.sinks = s, sinks
	if !first {
		resolved := judge.Adopt(w.judge, time.Now())
		for _, q := range old {
			q.queue.Tell(w.withInstance(resolved)...)
		}
		for _, q := range sinks {
			if !slices.Contains(old, q) {
				q.queue.Tell(w.withInstance(firingAlerts(judge))...) // a new sink receives the firing alerts
			}
		}
	}
	w.judge = judge
	if restart {
		w.started = time.Now()
		w.sampler, w.stop = sampler, startSampler(sampler)
	}
	w.mu.Unlock()
	flushed := make(chan struct{})
	w.flushed = flushed
	go func() { // Close waits for it
		defer close(flushed)
		closeSinks(slices.DeleteFunc(old, func(q *queuedSink) bool { return slices.Contains(sinks, q) }))
	}()
	return nil
}

func firingAlerts(j *monitor.Judge) (list []monitor.Alert) {
	for _, a := range j.Alerts() {
		if a.State == monitor.Firing {
			list = append(list, a)
		}
	}
	return list
}

// startSampler starts a sampler. stop ends it and waits for it.
func startSampler(s *monitor.Sampler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // NewSampler has checked its configuration
	}()
	return func() { cancel(); <-done }
}

// sameSampler reports whether two configurations are equal, except for their callbacks.
func sameSampler(a, b *monitor.SamplerConfig) bool {
	x, y := *a, *b
	x.OnState, y.OnState = nil, nil
	x.Client, y.Client = nil, nil
	return a.Client == b.Client && reflect.DeepEqual(x, y)
}

// evaluate evaluates the rules for a new state.
func (w *Watcher) evaluate(st *monitor.State) {
	v := &monitor.View{State: st}
	if w.pools != nil {
		v.Pools = w.pools()
	}
	changed, observe := w.judgeView(v)
	if observe != nil {
		observe(st, changed)
	}
}

// judgeView applies the rules to a view, and passes the alerts that changed to the sinks.
func (w *Watcher) judgeView(v *monitor.View) (changed []monitor.Alert, observe func(*monitor.State, []monitor.Alert)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.started) < w.settings.Grace {
		v = withoutUnseen(v)
	}
	v.Ceilings, v.Reserve = w.settings.Ceilings, w.settings.Reserve
	v.Pages, v.Socket = w.pages, relay.URL(w.socket)
	changed = w.withInstance(w.judge.Look(v))
	firing := firingAlerts(w.judge)
	for _, q := range w.sinks {
		q.queue.Tell(changed...)
		q.queue.Refresh(firing...)
	}
	return changed, w.observe
}

// Observe has fn called with each new state and the alerts that changed, on the sampler's goroutine: it must not block.
func (w *Watcher) Observe(fn func(*monitor.State, []monitor.Alert)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.observe = fn
}

// withoutUnseen returns a view without the servers that have not answered since the start, and without the pools while none has.
// A process that starts before its server has nothing to report yet. A full server has answered.
func withoutUnseen(v *monitor.View) *monitor.View {
	st := *v.State
	st.Nodes = slices.DeleteFunc(slices.Clone(st.Nodes), func(n monitor.NodeState) bool { return n.Last == nil && !n.Full })
	seen := &monitor.View{State: &st}
	if len(st.Nodes) > 0 {
		seen.Pools = v.Pools
	} else {
		st.Err = nil
	}
	return seen
}

// withInstance sets the instance of alerts.
func (w *Watcher) withInstance(alerts []monitor.Alert) []monitor.Alert {
	for i := range alerts {
		alerts[i].Instance = w.settings.Instance
	}
	return alerts
}

// reachable sets the addresses at which this process serves its connections: the listener of the pages, and the path of the Unix
// socket. Alerts name them. Either may be missing.
func (w *Watcher) reachable(pages net.Listener, socket string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages, w.socket = "", socket
	if pages != nil {
		w.pages = relay.PagesURL(pages.Addr())
	}
}

// Held returns the connections of the watch.
func (w *Watcher) Held() relay.Held {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := relay.Held{Options: w.settings.Sampler.Options, State: w.sampler.State(), Clients: w.sampler.Clients(),
		Place: connect.Place(&w.settings.Sampler.Options), Socket: w.socket}
	if w.settings.Sampler.Client == nil {
		h.Own = w.sampler.Own() // else it shares the connections of the client
	}
	return h
}

// State is the newest state.
func (w *Watcher) State() *monitor.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sampler.State()
}

// Alerts are the alerts that fire, are pending, or were resolved lately.
func (w *Watcher) Alerts() []monitor.Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.withInstance(w.judge.Alerts())
}

// QueueStats reports on the queues of the sinks.
func (w *Watcher) QueueStats() (list []notify.Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.sinks {
		list = append(list, q.queue.Stats())
	}
	return list
}

// Deliveries reports what became of an alert in each queue of the sinks, by the ID of the alert.
func (w *Watcher) Deliveries(id string) (list []notify.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.sinks {
		list = append(list, q.queue.Delivery(id))
	}
	return list
}

// Every is the time between two looks.
func (w *Watcher) Every() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings.Sampler.Every
}

// Close ends the watch and sends pending alerts.
func (w *Watcher) Close() {
	w.stop()
	closeSinks(w.sinks)
	<-w.flushed
}
