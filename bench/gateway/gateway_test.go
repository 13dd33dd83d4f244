package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestRedisBenchmarksTableIsRead(t *testing.T) {
	out, err := os.ReadFile("testdata/redis-benchmark-7.0.csv")
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseBenchmark(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := (sample{Get: 126582.27, Set: 131578.95, P50: 279, P99: 495}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	head, _, _ := strings.Cut(string(out), "\n")
	for _, bad := range []string{"", "Could not connect", head, head + "\n" + `"GET","inf?","1","1","1","1","1","1"`,
		`"test","rps"` + "\n" + `"GET","5"`, strings.ReplaceAll(string(out), `"SET"`, `"PING"`)} {
		if s, err := parseBenchmark([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, s)
		}
	}
}

func TestProcFilesAreRead(t *testing.T) {
	d, err := parseStat("42 (a ) (b) S 1 42 42 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 1 0 100 1 1")
	if err != nil || d != 1750*time.Millisecond {
		t.Errorf("processor time %v, %v: want 1.75s", d, err)
	}
	if _, err := parseStat("42 (a)"); err == nil {
		t.Error("a line cut short is read")
	}
	kib, err := parseResident("Name:\ta\nVmHWM:\t    9000 kB\nVmRSS:\t    5124 kB\n")
	if err != nil || kib != 5124 {
		t.Errorf("resident %v, %v: want 5124", kib, err)
	}
	if kib, err = resident(os.Getpid()); err != nil || kib < 1000 {
		t.Errorf("this process: %v KiB, %v", kib, err)
	}
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	rounds := map[string][]sample{
		direct:  {{Get: 100, P99: 10}, {Get: 50, P99: 40}, {Get: 200, P99: 10}},
		gateway: {{Get: 90, P99: 10}, {Get: 60, P99: 20}, {Get: 100, P99: 30}},
	}
	s, ok := compared(rounds, get, gateway, direct)
	if want := (spread{0.9, 0.5, 1.2}); !ok || s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if s, ok = compared(rounds, p99, gateway, direct); !ok || s != (spread{1, 0.5, 3}) {
		t.Errorf("of p99: %+v", s)
	}
	if _, ok = compared(rounds, get, gateway, twemproxy); ok {
		t.Error("a ratio to what was not measured")
	}
	if m := medianSample([]sample{{Get: 1, P50: 4}, {Get: 3, P50: 2}}); m.Get != 2 || m.P50 != 3 {
		t.Errorf("of two: %+v", m)
	}
}

func TestTargetsHoldUpToTheirLimits(t *testing.T) {
	cases, err := selectCases([]string{"c50", "c1000", "c50-p16", "idle"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(gatewayGet, gatewayP99, more float64) results {
		three := map[string][]sample{direct: {{Get: 100, P99: 10}}, twemproxy: {{Get: 50}}, gateway: {{Get: gatewayGet, P99: gatewayP99}}}
		return results{"c50": three, "c1000": three, "c50-p16": three, "idle": {gateway: {{Before: 1024, After: 1024 + more*mib}}}}
	}
	judge := func(r results) (held []bool) {
		for _, g := range makeReport(facts{}, cases, r).Targets {
			held = append(held, g.OK)
		}
		return held
	}
	for _, c := range []struct {
		r    results
		want []bool // c50, c1000, its p99, c50-p16, idle
	}{
		{at(110, 10, 59), []bool{true, true, true, true, true}},
		{at(85, 11, 60), []bool{true, false, false, true, false}},
		{at(84, 9, 61), []bool{false, false, true, false, false}},
		{results{}, []bool{false, false, false, false, false}},
	} {
		if got := judge(c.r); !slices.Equal(got, c.want) {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
}

func TestTheTableOfWorkersHasTheirConnections(t *testing.T) {
	cases, err := selectCases([]string{"workers"})
	if err != nil {
		t.Fatal(err)
	}
	r := results{"workers": {direct: {{Get: 100, P50: 7, Connections: 200}}, gateway: {{Get: 50, P50: 9, ProxyCPU: 1.5, Connections: 5}}}}
	var out strings.Builder
	makeReport(facts{Connections: 8}, cases, r).writeTable(&out)
	var lines []string
	for line := range strings.Lines(out.String()) {
		if fields := strings.Fields(line); len(fields) > 0 && (fields[0] == direct || fields[0] == gateway) {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	want := []string{"direct 100 1 7 0 0.00 - 0.00 200", "gateway 50 0.50 (0.50-0.50) 9 0 0.00 1.50 0.00 5"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

func TestSixRoundsHaveEachOrderOnce(t *testing.T) {
	seen := map[string]bool{}
	for round := range 6 {
		seen[strings.Join(order([]string{"a", "b", "c"}, round), "")] = true
	}
	if len(seen) != 6 {
		t.Errorf("%v", seen)
	}
	first := map[string]int{}
	for round := range 4 {
		first[order([]string{"a", "b"}, round)[0]]++
	}
	if first["a"] != 2 || first["b"] != 2 {
		t.Errorf("of two subjects those come first: %v", first)
	}
}

func TestRequestsFillTheTime(t *testing.T) {
	if n := fill(sample{Get: 100_000, Set: 50_000}, 3*time.Second); n != 100_000 {
		t.Errorf("%d: want 100000 of each, in 1s and 2s", n)
	}
	if n := fill(sample{Get: 10, Set: 10}, time.Second); n != 1000 {
		t.Errorf("%d: want 1000 at least", n)
	}
}

func TestTheGatewaysCommand(t *testing.T) {
	l := &lab{}
	command := func(c cli) string {
		t.Helper()
		c.Connections = 8
		words, err := l.gatewayCommand(t.Context(), &c)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(words, " ")
	}
	for _, x := range []struct {
		c    cli
		want string
	}{
		{cli{Gateway: "/bin/true", GatewayArg: []string{"--pprof={pprof}"}},
			"/bin/true serve redis://{redis}?max_connections={connections} --listen {listen} --http off --max-clients 15000 --pprof={pprof}"},
		{cli{Gateway: "proxy {redis} {listen}"}, "proxy {redis} {listen}"},
		{cli{Gateway: direct}, direct},
	} {
		if got := command(x.c); got != x.want {
			t.Errorf("got %s, want %s", got, x.want)
		}
	}
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	cases, err := selectCases([]string{"c50"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := selectCases([]string{"c51"}); err == nil || !strings.Contains(err.Error(), `"c51"`) {
		t.Errorf("an unknown case: %v", err)
	}
	good := cli{Rounds: 1, Time: time.Second, Connections: 8, Profile: ".", GatewayArg: []string{"--pprof={pprof}"}}
	if err := good.check(cases); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*cli){
		"{pprof}":         func(c *cli) { c.GatewayArg = nil },
		"--rounds 0":      func(c *cli) { c.Rounds = 0 },
		"--time 1ms":      func(c *cli) { c.Time = time.Millisecond },
		"--connections 0": func(c *cli) { c.Connections = 0 },
	} {
		c := good
		change(&c)
		if err := c.check(cases); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want an error with %s", err, want)
		}
	}
}

func TestAProfileIsFetchedWhileTheCaseRuns(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, r.URL.RequestURI())
	}))
	defer srv.Close()
	r := &runner{time: 2500 * time.Millisecond}
	s := &subject{pprof: srv.Listener.Addr().String()}
	path := filepath.Join(t.TempDir(), "a.pprof")
	if err := r.fetch(t.Context(), s, path)(); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "/debug/pprof/profile?seconds=2" {
		t.Errorf("%s, %v", b, err)
	}
	status = http.StatusNotFound
	if err := r.fetch(t.Context(), s, path)(); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
	if err := r.fetch(t.Context(), s, "")(); err != nil {
		t.Errorf("no profile wanted: %v", err)
	}
}

func TestTwemproxysConfig(t *testing.T) {
	text := twemproxyConfig("127.0.0.1:11001", "127.0.0.1:11002")
	want := `bench:
  listen: 127.0.0.1:11001
  redis: true
  preconnect: true
  servers:
    - 127.0.0.1:11002:1
`
	if text != want {
		t.Errorf("got\n%s", text)
	}
	path := filepath.Join(t.TempDir(), "nutcracker.yml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("nutcracker", "--test-conf", "--conf-file", path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAProcessThatEndsIsTold(t *testing.T) {
	p, err := start(t.TempDir(), "sh", "sh", "-c", "echo no such thing; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if err := p.ready(freeAddr()); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got %v", err)
	}
}

// TestDirectAgainstDirect runs the comparison for a moment with direct
// Redis in the gateway's place: the ratio is one except for noise, which is not judged.
func TestDirectAgainstDirect(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "out.json")
	cmd := exec.CommandContext(ctx, binary, "--gateway", direct, "--case", "c50", "--rounds", "2", "--requests", "2000", "--json", path)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errOut.String())
	}
	for _, want := range []string{"redis-server ", "c50: ", "direct", "GET/s, ratio to direct", "1 targets"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Targets) != 1 || !rep.Targets[0].Measured || math.IsNaN(rep.Targets[0].Median) || rep.Targets[0].Min <= 0 {
		t.Errorf("targets %+v", rep.Targets)
	}
	for _, x := range rep.Rows {
		if len(x.Rounds) != 2 || x.Get <= 0 || x.Set <= 0 || x.P99 < x.P50 || x.LoadCPU <= 0 || x.ServerCPU < 0 {
			t.Errorf("%+v", x)
		}
	}
}

// TestGoRedisIsDriven drives go-redis for a moment, plain and over respool's dialer.
func TestGoRedisIsDriven(t *testing.T) {
	l := testLab(t)
	for _, overDialer := range []bool{false, true} {
		d, err := job{Addr: l.addr, Dialer: overDialer, Connections: 8, Goroutines: 8, Time: 50 * time.Millisecond}.do(t.Context())
		if err != nil || d.Ops <= 0 || d.P50 <= 0 || d.P99 < d.P50 || d.Requests <= workKeys {
			t.Errorf("over respool's dialer %v: %+v, %v", overDialer, d, err)
		}
	}
	client := redis.NewClient(&redis.Options{Addr: l.addr})
	defer client.Close()
	if err := operate(t.Context(), client, "bench:0001", "another value", false); err == nil {
		t.Error("a wrong value is not told")
	}
}

// TestWorkersOfRedisPyAreServed runs a few workers directly, with as many elements as they take and
// at a fixed rate.
func TestWorkersOfRedisPyAreServed(t *testing.T) {
	r := &runner{lab: testLab(t), time: 300 * time.Millisecond}
	for _, rate := range []int{0, 200} {
		c := gatewayCase{Clients: 20, Rate: rate}
		m, err := r.driveWorkers(t.Context(), &subject{name: direct, addr: r.lab.addr}, c)
		if err != nil || m.Get <= 0 || m.P50 <= 0 || m.P99 < m.P50 || m.LoadCPU <= 0 || m.Connections != 20 {
			t.Errorf("rate %d: %+v, %v", rate, m, err)
		}
	}
	if _, err := r.driveWorkers(t.Context(), &subject{name: direct, addr: freeAddr()}, gatewayCase{Clients: 2}); err == nil {
		t.Error("workers without a server report figures")
	}
}

// TestAPythonWithoutRedisPyIsReported hides the packages of both Pythons.
func TestAPythonWithoutRedisPyIsReported(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "redis"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "redis", "__init__.py"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PYTHONPATH", dir)
	if path, err := pythonWithRedis(t.Context()); err == nil || !strings.Contains(err.Error(), "python3-redis") {
		t.Errorf("%s, %v", path, err)
	}
}

// TestIdleClientsAreHeld measures a few idle clients of redis-server itself.
func TestIdleClientsAreHeld(t *testing.T) {
	r := &runner{lab: testLab(t)}
	m, err := r.runIdle(t.Context(), direct, gatewayCase{Clients: 50})
	if err != nil || m.Before <= 0 || m.After < m.Before {
		t.Errorf("%+v, %v", m, err)
	}
}

func testLab(t *testing.T) *lab {
	t.Helper()
	l, err := openLab(t.Context(), &cli{Gateway: direct, Rounds: 1, Connections: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}
