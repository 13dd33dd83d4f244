package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"
)

// process runs the clients of the user. They have a process of their own, so that the replies to the other clients do not wait
// for them in the program that measures. Nil: there are none.
type process struct {
	cmd *exec.Cmd
	out io.Reader
}

// startUser starts the clients of a load for a run.
func (c *cli) startUser(ctx context.Context, load int, addr string, r *run) (*process, error) {
	if load == 0 {
		return nil, nil
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	user := map[int]string{1: limited, 2: unlimited}[load]
	p := &process{cmd: exec.CommandContext(ctx, self, "--run-user", user, "--addr", addr, "--begin", r.begin.Format(time.RFC3339Nano),
		"--time", r.end.Sub(r.begin).String(), "--clients", fmt.Sprint(c.Clients), "--rate", fmt.Sprint(c.Rate))}
	p.cmd.Stderr = os.Stderr
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return p, p.cmd.Start()
}

// replies returns how many replies the clients got, after they have ended.
func (p *process) replies() (n float64, err error) {
	if p == nil {
		return 0, nil
	}
	_, err = fmt.Fscan(p.out, &n)
	if ended := p.cmd.Wait(); ended != nil {
		return 0, fmt.Errorf("the process of the user's clients: %w", ended)
	}
	return n, err
}

// beUser runs the clients of the user, and prints how many replies they got.
func (c *cli) beUser(ctx context.Context) error {
	r := c.newRun(ctx, c.Begin, c.Time)
	for i := range c.Clients {
		serve := r.greedy
		if c.RunUser == unlimited {
			serve = func(conn net.Conn, in *bufio.Reader) error { return r.paced(conn, in, c.Clients, i, c.Rate, r.ofUser) }
		}
		r.client(c.Addr, c.RunUser, serve)
	}
	if err := r.wait(); err != nil {
		return err
	}
	fmt.Println(r.replies.Load())
	return nil
}
