package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// job is one measurement of go-redis, in its own process.
type job struct {
	Addr        string
	Dialer      bool
	Connections int // of respool's client
	Goroutines  int
	Time        time.Duration
	Profile     string // file; empty: none
}

// driven is the outcome of a job.
type driven struct {
	Ops      float64
	P50, P99 float64 // us
	Requests int     // including those of the warm-up
}

// runGoRedis measures go-redis, plain or over the dialer.
func (r *runner) runGoRedis(ctx context.Context, name string, c gatewayCase, profile string) (sample, error) {
	text, err := json.Marshal(job{Addr: r.lab.addr, Dialer: name == dialer, Connections: r.lab.connections,
		Goroutines: c.Clients, Time: r.time, Profile: profile})
	if err != nil {
		return sample{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	meter, err := r.lab.meter(&subject{name: name, addr: r.lab.addr})
	if err != nil {
		return sample{}, err
	}
	cmd := exec.CommandContext(ctx, self, "--worker", string(text))
	cmd.SysProcAttr = ownGroup()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, strings.TrimSpace(errOut.String()))
	}
	var d driven
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return sample{}, fmt.Errorf("the output of its process: %w", err)
	}
	m := sample{Get: d.Ops, P50: d.P50, P99: d.P99,
		LoadCPU: each(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), d.Requests)}
	return m, meter.read(&m, d.Requests)
}

// work runs one job and prints its outcome.
func work(ctx context.Context, text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return fmt.Errorf("the job of a worker: %w", err)
	}
	if j.Profile != "" {
		f, err := os.Create(j.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	d, err := j.do(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(d)
}

// poolOf returns the pool size of go-redis: one connection for each goroutine.
const poolOf = 64

func (j job) do(ctx context.Context) (driven, error) {
	opt := &redis.Options{Addr: j.Addr, PoolSize: poolOf,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}}
	if j.Dialer {
		d, closeAll, err := openDialer(ctx, j.Addr, j.Connections)
		if err != nil {
			return driven{}, err
		}
		defer closeAll()
		opt.Dialer = d
	}
	client := redis.NewClient(opt)
	defer client.Close()
	return j.drive(ctx, client)
}

const (
	warmUp    = 5 // the measured time divided by the time of the warm-up
	workKeys  = 1000
	setsEvery = 5
)

// drive makes all goroutines send GET and SET, 4 to 1, until the time is over.
func (j job) drive(ctx context.Context, client *redis.Client) (driven, error) {
	value := strings.Repeat("y", valueSize)
	key := func(i int) string { return fmt.Sprintf("bench:%04d", i%workKeys) }
	for i := range workKeys {
		if err := client.Set(ctx, key(i), value, 0).Err(); err != nil {
			return driven{}, err
		}
	}
	type result struct {
		latencies []time.Duration
		warming   int
		err       error
	}
	results := make([]result, j.Goroutines)
	measured := time.Now().Add(j.Time / warmUp)
	over := measured.Add(j.Time)
	var wg sync.WaitGroup
	for g := range results {
		wg.Go(func() {
			r := &results[g]
			for n, began := g*7919, time.Now(); began.Before(over); n++ {
				if r.err = operate(ctx, client, key(n*31), value, n%setsEvery == 0); r.err != nil {
					return
				}
				now := time.Now()
				if began.Before(measured) {
					r.warming++
				} else if now.Before(over) {
					r.latencies = append(r.latencies, now.Sub(began))
				}
				began = now
			}
		})
	}
	wg.Wait()
	d := driven{Requests: workKeys}
	var all []time.Duration
	for _, r := range results {
		if r.err != nil {
			return d, r.err
		}
		d.Requests += r.warming + len(r.latencies)
		all = append(all, r.latencies...)
	}
	if len(all) == 0 {
		return d, fmt.Errorf("no operation completed within %v: want a longer --time", j.Time)
	}
	slices.Sort(all)
	at := func(percent int) float64 { return float64(all[len(all)*percent/100]) / float64(time.Microsecond) }
	d.Ops, d.P50, d.P99 = float64(len(all))/j.Time.Seconds(), at(50), at(99)
	return d, nil
}

func operate(ctx context.Context, client *redis.Client, key, value string, set bool) error {
	if set {
		return client.Set(ctx, key, value, 0).Err()
	}
	got, err := client.Get(ctx, key).Result()
	if err == nil && got != value {
		err = fmt.Errorf("GET %s: the reply is %.80q: want %q", key, got, value)
	}
	return err
}
