//go:build linux

package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programLimit ends a program that does not end itself, as each should after 60 s.
const programLimit = 70 * time.Second

// program is a client library's program, in one protocol.
type program struct {
	library  string
	protocol int
	command  []string
	dialer   bool // it goes through in its own process, over connections in memory
	cluster  bool // it also goes through a gateway on a cluster
}

// programs lists all. Debian's redis-py 4.3.4 speaks only RESP2.
func programs(built tools) []program {
	python := func(words ...string) []string { return append([]string{"/usr/bin/python3"}, words...) }
	all := []program{
		{library: "redis-py asyncio", protocol: 2, cluster: true, command: python("python/redispy.py", "asyncio")},
		{library: "redis-py sync", protocol: 2, cluster: true, command: python("python/redispy.py", "sync")},
	}
	for _, both := range []program{
		{library: "redis-cli", command: python("python/rediscli.py")},
		{library: "ioredis", command: []string{"node", "node/ioredis.js"}},
		{library: "node-redis", command: []string{"node", "node/noderedis.js"}},
		{library: "go-redis", command: []string{filepath.Join(built.dir, "goredis")}},
		{library: "go-redis dialer", command: []string{filepath.Join(built.dir, "goredis")}, dialer: true},
		{library: "rueidis", command: []string{filepath.Join(built.dir, "rueidis")}},
		{library: "rueidis dialer", command: []string{filepath.Join(built.dir, "rueidis")}, dialer: true},
	} {
		for both.protocol = 2; both.protocol <= 3; both.protocol++ {
			both.cluster = both.protocol == 3 && !both.dialer
			all = append(all, both)
		}
	}
	return all
}

func (p program) name() string { return fmt.Sprintf("%s RESP%d", p.library, p.protocol) }

func (p program) chosen(only string) bool {
	for word := range strings.SplitSeq(only, ",") {
		if strings.Contains(p.name(), word) {
			return true
		}
	}
	return false
}

// execute runs the program against an address, with more arguments.
func (p program) execute(t *testing.T, addr string, more ...string) outcome {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return outcome{err: err}
	}
	args := append(p.command[1:len(p.command):len(p.command)], host, port, strconv.Itoa(p.protocol))
	if *login != "" {
		args = append(args, "--auth", *login)
	}
	args = append(args, more...)
	ctx, cancel := context.WithTimeout(t.Context(), programLimit)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, p.command[0], args...)
	cmd.Env = programEnv()
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ownGroup(cmd)
	begun := time.Now()
	err = cmd.Run()
	o := outcome{took: time.Since(begun), lines: strings.Split(strings.TrimRight(stdout.String(), "\n"), "\n")}
	switch {
	case err != nil:
		o.err = fmt.Errorf("%w after %q: %s", err, o.lines[len(o.lines)-1], tail(stderr.String()))
	case len(o.lines) < 20:
		o.err = errors.New("it printed next to nothing: " + stdout.String())
	}
	return o
}

// programEnv is the environment of the programs.
func programEnv() []string {
	return append(os.Environ(), "NODE_PATH="+filepath.Join(*modules, "node_modules"), "PYTHONDONTWRITEBYTECODE=1")
}

// ownGroup has the command's children end with it, and all of them with the test.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
}

// tail is the end of what a process wrote.
func tail(text string) string {
	const length = 2000
	return strings.TrimSpace(text[max(0, len(text)-length):])
}
