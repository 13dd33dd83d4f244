// Package drill puts load on a Sentinel service or a cluster, triggers a failover, moves slots, and
// reports the effects on callers. It is not for single servers. Run waits for all goroutines of the package: the
// callers and the observers of the servers.
package drill

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/progress"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Config configures a drill.
type Config struct {
	Trigger bool // order the failover; otherwise only watch for it
	Ask     bool // ask at the terminal before it
	Reshard int  // slots of a cluster to move to another primary and back; 0: none. Without Trigger, no failover is awaited then

	Readers, Writers, Blocked, Subscribers int // callers

	Before, After time.Duration // how long they work before and after the failover
	Limit         time.Duration // how long to wait for the failover
}

// Run works on the service or the cluster before, during and after a failover.
func Run(ctx context.Context, opt respool.Options, cfg Config) (*Report, error) {
	r := newDrill(cfg, opt)
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	defer r.close()
	if cfg.Ask {
		if err := r.confirm(); err != nil {
			return nil, err
		}
	}
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return r.report(), nil
}

// drill is the state of one run.
type drill struct {
	cfg      Config
	opt      respool.Options
	prefix   string
	client   *respool.Client
	load     *load
	watch    *observer
	old, new string       // primaries
	plan     *clusterPlan // nil: a service
	moves    []Move
	began    time.Time // the load
	trigger  time.Time
	ended    time.Time
}

func newDrill(cfg Config, opt respool.Options) *drill {
	id := fmt.Sprintf("%08x", rand.Uint32())
	r := &drill{cfg: cfg, opt: opt, prefix: "respool:drill:" + id + ":"}
	r.opt.ClientName = "respool:drill:" + id
	if opt.Sentinel != nil {
		s := *opt.Sentinel
		s.ClientName = r.opt.ClientName
		r.opt.Sentinel = &s
	}
	return r
}

// open connects and starts to observe all nodes and sentinels.
func (r *drill) open(ctx context.Context) error {
	r.watch = newObserver(r.opt)
	var nodes []monitor.Server
	if r.opt.Cluster != nil {
		var err error
		if nodes, err = r.planCluster(ctx); err != nil {
			return err
		}
	}
	opt := r.opt
	opt.OnEvent = r.watch.event
	client, err := respool.New(opt)
	if err != nil {
		return err
	}
	r.client = client
	if err := client.Warm(ctx); err != nil {
		connect.Close(client)
		return err
	}
	if r.plan != nil {
		r.watch.startCluster(nodes)
		return nil
	}
	st := client.Stats()
	r.old = st.Addr
	r.watch.start(ctx, st.Service)
	return nil
}

func (r *drill) close() {
	r.watch.stop()
	connect.Close(r.client)
}

// confirm asks the operator for permission.
func (r *drill) confirm() error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("a drill triggers a failover, and there is no terminal to ask: want --yes, or --how none to only watch")
	}
	fmt.Fprint(os.Stderr, r.question())
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("canceled: nothing was changed")
	}
	return nil
}

// run runs the callers before, during and after the failover.
func (r *drill) run(ctx context.Context) error {
	r.load = newLoad(r.client, r.prefix)
	if r.plan != nil {
		r.load.readKeys = readKeysOfCluster
	}
	defer r.load.remove()
	bar := progress.Start("load on "+cmp.Or(r.old, "all primaries"), r.cfg.Before+r.cfg.After)
	defer bar.Clear()
	if err := r.load.start(ctx, &r.cfg); err != nil {
		return err
	}
	defer r.load.stop()
	r.began = time.Now()
	if err := r.step(ctx, bar, r.cfg.Before); err != nil {
		return err
	}
	r.trigger = time.Now()
	if r.failsOver() {
		if err := r.failOver(ctx, bar); err != nil {
			return err
		}
	}
	if r.cfg.Reshard > 0 {
		if err := r.reshard(ctx, bar); err != nil {
			return err
		}
	}
	r.ended = time.Now()
	r.load.stop()
	return r.load.verify(ctx)
}

// failsOver reports whether a failover is a part of the drill.
func (r *drill) failsOver() bool { return r.cfg.Trigger || r.cfg.Reshard == 0 }

// failOver orders the failover, or waits for one that somebody else triggers, and lets the callers work on after it.
func (r *drill) failOver(ctx context.Context, bar *progress.Bar) error {
	if r.cfg.Trigger {
		order := failover
		if r.plan != nil {
			order = r.plan.failOver
		}
		if err := order(ctx, r.opt); err != nil {
			return err
		}
	}
	bar.Title = "waiting for the failover"
	for !r.switched() {
		if time.Since(r.trigger) > r.cfg.Limit {
			return fmt.Errorf("%s stayed primary for %v: no failover happened", cmp.Or(r.old, "each node"), r.cfg.Limit)
		}
		if err := r.step(ctx, bar, 10*time.Millisecond); err != nil {
			return err
		}
	}
	bar.Title = "load on " + r.new
	return r.step(ctx, bar, r.cfg.After)
}

// switched reports whether the client uses another primary, and notes both primaries.
func (r *drill) switched() bool {
	st := r.client.Stats()
	if r.plan == nil {
		r.new = st.Addr
		return r.new != r.old && r.new != ""
	}
	old, successor := r.plan.switched(st.Cluster.Primaries)
	if old == "" || successor == "" {
		return false
	}
	r.old, r.new = old, successor
	return true
}

// step waits for d while the callers work, and updates the progress bar.
func (r *drill) step(ctx context.Context, bar *progress.Bar, d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := pause.For(ctx, min(50*time.Millisecond, d)); err != nil {
			return err
		}
		bar.Update(r.load.operations())
	}
	return nil
}

// failover orders the failover from the first sentinel that accepts it.
func failover(ctx context.Context, opt respool.Options) error {
	var last error
	for _, addr := range opt.Sentinel.Addrs {
		c, err := respool.New(monitor.SentinelServer(opt, addr))
		if err != nil {
			return err
		}
		err = c.Do(ctx, "SENTINEL", "FAILOVER", opt.Service).Err()
		connect.Close(c)
		if err == nil {
			return nil
		}
		last = fmt.Errorf("sentinel %s refused the failover: %w", addr, err)
	}
	return last
}
