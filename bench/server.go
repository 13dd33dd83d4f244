package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
)

// server is the measured redis-server, with a connection that watches it.
type server struct {
	addr    string
	version string
	cmd     *exec.Cmd // nil: another process owns the server
	dir     string

	mu   sync.Mutex
	conn redis.Conn
}

// openServer starts a redis-server, or uses the one at addr.
func openServer(ctx context.Context, addr string) (*server, error) {
	s := &server{addr: addr}
	if addr == "" {
		if err := s.start(); err != nil {
			return nil, err
		}
	}
	if err := s.connect(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *server) start() error {
	path, err := exec.LookPath(cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server"))
	if err != nil {
		return fmt.Errorf("%w: want redis-server on the PATH, REDIS_SERVER set to the path of a server, or --addr of one that runs", err)
	}
	if s.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	port := freePort()
	s.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no", "--maxclients", "20000"}
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		return fmt.Errorf("%s --version: %w", path, err)
	}
	if !strings.Contains(string(version), " v=6.") { // Redis 6 always allows DEBUG, and does not know this option
		args = append(args, "--enable-debug-command", "yes")
	}
	s.cmd = exec.Command(path, args...)
	return s.cmd.Start()
}

func freePort() int {
	for {
		port := 10000 + rand.IntN(20000)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
}

func (s *server) connect(ctx context.Context) error {
	var err error
	for range 200 {
		if s.conn, err = redis.DialContext(ctx, "tcp", s.addr); err == nil || s.cmd == nil {
			break
		}
		time.Sleep(25 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err)
	}
	info, err := redis.String(s.conn.Do("INFO", "server"))
	if err != nil {
		return fmt.Errorf("INFO of the server at %s: %w", s.addr, err)
	}
	s.version = infoField(info, "redis_version")
	return nil
}

// serverTime returns the processor time of the server so far, in user and system mode.
func serverTime(conn redis.Conn) (time.Duration, error) {
	info, err := redis.String(conn.Do("INFO", "cpu"))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		d, err := time.ParseDuration(infoField(info, name) + "s")
		if err != nil {
			return 0, fmt.Errorf("%s in INFO cpu: %w", name, err)
		}
		sum += d
	}
	return sum, nil
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// store stores the keys of a case.
func (s *server) store(c benchCase) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	sets := [][]keyValue{makeKeys(smallSize, smallKeys)}
	if c.Size > 0 && c.Size != smallSize {
		sets = append(sets, makeKeys(c.Size, c.Keys))
	}
	for _, keys := range sets {
		for _, k := range keys {
			if _, err := s.conn.Do("SET", k.name, k.value); err != nil {
				return err
			}
		}
	}
	if _, err := s.conn.Do("SET", limitKey, strings.Repeat("x", smallSize)); err != nil {
		return err
	}
	_, err := s.conn.Do("DEL", popKey, emptyKey)
	return err
}

// sockets returns the number of connections that the server counts, without the watching one.
func (s *server) sockets() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := redis.String(s.conn.Do("INFO", "clients"))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(infoField(info, "connected_clients"))
	return n - 1, err
}

func (s *server) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

const (
	popKey     = "bench:list"
	emptyKey   = "bench:empty" // without elements
	counterKey = "bench:counter"
)

// limitKey is the key that redis-benchmark reads.
const limitKey = "key:__rand_int__"

type keyValue struct{ name, value string }

// makeKeys returns the keys for a value size, with their values. They are the same in every
// process.
func makeKeys(size, n int) []keyValue {
	keys := make([]keyValue, n)
	for i := range keys {
		name := fmt.Sprintf("bench:%d:%04d", size, i)
		keys[i] = keyValue{name, strings.Repeat(name+"/", size/len(name)+1)[:size]}
	}
	return keys
}
