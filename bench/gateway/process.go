package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server or a proxy of the comparison.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // file with its output
	ended chan struct{} // closed when it has ended
}

// start starts a process in its own group. Its output goes to a file in dir.
func start(dir, name string, argv ...string) (*process, error) {
	log, err := os.CreateTemp(dir, name+"-*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, log, log, ownGroup()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, cmd: cmd, log: log.Name(), ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process and its children, and waits for it.
func (p *process) stop() {
	_ = syscall.Kill(-p.pid(), syscall.SIGKILL)
	<-p.ended
}

// failed adds the output of the process to an error.
func (p *process) failed(err error) error {
	b, _ := os.ReadFile(p.log)
	b = bytes.TrimSpace(b)
	if limit := 2000; len(b) > limit {
		b = b[len(b)-limit:]
	}
	return fmt.Errorf("%s: %w\n%s", strings.Join(p.cmd.Args, " "), err, b)
}

const (
	readyLimit = 20 * time.Second
	lookEvery  = 10 * time.Millisecond
)

// ready waits until the process answers PING at addr.
func (p *process) ready(addr string) error {
	var err error
	for limit := time.Now().Add(readyLimit); time.Now().Before(limit); {
		if err = ping(addr); err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return p.failed(errors.New("ended before it replied to PING"))
		case <-time.After(lookEvery):
		}
	}
	return p.failed(fmt.Errorf("no reply to PING for %v: %w", readyLimit, err))
}

const pingCommand = "*1\r\n$4\r\nPING\r\n"

func ping(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	return pingOn(conn)
}

func pingOn(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(readyLimit)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(pingCommand)); err != nil {
		return err
	}
	var b [7]byte
	for n := 0; n < len(b); {
		m, err := conn.Read(b[n:])
		if err != nil {
			return err
		}
		n += m
	}
	if string(b[:]) != "+PONG\r\n" {
		return fmt.Errorf("the reply to PING is %q", b)
	}
	return nil
}

// freeAddr returns an address of this machine without a listener. It avoids the ports that the
// kernel assigns to connections.
func freeAddr() string {
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+rand.IntN(20000)))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}

// tick is the unit of times in /proc/PID/stat: USER_HZ, 100 per second on all machines that Go
// supports.
const tick = 10 * time.Millisecond

// processorTime returns the processor time of a process so far, in user and system mode.
func processorTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(b))
}

// parseStat adds utime and stime, the fields 14 and 15. The second field is the name of the program
// in parentheses, and may contain any characters.
func parseStat(line string) (time.Duration, error) {
	rest := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(rest) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat is %.200q: want 15 fields at least", line)
	}
	user, err := strconv.ParseInt(rest[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(rest[12], 10, 64)
	return time.Duration(user+system) * tick, err
}

// resident returns VmRSS of a process, in KiB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseResident(string(b))
}

func parseResident(status string) (float64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
		}
	}
	return 0, errors.New("/proc/PID/status has no VmRSS")
}
