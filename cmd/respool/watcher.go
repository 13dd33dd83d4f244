package main

import (
	"context"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// watcher looks at servers, judges what it sees, and tells the sinks.
type watcher struct {
	log   *slog.Logger
	pools func() map[string]monitor.PoolView // asked at each look, by one goroutine at a time; nil: none

	mu       sync.Mutex
	settings settings
	sampler  *monitor.Sampler
	stop     func() // ends the sampler, and waits for that
	judge    *monitor.Judge
	tellers  []*teller
}

// flushLimit is how long alerts that are not sent yet may hold up an end.
const flushLimit = 5 * time.Second

// newWatcher starts to look. pools tells the pools of this process; nil: none.
func newWatcher(s settings, log *slog.Logger, pools func() map[string]monitor.PoolView) (*watcher, error) {
	w := &watcher{log: log, pools: pools}
	return w, w.apply(s)
}

// apply goes over to other settings. Where that fails nothing changes. Alerts
// that fire go on, and no sink that stays as it is is told of them twice.
func (w *watcher) apply(s settings) error {
	judge, err := monitor.NewJudge(s.rules)
	if err != nil {
		return err
	}
	first := w.judge == nil // it is set by the goroutine that applies alone
	again := first || !sameSampler(&w.settings.sampler, &s.sampler)
	sampler := w.sampler
	if again {
		cfg := s.sampler
		cfg.OnState = w.look
		logTLSFiles(&cfg.Options, w.log)
		if sampler, err = monitor.NewSampler(cfg); err != nil {
			return err
		}
	}
	tellers, err := w.openSinks(s.sinks)
	if err != nil {
		return err
	}
	if again && !first {
		w.stop() // before the lock: the last look may wait for it
	}
	w.mu.Lock()
	old := w.tellers
	w.settings, w.tellers = s, tellers
	if !first {
		over := judge.Adopt(w.judge, time.Now())
		for _, t := range old {
			t.queue.Tell(w.signed(over)...)
		}
		for _, t := range tellers {
			if !slices.Contains(old, t) {
				t.queue.Tell(w.signed(firing(judge))...) // who is new hears of what there is
			}
		}
	}
	w.judge = judge
	if again {
		w.sampler, w.stop = sampler, begin(sampler)
	}
	w.mu.Unlock()
	closeAll(slices.DeleteFunc(old, func(t *teller) bool { return slices.Contains(tellers, t) }))
	return nil
}

// teller is a sink with its queue.
type teller struct {
	settings sinkSettings
	queue    *notify.Queue
	close    func() // of the sink
}

func firing(j *monitor.Judge) (list []monitor.Alert) {
	for _, a := range j.Alerts() {
		if a.State == monitor.Firing {
			list = append(list, a)
		}
	}
	return list
}

// begin runs a sampler, and gives what ends it.
func begin(s *monitor.Sampler) (stop func()) {
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

// openSinks makes the sinks, or takes those that there are already.
func (w *watcher) openSinks(list []sinkSettings) (tellers []*teller, err error) {
	var made []*teller
	for _, s := range list {
		at := slices.IndexFunc(w.tellers, func(t *teller) bool { return reflect.DeepEqual(t.settings, s) && !slices.Contains(tellers, t) })
		if at >= 0 {
			tellers = append(tellers, w.tellers[at])
			continue
		}
		sink, err := s.sink(w.log)
		if err != nil {
			closeAll(made)
			return nil, err
		}
		t := &teller{settings: s, queue: notify.NewQueue(sink, notify.QueueConfig{}), close: func() {}}
		if c, ok := sink.(interface{ Close() }); ok {
			t.close = c.Close
		}
		made, tellers = append(made, t), append(tellers, t)
	}
	return tellers, nil
}

// sink makes what is told of alerts.
func (s *sinkSettings) sink(log *slog.Logger) (notify.Sink, error) {
	switch s.kind {
	case "webhook":
		return notify.NewWebhook(s.http)
	case "alertmanager":
		return notify.NewAlertmanager(s.http)
	case "command":
		return notify.NewCommand(s.run, s.timeout)
	}
	return notify.Log{Logger: log}, nil
}

// closeAll sends what waits, all queues at a time.
func closeAll(tellers []*teller) {
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

// look judges a new state.
func (w *watcher) look(st *monitor.State) {
	v := &monitor.View{State: st}
	if w.pools != nil {
		v.Pools = w.pools()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	v.Ceilings, v.Reserve = w.settings.ceilings, w.settings.reserve
	changed := w.signed(w.judge.Look(v))
	for _, t := range w.tellers {
		t.queue.Tell(changed...)
	}
}

// signed puts into alerts who tells of them.
func (w *watcher) signed(alerts []monitor.Alert) []monitor.Alert {
	for i := range alerts {
		alerts[i].Instance = w.settings.instance
	}
	return alerts
}

// state is what is known now.
func (w *watcher) state() *monitor.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sampler.State()
}

// alerts are those that fire, pend, or were resolved lately.
func (w *watcher) alerts() []monitor.Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.signed(w.judge.Alerts())
}

// queueStats is what became of what the sinks were told.
func (w *watcher) queueStats() (list []notify.Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tellers {
		list = append(list, t.queue.Stats())
	}
	return list
}

// every is how often there is a look.
func (w *watcher) every() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.settings.sampler.Every
}

// close ends all, and sends what waits to be sent.
func (w *watcher) close() {
	w.stop()
	closeAll(w.tellers)
}

// checkListen says whether pages can be served at an address.
func checkListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || strings.ContainsAny(host, " /") {
		return &net.AddrError{Err: "no port", Addr: addr}
	}
	return nil
}
