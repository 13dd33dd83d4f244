package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/gomodule/redigo/redis"
)

// lab contains the measured redis-server and the settings for starting the subjects.
type lab struct {
	dir         string
	redis       *process
	addr        string
	control     redis.Conn
	version     string // of redis-server
	rounds      int
	connections int

	gateway []string // the command, with {redis}, {listen}, {connections} and {pprof} in it; or direct, or twemproxy
	missing []string // subjects that are not installed
}

// openLab starts redis-server and fills it with the keys of redis-benchmark.
func openLab(ctx context.Context, c *cli) (*lab, error) {
	dir, err := os.MkdirTemp("", "bench-gateway")
	if err != nil {
		return nil, err
	}
	l := &lab{dir: dir, rounds: c.Rounds, connections: c.Connections}
	if err := l.open(ctx, c); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) open(ctx context.Context, c *cli) error {
	server := cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server")
	for _, name := range []string{server, "redis-benchmark"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: want it on the PATH (scripts/deps.sh installs it), or REDIS_SERVER set to the path of a server", err)
		}
	}
	if _, err := exec.LookPath("nutcracker"); err != nil {
		l.missing = append(l.missing, twemproxy)
	}
	if err := raiseFiles(); err != nil {
		return err
	}
	var err error
	if l.gateway, err = l.gatewayCommand(ctx, c); err != nil {
		return err
	}
	l.addr = freeAddr()
	host, port, _ := strings.Cut(l.addr, ":")
	l.redis, err = start(l.dir, "redis-server", server, "--bind", host, "--port", port, "--dir", l.dir,
		"--save", "", "--appendonly", "no", "--maxclients", "15000")
	if err != nil {
		return err
	}
	if err := l.redis.ready(l.addr); err != nil {
		return err
	}
	if l.control, err = redis.DialContext(ctx, "tcp", l.addr); err != nil {
		return err
	}
	info, err := redis.String(l.control.Do("INFO", "server"))
	if err != nil {
		return err
	}
	l.version = infoField(info, "redis_version")
	return l.store()
}

// filesWanted is the number of files for the load of 10,000 clients, and for each process that
// serves it.
const filesWanted = 12_000

// raiseFiles raises the limit of open files for this process, and explicitly for its children.
func raiseFiles() error {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	if r.Max < filesWanted {
		return fmt.Errorf("the limit of open files is %d: want at least %d (ulimit -Hn)", r.Max, filesWanted)
	}
	r.Cur = r.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r)
}

const storeBatch = 1000

// store gives every key of redis-benchmark a value, so that each GET finds one.
func (l *lab) store() error {
	value := strings.Repeat("x", valueSize)
	for from := 0; from < keyCount; from += storeBatch {
		args := redis.Args{}
		for i := range storeBatch {
			args = args.Add(fmt.Sprintf("key:%012d", from+i), value)
		}
		if _, err := l.control.Do("MSET", args...); err != nil {
			return fmt.Errorf("store the keys: %w", err)
		}
	}
	return nil
}

// processed returns the number of commands that redis-server has executed.
func (l *lab) processed() (int, error) {
	info, err := redis.String(l.control.Do("INFO", "stats"))
	if err != nil {
		return 0, err
	}
	var n int
	_, err = fmt.Sscan(infoField(info, "total_commands_processed"), &n)
	return n, err
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (l *lab) close() {
	if l.control != nil {
		_ = l.control.Close()
	}
	if l.redis != nil {
		l.redis.stop()
	}
	_ = os.RemoveAll(l.dir)
}

// gatewayCommand returns the command line of the gateway.
func (l *lab) gatewayCommand(ctx context.Context, c *cli) ([]string, error) {
	words := strings.Fields(c.Gateway)
	switch {
	case c.Gateway == direct || c.Gateway == twemproxy:
		if len(c.GatewayArg) > 0 {
			return nil, fmt.Errorf("--gateway %s takes no --gateway-arg", c.Gateway)
		}
		if slices.Contains(l.missing, c.Gateway) {
			return nil, fmt.Errorf("--gateway %s: nutcracker is not installed (scripts/deps.sh nutcracker installs it)", c.Gateway)
		}
		return words, nil
	case strings.Contains(c.Gateway, "{listen}"):
		return append(words, c.GatewayArg...), nil
	case len(words) == 0:
		path := filepath.Join(l.dir, "respool")
		if err := build(ctx, path); err != nil {
			return nil, err
		}
		words = []string{path}
	}
	if path, err := exec.LookPath(words[0]); err == nil {
		if words[0], err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	words = append(words, "serve", "redis://{redis}?max_connections={connections}",
		"--listen", "{listen}", "--http", "off", "--max-clients", "15000")
	return append(words, c.GatewayArg...), nil
}

// build builds respool from the sources of this module.
func build(ctx context.Context, path string) error {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/seed-2b0d76a6/respool").Output()
	if err != nil {
		return fmt.Errorf("find respool's sources: %w: run it within bench, or set --gateway", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join(strings.TrimSpace(string(dir)), "cmd", "respool")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build respool: %w\n%s", err, out)
	}
	return nil
}

// facts returns the facts of the machine and of the comparison.
func (l *lab) facts() facts {
	f := facts{Redis: l.version, Go: runtime.Version(), CPUs: runtime.NumCPU(), CPU: cpuModel(), Kernel: kernel(),
		Benchmark: firstLine("redis-benchmark", "--version"), Rounds: l.rounds, Connections: l.connections,
		Gateway: strings.TrimPrefix(strings.Join(l.gateway, " "), l.dir+"/")}
	if !slices.Contains(l.missing, twemproxy) {
		f.Twemproxy = strings.TrimPrefix(firstLine("nutcracker", "--version"), "This is ")
	}
	return f
}

// firstLine returns the first line that a program prints.
func firstLine(argv ...string) string {
	out, _ := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(b))
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
