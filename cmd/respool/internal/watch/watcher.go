// Package watch looks at servers again and again, evaluates rules, and sends alerts
// to sinks. Rules and sampling are package monitor. A Watcher owns the sampler's
// goroutine and the queues of its sinks; Close waits for them.
package watch

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// Watcher looks at servers, judges what it sees, and tells the sinks.
type Watcher struct {
	log   *slog.Logger
	pools func() map[string]monitor.PoolView // asked at each look, by one goroutine at a time; nil: none

	mu       sync.Mutex
	settings config.Watch
	sampler  *monitor.Sampler
	stop     func() // ends the sampler, and waits for that
	judge    *monitor.Judge
	sinks    []*queuedSink
}

// Start starts to look. pools tells the pools of this process; nil: none.
func Start(s config.Watch, log *slog.Logger, pools func() map[string]monitor.PoolView) (*Watcher, error) {
	w := &Watcher{log: log, pools: pools}
	return w, w.Apply(s)
}

// Apply goes over to other settings. Where that fails nothing changes. Alerts
// that fire go on, and no sink that stays as it is is told of them twice.
func (w *Watcher) Apply(s config.Watch) error {
	judge, err := monitor.NewJudge(s.Rules)
	if err != nil {
		return err
	}
	first := w.judge == nil // it is set by the goroutine that applies alone
	again := first || !sameSampler(&w.settings.Sampler, &s.Sampler)
	sampler := w.sampler
	if again {
		cfg := s.Sampler
		cfg.OnState = w.judgeState
		connect.LogTLSFiles(&cfg.Options, w.log)
		if sampler, err = monitor.NewSampler(cfg); err != nil {
			return err
		}
	}
	tellers, err := w.openSinks(s.Sinks)
	if err != nil {
		return err
	}
	if again && !first {
		w.stop() // before the lock: the last look may wait for it
	}
	w.mu.Lock()
	old := w.sinks
	w.settings, w.sinks = s, tellers
	if !first {
		over := judge.Adopt(w.judge, time.Now())
		for _, t := range old {
			t.queue.Tell(w.withInstance(over)...)
		}
		for _, t := range tellers {
			if !slices.Contains(old, t) {
				t.queue.Tell(w.withInstance(firingAlerts(judge))...) // who is new hears of what there is
			}
		}
	}
	w.judge = judge
	if again {
		w.sampler, w.stop = sampler, startSampler(sampler)
	}
	w.mu.Unlock()
	closeSinks(slices.DeleteFunc(old, func(t *queuedSink) bool { return slices.Contains(tellers, t) }))
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

// startSampler runs a sampler, and gives what ends it.
func startSampler(s *monitor.Sampler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // its configuration was checked
	}()
	return func() { cancel(); <-done }
}

// sameSampler reports whether two samplers look at the same in the same way.
func sameSampler(a, b *monitor.SamplerConfig) bool {
	x, y := *a, *b
	x.OnState, y.OnState = nil, nil
	return reflect.DeepEqual(x, y)
}

// judgeState judges a new state.
func (w *Watcher) judgeState(st *monitor.State) {
	v := &monitor.View{State: st}
	if w.pools != nil {
		v.Pools = w.pools()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v.Ceilings, v.Reserve = w.settings.Ceilings, w.settings.Reserve
	changed := w.withInstance(w.judge.Look(v))
	for _, t := range w.sinks {
		t.queue.Tell(changed...)
	}
}

// withInstance puts into alerts who tells of them.
func (w *Watcher) withInstance(alerts []monitor.Alert) []monitor.Alert {
	for i := range alerts {
		alerts[i].Instance = w.settings.Instance
	}
	return alerts
}

// State is what is known now.
func (w *Watcher) State() *monitor.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sampler.State()
}

// Alerts are those that fire, pend, or were resolved lately.
func (w *Watcher) Alerts() []monitor.Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.withInstance(w.judge.Alerts())
}

// QueueStats is what became of what the sinks were told.
func (w *Watcher) QueueStats() (list []notify.Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.sinks {
		list = append(list, t.queue.Stats())
	}
	return list
}

// Every is how often there is a look.
func (w *Watcher) Every() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings.Sampler.Every
}

// Close ends all, and sends what waits to be sent.
func (w *Watcher) Close() {
	w.stop()
	closeSinks(w.sinks)
}
