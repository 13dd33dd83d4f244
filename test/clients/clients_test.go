//go:build linux

package clients

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

var (
	only       = flag.String("only", "", "run only the programs whose name holds one of these, with commas between them")
	modules    = flag.String("modules", "", "directory that scripts/clients.sh has filled")
	login      = flag.String("auth", "alice:secret", "user and password for the part on users; empty leaves it out")
	outputs    = flag.String("out", "", "directory to write what the programs print to")
	twice      = flag.Bool("straight-twice", false, "run the second time straight on a second server: shows that the programs print the same each time")
	throughCmd = flag.String("through-cmd",
		"{respool} serve redis://{server}?max_connections=8 --listen {listen} --http off --admin --pass-through",
		"what stands between the programs and the server the second time")
)

// tools are what is built once for all programs.
type tools struct {
	dir     string // of the Go programs
	respool string
}

func TestSameOutputStraightAndThrough(t *testing.T) {
	if *modules == "" {
		t.Fatal("this needs the libraries: run make test-clients")
	}
	built := build(t)
	if *outputs != "" {
		if err := os.MkdirAll(*outputs, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range programs(built) {
		if !p.chosen(*only) {
			continue
		}
		t.Run(p.name(), func(t *testing.T) {
			t.Parallel()
			straight := p.run(t, built, "straight", true)
			again := p.run(t, built, "through", *twice)
			report(t, p, "through", straight, again)
			if p.cluster {
				straight.lines = slices.DeleteFunc(straight.lines, onlyOneServer)
				onCluster := p.runOnCluster(t, built)
				onCluster.lines = slices.DeleteFunc(onCluster.lines, onlyOneServer)
				report(t, p, "cluster", straight, onCluster)
			}
		})
	}
}

func build(t *testing.T) tools {
	t.Helper()
	dir := t.TempDir()
	built := tools{dir, filepath.Join(dir, "respool")}
	for _, args := range [][]string{
		{"build", "-o", dir + "/", "./go/goredis", "./go/rueidis"},
		{"-C", "../../cmd/respool", "build", "-o", built.respool, "."},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return built
}

// outcome is what one run of a program came to.
type outcome struct {
	took  time.Duration
	lines []string
	err   error
}

// run runs the program on a server of its own, straight or not.
func (p program) run(t *testing.T, built tools, name string, straight bool) outcome {
	t.Helper()
	s := redistest.Start(t, redistest.Config{Users: users()})
	defer s.Stop()
	addr, stop := s.Addr(), func() error { return nil }
	var more []string
	switch {
	case straight:
	case p.dialer:
		more = []string{"--dialer"}
	default:
		g, err := startGateway(t, built, *throughCmd, s.Addr())
		if err != nil {
			return outcome{err: err}
		}
		addr, stop = g.addr, g.stop
	}
	o := p.execute(t, addr, more...)
	p.keep(t, name, o)
	if err := stop(); o.err == nil && err != nil {
		o.err = err
	}
	if o.err == nil {
		o.err = left(s)
	}
	return o
}

// clusterCmd is the gateway in front of a cluster. Its face is single: the cluster appears as one server.
const clusterCmd = "{respool} serve redis+cluster://{server}?max_connections=8 --listen {listen} --http off --admin --pass-through"

// runOnCluster runs the program through a gateway on a cluster of its own.
func (p program) runOnCluster(t *testing.T, built tools) outcome {
	c := clustertest.Start(t, clustertest.Config{Replicas: -1, NodeTimeout: time.Minute, Users: users()})
	g, err := startGateway(t, built, clusterCmd, strings.Join(clustertest.Addrs(c.Nodes()), ","))
	if err != nil {
		return outcome{err: err}
	}
	o := p.execute(t, g.addr, "--cluster")
	p.keep(t, "cluster", o)
	if err := g.stop(); o.err == nil && err != nil {
		o.err = err
	}
	for _, n := range c.Nodes() {
		if o.err == nil {
			o.err = left(n.Server)
		}
	}
	return o
}

// onlyOneServer reports whether a line is about something that a cluster lacks, so that programs with --cluster leave it
// out, or is the number of subscribers of a message, of whom PUBLISH counts only those at one node.
func onlyOneServer(line string) bool {
	section, _, _ := strings.Cut(line, ":")
	return slices.Contains([]string{"select", "reset", "tracking", "caching", "close", "quit", "publish"}, section)
}

// keep writes what the program has printed to the directory for it.
func (p program) keep(t *testing.T, name string, o outcome) {
	if *outputs == "" {
		return
	}
	file := filepath.Join(*outputs, strings.ReplaceAll(p.name(), " ", "-")+"."+name)
	if err := os.WriteFile(file, []byte(strings.Join(o.lines, "\n")+"\n"), 0o644); err != nil {
		t.Error(err)
	}
}

// users are the ACL rules of the server: the programs expect these limits of the user.
func users() []string {
	name, password, ok := strings.Cut(*login, ":")
	if !ok {
		return nil
	}
	return []string{fmt.Sprintf("user %s on >%s ~*:alice:* &* +@all -keys", name, password)}
}

// left tells what a program has left behind on the server.
func left(s *redistest.Server) error {
	for name, keys := range s.Info("keyspace") {
		return fmt.Errorf("left behind in %s: %s", name, keys)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		n := s.ClientCount()
		if n == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("left behind: %d connections", n)
		}
	}
}

// report prints the program's line, and where the outcomes differ. way is how it ran the second time.
func report(t *testing.T, p program, way string, straight, through outcome) {
	t.Helper()
	verdict := "ok"
	var details []string
	switch {
	case straight.err != nil:
		verdict, details = "failed straight", []string{straight.err.Error()}
	case through.err != nil:
		verdict, details = "failed "+way, []string{through.err.Error()}
		if through.lines != nil {
			details = append(details, differences(straight.lines, through.lines)...)
		}
	default:
		details = differences(straight.lines, through.lines)
	}
	if len(details) > 0 {
		t.Fail()
		if verdict == "ok" {
			verdict = "differs"
		}
	}
	line := fmt.Sprintf("%-24s%5.1f s straight%5.1f s %s  %4d lines  %s\n",
		p.name(), straight.took.Seconds(), through.took.Seconds(), way, len(straight.lines), verdict)
	for _, d := range details {
		line += "    " + strings.ReplaceAll(strings.TrimSpace(d), "\n", "\n    ") + "\n"
	}
	fmt.Print(line)
}
