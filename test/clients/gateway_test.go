//go:build linux

package clients

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

const (
	startLimit = 10 * time.Second
	stopLimit  = 10 * time.Second
)

// gateway is what stands between the programs and the server.
type gateway struct {
	addr   string
	cmd    *exec.Cmd
	cancel context.CancelFunc
	ended  chan struct{}
	err    error        // why it ended; read once ended is closed
	stderr bytes.Buffer // likewise
}

// startGateway starts it with a command, and returns when it answers.
func startGateway(t *testing.T, built tools, command, server string) (*gateway, error) {
	g := &gateway{addr: testkit.ReserveAddr(t), ended: make(chan struct{})}
	words := strings.Fields(strings.NewReplacer("{respool}", built.respool, "{server}", server, "{listen}", g.addr).Replace(command))
	ctx, cancel := context.WithCancel(t.Context())
	g.cancel = cancel
	g.cmd = exec.CommandContext(ctx, words[0], words[1:]...)
	g.cmd.Stderr = &g.stderr
	ownGroup(g.cmd)
	if err := g.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("start the gateway: %w", err)
	}
	go func() {
		g.err = g.cmd.Wait()
		close(g.ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-g.ended
	})
	for end := time.Now().Add(startLimit); ; {
		err := ping(g.addr)
		if err == nil {
			return g, nil
		}
		select {
		case <-g.ended:
			return nil, fmt.Errorf("the gateway ended at once (-straight-twice does without it): %w: %s", ended(g.err), tail(g.stderr.String()))
		case <-time.After(2 * time.Millisecond):
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("the gateway does not answer within %v: %w", startLimit, err)
		}
	}
}

// ended says so where a process has ended without an error too.
func ended(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// stop ends it as an operator does.
func (g *gateway) stop() error {
	defer g.cancel()
	select {
	case <-g.ended:
		return fmt.Errorf("the gateway ended before its time: %w: %s", ended(g.err), tail(g.stderr.String()))
	default:
	}
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the gateway: %w", err)
	}
	select {
	case <-g.ended:
	case <-time.After(stopLimit):
		return fmt.Errorf("the gateway does not end within %v of SIGTERM", stopLimit)
	}
	if g.err != nil {
		return fmt.Errorf("the gateway ended with %w: %s", g.err, tail(g.stderr.String()))
	}
	return nil
}

func ping(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "*1\r\n$4\r\nPING\r\n"); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && reply != "+PONG\r\n" {
		err = fmt.Errorf("it answers PING with %q", reply)
	}
	return err
}
