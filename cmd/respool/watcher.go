package main

import (
	"context"
	"log/slog"
	"net"
	"reflect"
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
	pools func() map[string]monitor.PoolView // of this process; nil: none

	mu       sync.Mutex
	settings settings
	sampler  *monitor.Sampler
	stop     func() // ends the sampler, and waits for that
	judge    *monitor.Judge
	queues   []*notify.Queue
	closers  []func()
}

// flushLimit is how long alerts that are not sent yet may hold up an end.
const flushLimit = 5 * time.Second

// newWatcher starts to look.
func newWatcher(s settings, log *slog.Logger) (*watcher, error) {
	w := &watcher{log: log}
	return w, w.apply(s)
}

// apply goes over to other settings. Where that fails nothing changes. Alerts
// that fire go on, and nobody is told of them twice.
func (w *watcher) apply(s settings) error {
	judge, err := monitor.NewJudge(s.rules)
	if err != nil {
		return err
	}
	w.mu.Lock()
	first := w.judge == nil
	again := first || !sameSampler(&w.settings.sampler, &s.sampler)
	tell := first || !reflect.DeepEqual(w.settings.sinks, s.sinks)
	w.mu.Unlock()

	var sampler *monitor.Sampler
	if again {
		cfg := s.sampler
		cfg.OnState = w.look
		if sampler, err = monitor.NewSampler(cfg); err != nil {
			return err
		}
	}
	var queues []*notify.Queue
	var closers []func()
	if tell {
		if queues, closers, err = w.openSinks(s.sinks); err != nil {
			return err
		}
	}
	if again && !first {
		w.stop() // before the lock: the last look may wait for it
	}
	w.mu.Lock()
	old, oldClosers := w.queues, w.closers
	w.settings = s
	if tell {
		w.queues, w.closers = queues, closers
	} else {
		old, oldClosers = nil, nil
	}
	var over []monitor.Alert
	if !first {
		over = judge.Adopt(w.judge, time.Now())
		if tell {
			w.tellLocked(firing(judge)) // who is new hears of what there is
		}
	}
	w.judge = judge
	w.tellLocked(over)
	for _, q := range old {
		q.Tell(over...)
	}
	if again {
		w.sampler, w.stop = sampler, begin(sampler)
	}
	w.mu.Unlock()
	closeQueues(old, oldClosers)
	return nil
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

func (w *watcher) openSinks(list []sinkSettings) (queues []*notify.Queue, closers []func(), err error) {
	for _, s := range list {
		sink, err := s.sink(w.log)
		if err != nil {
			closeQueues(queues, closers)
			return nil, nil, err
		}
		queues = append(queues, notify.NewQueue(sink, notify.QueueConfig{}))
		if c, ok := sink.(interface{ Close() }); ok {
			closers = append(closers, c.Close)
		}
	}
	return queues, closers, nil
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

// closeQueues sends what waits, all queues at a time.
func closeQueues(queues []*notify.Queue, closers []func()) {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	var wg sync.WaitGroup
	for _, q := range queues {
		wg.Go(func() { _ = q.Close(ctx) })
	}
	wg.Wait()
	for _, c := range closers {
		c()
	}
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
	w.tellLocked(w.judge.Look(v))
}

func (w *watcher) tellLocked(alerts []monitor.Alert) {
	for i := range alerts {
		alerts[i].Instance = w.settings.instance
	}
	for _, q := range w.queues {
		q.Tell(alerts...)
	}
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
	return w.judge.Alerts()
}

// queueStats is what became of what the sinks were told.
func (w *watcher) queueStats() (list []notify.Stats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.queues {
		list = append(list, q.Stats())
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
	closeQueues(w.queues, w.closers)
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
