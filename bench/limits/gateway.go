package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
)

// The users of the clients.
const (
	limited, unlimited = "limited", "unlimited"
	password           = "secret"
)

// serve is the gateway, in a process of its own: the load must not share its scheduler.
func (c *cli) serve(ctx context.Context) error {
	opt, err := respool.ParseURL(c.RunGateway)
	if err != nil {
		return err
	}
	client, err := respool.New(opt)
	if err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(password))
	user := gateway.User{Passwords: []string{hex.EncodeToString(hash[:])}}
	within := user
	within.Limits = quota.Limits{Rate: quota.Rate{Commands: c.Rate}}
	g, err := gateway.New(client.Engine(), gateway.Config{LimitWait: time.Minute, Users: map[string]gateway.User{
		"default": {}, limited: within, unlimited: user,
	}})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	go reportUsage()
	go func() {
		<-ctx.Done()
		_ = l.Close()
	}()
	if err = g.Serve(l); ctx.Err() != nil {
		err = nil
	}
	ended, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return errors.Join(err, g.Shutdown(ended), client.Close(ended))
}

// reportUsage answers each line of the standard input by the processor time that this process has used, in ns.
func reportUsage() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			fmt.Println(0)
			continue
		}
		fmt.Println(u.Utime.Nano() + u.Stime.Nano())
	}
}

// started is the server and the gateway.
type started struct {
	processes []*exec.Cmd
	addr      string // of the gateway
	in        io.Writer
	out       *bufio.Reader
}

// usage returns the processor time that the gateway has used.
func (s *started) usage() (d time.Duration, err error) {
	if _, err = fmt.Fprintln(s.in); err == nil {
		_, err = fmt.Fscanln(s.out, (*int64)(&d))
	}
	return d, err
}

// start starts a server and a gateway.
func (c *cli) start(ctx context.Context) (*started, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &started{}
	if err := s.add(exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")); err != nil {
		return nil, err
	}
	for {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			_ = conn.Close()
			break
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			s.close()
			return nil, ctx.Err()
		}
	}
	g := exec.Command(os.Args[0], "--run-gateway=redis://127.0.0.1:"+port, fmt.Sprint("--rate=", c.Rate))
	g.Stderr = os.Stderr
	in, err := g.StdinPipe()
	if err == nil {
		var out io.Reader
		out, err = g.StdoutPipe()
		s.in, s.out = in, bufio.NewReader(out)
	}
	if err == nil {
		err = s.add(g)
	}
	if err == nil {
		_, err = fmt.Fscanln(s.out, &s.addr)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *started) add(p *exec.Cmd) error {
	if err := p.Start(); err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}

// close ends the processes, the gateway first.
func (s *started) close() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		_ = s.processes[i].Process.Signal(syscall.SIGTERM)
		_ = s.processes[i].Wait()
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
