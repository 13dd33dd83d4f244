package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/seed-2b0d76a6/respool"
)

type drillCmd struct {
	credentialsFlag

	URL         string        `arg:"" help:"The service: redis+sentinel://s1:26379,s2:26379/name, with the keys of docs/options.md."`
	How         string        `enum:"command,none" default:"command" help:"command: SENTINEL FAILOVER; none: watch while you bring it about yourself."`
	Yes         bool          `help:"Trigger the failover without asking."`
	Readers     int           `default:"100" help:"Callers that GET."`
	Writers     int           `default:"60" help:"Callers that increment, and keep a record of each acknowledgement."`
	Blocked     int           `default:"10" help:"Callers in BLPOP, each on a connection of its own."`
	Subscribers int           `default:"20" help:"Subscriptions to a channel."`
	Before      time.Duration `default:"2s" help:"How long to work before the failover."`
	After       time.Duration `default:"3s" help:"How long to work after it."`
	Limit       time.Duration `default:"60s" help:"How long to wait for the failover."`
	JSON        bool          `help:"Print one JSON object."`
}

func (drillCmd) Help() string {
	return `Works on the service as an application does, has its sentinels fail over, and reports
what each kind of caller saw of it, which writes were lost or done twice, and how many
sockets the servers counted. Its keys have a prefix of their own and are removed.

What asynchronous replication loses is shown apart: a write that the old primary
acknowledged and the new one never got is lost with every client.

Examples:
  respool drill redis+sentinel://localhost:26379,localhost:26380/mymaster
  respool drill redis+sentinel://s1,s2,s3/mymaster --yes --json
  respool drill redis+sentinel://s1,s2,s3/mymaster --how none --limit 10m`
}

func (d *drillCmd) check() (respool.Options, error) {
	opt, err := d.options(d.URL)
	switch {
	case err != nil:
		return opt, err
	case opt.Sentinel == nil:
		return opt, errors.New("this URL names one server, which can't fail over: want redis+sentinel://host:port,host:port/service")
	case opt.Role != respool.RolePrimary:
		return opt, fmt.Errorf("role is %s: want primary, since a drill writes", opt.Role)
	}
	for flag, n := range map[string]int{"--readers": d.Readers, "--writers": d.Writers, "--blocked": d.Blocked, "--subscribers": d.Subscribers} {
		if n < 0 || n > 100_000 {
			return opt, fmt.Errorf("%s is %d: want 0 to 100000", flag, n)
		}
	}
	for flag, t := range map[string]time.Duration{"--before": d.Before, "--after": d.After, "--limit": d.Limit} {
		if t < 100*time.Millisecond || t > 24*time.Hour {
			return opt, fmt.Errorf("%s is %v: want 100ms to 24h", flag, t)
		}
	}
	return opt, nil
}

func (d *drillCmd) Run(ctx context.Context) error {
	opt, err := d.check()
	if err != nil {
		return err
	}
	r := newDrill(d, opt)
	if err := r.open(ctx); err != nil {
		return err
	}
	defer r.close()
	if d.How == "command" && !d.Yes {
		if err := r.ask(); err != nil {
			return err
		}
	}
	if err := r.work(ctx); err != nil {
		return err
	}
	report := r.report()
	if d.JSON {
		err = report.printJSON()
	} else {
		report.print()
	}
	if err == nil && report.failed() {
		return errors.New(report.Verdict)
	}
	return err
}

// drill is one run.
type drill struct {
	cmd      *drillCmd
	opt      respool.Options
	prefix   string
	client   *respool.Client
	load     *drillLoad
	watch    *drillWatch
	old, new string    // primaries
	began    time.Time // the load
	trigger  time.Time
	ended    time.Time
}

func newDrill(cmd *drillCmd, opt respool.Options) *drill {
	id := fmt.Sprintf("%08x", rand.Uint32())
	r := &drill{cmd: cmd, opt: opt, prefix: "respool:drill:" + id + ":"}
	r.opt.ClientName = "respool:drill:" + id
	s := *opt.Sentinel
	s.ClientName = r.opt.ClientName
	r.opt.Sentinel = &s
	return r
}

// open connects, and begins to watch all nodes and sentinels.
func (r *drill) open(ctx context.Context) error {
	r.watch = newDrillWatch(r.opt)
	opt := r.opt
	opt.OnEvent = r.watch.event
	client, err := respool.New(opt)
	if err != nil {
		return err
	}
	r.client = client
	if err := client.Warm(ctx); err != nil {
		closeClient(client)
		return err
	}
	st := client.Stats()
	r.old = st.Addr
	r.watch.begin(ctx, st.Service)
	return nil
}

func (r *drill) close() {
	r.watch.end()
	closeClient(r.client)
}

// ask has the operator confirm what will be done.
func (r *drill) ask() error {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("a drill triggers a failover, and there is no terminal to ask: say --yes, or --how none to watch only")
	}
	st := r.client.Stats().Service
	fmt.Fprintf(os.Stderr, "Service %s: primary %s, replicas %s, %d sentinels.\nWrites to keys %s... and then triggers a failover. Go on? [y/N] ",
		st.Name, st.Primary, strings.Join(st.Replicas, ", "), len(st.Sentinels), r.prefix)
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was done")
	}
	return nil
}

// work runs the callers before, during and after the failover.
func (r *drill) work(ctx context.Context) error {
	r.load = newDrillLoad(r.client, r.prefix)
	defer r.load.remove()
	bar := newProgress("working on "+r.old, r.cmd.Before+r.cmd.After)
	defer bar.clear()
	if err := r.load.begin(ctx, r.cmd); err != nil {
		return err
	}
	defer r.load.end()
	r.began = time.Now()
	if err := r.step(ctx, bar, r.cmd.Before); err != nil {
		return err
	}
	r.trigger = time.Now()
	if r.cmd.How == "command" {
		if err := failover(ctx, r.opt); err != nil {
			return err
		}
	}
	bar.title = "waiting for the failover"
	for r.client.Stats().Addr == r.old || r.client.Stats().Addr == "" {
		if time.Since(r.trigger) > r.cmd.Limit {
			return fmt.Errorf("%s was primary all the time for %v: there was no failover", r.old, r.cmd.Limit)
		}
		if err := r.step(ctx, bar, 10*time.Millisecond); err != nil {
			return err
		}
	}
	r.new = r.client.Stats().Addr
	bar.title = "working on " + r.new
	if err := r.step(ctx, bar, r.cmd.After); err != nil {
		return err
	}
	r.ended = time.Now()
	r.load.end()
	return r.load.verify(ctx)
}

// step lets the callers work for d.
func (r *drill) step(ctx context.Context, bar *progress, d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if err := pause(ctx, min(50*time.Millisecond, d)); err != nil {
			return err
		}
		bar.update(r.load.operations())
	}
	return nil
}

// failover asks one sentinel after the other to begin it.
func failover(ctx context.Context, opt respool.Options) error {
	var last error
	for _, addr := range opt.Sentinel.Addrs {
		c, err := respool.New(sentinelAsServer(opt, addr))
		if err != nil {
			return err
		}
		err = c.Do(ctx, "SENTINEL", "FAILOVER", opt.Service).Err()
		closeClient(c)
		if err == nil {
			return nil
		}
		last = fmt.Errorf("sentinel %s refused to fail over: %w", addr, err)
	}
	return last
}

// sentinelAsServer are options for one plain connection to a sentinel.
func sentinelAsServer(opt respool.Options, addr string) respool.Options {
	s := opt.Sentinel
	return respool.Options{
		Addr: addr, TLS: s.TLS, TLSFiles: s.TLSFiles, Username: s.Username, Password: s.Password, Dialer: s.Dialer,
		MaxConnections: 1, ConnectTimeout: s.Timeout,
	}
}
