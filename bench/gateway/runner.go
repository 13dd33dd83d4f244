package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// runner measures each subject of each case, in turn.
type runner struct {
	lab      *lab
	rounds   int
	time     time.Duration
	requests int    // of each kind in a run of redis-benchmark; 0: as many as fit the time
	profiles string // directory; empty: none
	note     func(line string)
}

// results are the samples by case and subject, one for each round.
type results map[string]map[string][]sample

// run runs all cases. It omits a case that fails from the results, and continues.
func (r *runner) run(ctx context.Context, cases []gatewayCase) (results, error) {
	all := results{}
	var failed error
	for _, name := range r.lab.missing {
		r.note(name + " is not installed and is omitted (scripts/deps.sh nutcracker installs it)")
	}
	for _, c := range cases {
		rounds, err := r.runCase(ctx, c)
		if ctx.Err() != nil {
			return all, errors.Join(failed, ctx.Err())
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("case %s: %w", c.Name, err))
			continue
		}
		all[c.Name] = rounds
	}
	return all, failed
}

// measurement is one run of a subject. A file name requests a profile.
type measurement func(profile string) (sample, error)

func (r *runner) runCase(ctx context.Context, c gatewayCase) (map[string][]sample, error) {
	names := slices.DeleteFunc(slices.Clone(c.subjects), func(name string) bool { return slices.Contains(r.lab.missing, name) })
	runs := map[string]measurement{}
	for _, name := range names {
		switch c.Load {
		case idle:
			runs[name] = func(string) (sample, error) { return r.runIdle(ctx, name, c) }
		case workers:
			runs[name] = func(string) (sample, error) { return r.runWorkers(ctx, name, c) }
		case goRedis:
			runs[name] = func(profile string) (sample, error) { return r.runGoRedis(ctx, name, c, profile) }
		default:
			s, err := r.lab.subject(name, c)
			if err != nil {
				return nil, err
			}
			defer s.close()
			n, err := r.calibrate(ctx, s, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			runs[name] = func(profile string) (sample, error) {
				done := r.fetch(ctx, s, profile)
				m, err := r.runBenchmark(ctx, s, c, n)
				if profileErr := done(); err == nil {
					err = profileErr
				}
				return m, err
			}
		}
	}
	rounds := map[string][]sample{}
	for round := range r.rounds {
		for _, name := range order(names, round) {
			r.note(fmt.Sprintf("%s, round %d of %d: %s", c.Name, round+1, r.rounds, name))
			m, err := runs[name]("")
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			rounds[name] = append(rounds[name], m)
		}
	}
	return rounds, r.profile(c, runs)
}

// profile runs respool's side once more with a profile, because a profile slows it down.
func (r *runner) profile(c gatewayCase, runs map[string]measurement) error {
	if r.profiles == "" || c.Load == idle || c.Load == workers {
		return nil
	}
	for _, name := range []string{gateway, dialer} {
		if runs[name] == nil {
			continue
		}
		path := filepath.Join(r.profiles, c.Name+"-"+name+".pprof")
		r.note("profile " + path)
		if _, err := runs[name](path); err != nil {
			return fmt.Errorf("profile of %s: %w", name, err)
		}
	}
	return nil
}

// order returns the order of the subjects in a round. Each round begins with another subject. After
// each subject was first once, the order is reversed, so that within six rounds three subjects have
// each order once.
func order(names []string, round int) []string {
	n := len(names)
	turned := slices.Concat(names[round%n:], names[:round%n])
	if round/n%2 == 1 {
		slices.Reverse(turned)
	}
	return turned
}

// fetch starts to fetch a profile of the gateway into a file, if one is requested. It returns a
// function that waits for it.
func (r *runner) fetch(ctx context.Context, s *subject, path string) (wait func() error) {
	if path == "" {
		return func() error { return nil }
	}
	seconds := max(1, int(r.time.Seconds()))
	fetched := make(chan error, 1)
	go func() {
		fetched <- download(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.pprof, seconds), path)
	}()
	return func() error { return <-fetched }
}

func download(ctx context.Context, url, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, answer.Status, strings.TrimSpace(string(b[:min(len(b), 200)])))
	}
	return os.WriteFile(path, b, 0o644)
}
