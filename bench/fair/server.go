package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"
)

// server is a real redis-server with the values of the loads.
type server struct {
	cmd  *exec.Cmd
	dir  string
	addr string
}

const (
	readyLimit = 20 * time.Second
	lookEvery  = 10 * time.Millisecond
)

func startServer(ctx context.Context) (*server, error) {
	dir, err := os.MkdirTemp("", "bench-fair")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, addr: l.Addr().String()}
	_, port, _ := net.SplitHostPort(s.addr)
	_ = l.Close()
	name := cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server")
	s.cmd = exec.CommandContext(ctx, name, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "no")
	if err := s.cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start %s: %w (REDIS_SERVER may have the path of a server)", name, err)
	}
	if err := s.fill(); err != nil {
		_ = s.stop()
		return nil, err
	}
	return s, nil
}

// fill waits for the server and stores the values.
func (s *server) fill() error {
	for limit := time.Now().Add(readyLimit); ; time.Sleep(lookEvery) {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			if time.Now().After(limit) {
				return err
			}
			continue
		}
		defer conn.Close()
		return fill(conn)
	}
}

func (s *server) stop() error {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	return os.RemoveAll(s.dir)
}
