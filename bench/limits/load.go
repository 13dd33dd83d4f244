package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// sample is the outcome of one run.
type sample struct {
	p50, p99 time.Duration // of the others
	rate     float64       // commands per second of the others
	extra    float64       // commands per second of the user
	cpu      float64       // processors that the gateway has used
}

// request is the command of all clients.
const request = "*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n"

// run is one run of a load.
type run struct {
	ctx     context.Context
	begin   time.Time // of what counts: the limited user has used its burst by then
	end     time.Time
	replies atomic.Int64 // of the user
	clients sync.WaitGroup
	failed  chan error

	mu    sync.Mutex
	times []time.Duration // of the others
}

func (c *cli) newRun(ctx context.Context, begin time.Time, d time.Duration) *run {
	return &run{ctx: ctx, begin: begin, end: begin.Add(d), failed: make(chan error, c.Others+c.Clients)}
}

// client starts a client of a user.
func (r *run) client(addr, user string, serve func(net.Conn, *bufio.Reader) error) {
	r.clients.Go(func() { r.failed <- r.dial(addr, user, serve) })
}

// wait waits for the end of all clients.
func (r *run) wait() (err error) {
	r.clients.Wait()
	close(r.failed)
	for one := range r.failed {
		err = errors.Join(err, one)
	}
	return errors.Join(err, r.ctx.Err())
}

// measure runs a load for a time, after a warm-up.
func (c *cli) measure(ctx context.Context, g *started, load int, d time.Duration) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	used, err := g.usage()
	if err != nil {
		return sample{}, err
	}
	now := time.Now()
	r := c.newRun(ctx, now.Add(time.Second), d)
	user, err := c.startUser(ctx, load, g.addr, r)
	if err != nil {
		return sample{}, err
	}
	for i := range c.Others {
		r.client(g.addr, "", func(conn net.Conn, in *bufio.Reader) error { return r.paced(conn, in, c.Others, i, c.Pace, r.other) })
	}
	if err = r.wait(); err != nil {
		return sample{}, err
	}
	extra, err := user.replies()
	if err != nil {
		return sample{}, err
	}
	until, err := g.usage()
	if err != nil {
		return sample{}, err
	}
	cpu := (until - used).Seconds() / time.Since(now).Seconds()
	slices.Sort(r.times)
	n := len(r.times)
	if n == 0 {
		return sample{}, errors.New("no reply within the time")
	}
	return sample{p50: r.times[n/2], p99: r.times[n*99/100], rate: float64(n) / d.Seconds(), extra: extra / d.Seconds(), cpu: cpu}, nil
}

// dial connects a client of a user, and serves it until the end of the run.
func (r *run) dial(addr, user string, serve func(net.Conn, *bufio.Reader) error) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	if user != "" {
		if _, err := fmt.Fprintf(conn, "AUTH %s %s\r\n", user, password); err != nil {
			return err
		}
		if line, err := in.ReadString('\n'); err != nil || line != "+OK\r\n" {
			return fmt.Errorf("AUTH: %q, %w", line, err)
		}
	}
	return serve(conn, in)
}

// paced sends commands at fixed times, whether the replies have come or not. note receives the time of each reply.
func (r *run) paced(conn net.Conn, in *bufio.Reader, clients, i, pace int, note func(sent, now time.Time)) error {
	every := time.Second * time.Duration(clients) / time.Duration(pace)
	sent := make(chan time.Time, 100_000)
	read := make(chan error, 1)
	go func() {
		for at := range sent {
			if err := readReply(in); err != nil {
				read <- err
				return
			}
			note(at, time.Now())
		}
		read <- nil
	}()
	for next := r.begin.Add(-time.Second + every*time.Duration(i)/time.Duration(clients)); next.Before(r.end) && r.ctx.Err() == nil; next = next.Add(every) {
		time.Sleep(time.Until(next))
		sent <- time.Now()
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
	}
	close(sent)
	return <-read
}

// greedy sends the next command as soon as the reply has come.
func (r *run) greedy(conn net.Conn, in *bufio.Reader) error {
	for now := time.Now(); now.Before(r.end) && r.ctx.Err() == nil; {
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		if err := readReply(in); err != nil {
			return err
		}
		sent := now
		now = time.Now()
		r.ofUser(sent, now)
	}
	return nil
}

func readReply(in *bufio.Reader) error {
	line, err := in.ReadString('\n')
	if err == nil && line != "$-1\r\n" {
		err = fmt.Errorf("the reply %q: want none", line)
	}
	return err
}

// counts reports whether a reply came within the time.
func (r *run) counts(now time.Time) bool { return !now.Before(r.begin) && now.Before(r.end) }

func (r *run) other(sent, now time.Time) {
	if r.counts(now) {
		r.mu.Lock()
		r.times = append(r.times, now.Sub(sent))
		r.mu.Unlock()
	}
}

func (r *run) ofUser(_, now time.Time) {
	if r.counts(now) {
		r.replies.Add(1)
	}
}
