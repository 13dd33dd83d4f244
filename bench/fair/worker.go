package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
)

// worker is a process with the clients of a load, so that they do not take the goroutines' turns of the gateway.
type worker struct {
	cmd *exec.Cmd
	end io.Closer
	out io.Reader
}

func startWorker(ctx context.Context, l *load, addr string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.CommandContext(ctx, self, "--load", l.name, "--worker", addr)}
	w.cmd.Stderr = os.Stderr
	if w.end, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if w.out, err = w.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	var ready string
	_, err = fmt.Fscan(w.out, &ready)
	return w, err
}

// stop ends the process and returns how many bytes its clients have received.
func (w *worker) stop() (bytes int64, err error) {
	_ = w.end.Close()
	_, scanErr := fmt.Fscan(w.out, &bytes)
	if err := w.cmd.Wait(); err != nil {
		return 0, fmt.Errorf("the process of the load: %w", err)
	}
	return bytes, scanErr
}

// work runs the clients of a load until the input ends.
func work(l *load, addr string) {
	var bytes atomic.Int64
	var clients sync.WaitGroup
	end := make(chan struct{})
	fmt.Println("ready")
	for range l.clients {
		clients.Go(func() { l.run(addr, end, &bytes) })
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(end)
	clients.Wait()
	fmt.Println(bytes.Load())
}
