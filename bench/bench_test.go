package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	m := median([]measured{{Ops: 1, P50: 30}, {Ops: 3, P50: 10}, {Ops: 2, P50: 20}})
	if m.Ops != 2 || m.P50 != 20 {
		t.Errorf("of three: %+v", m)
	}
	if m = median([]measured{{Ops: 1}, {Ops: 4}}); m.Ops != 2.5 {
		t.Errorf("of two: %+v", m)
	}
}

func TestEachCaseHasRespoolAndClientsThatExist(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range allCases() {
		if seen[c.Name] {
			t.Errorf("two cases are called %s", c.Name)
		}
		seen[c.Name] = true
		if !slices.Contains(c.clients, "respool") || len(c.clients) < 2 && c.Load != many {
			t.Errorf("%s compares %v", c.Name, c.clients)
		}
		if err := checkClients(c.clients); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		if !c.fed() && c.Load != pop && c.Load != mixed && (c.Size == 0 || c.Keys == 0) {
			t.Errorf("%s has no keys", c.Name)
		}
	}
	if _, err := selectCases([]string{"callers-3"}); err == nil || !strings.Contains(err.Error(), `"callers-3"`) {
		t.Errorf("an unknown case: %v", err)
	}
	if err := checkClients([]string{"jedis"}); err == nil || !strings.Contains(err.Error(), `"jedis"`) {
		t.Errorf("an unknown client: %v", err)
	}
}

func TestTargetsAreHeldAgainstTheBestPeer(t *testing.T) {
	r := results{"callers-1024": {
		"respool":      {Ops: 300, P99: 50, CPU: 1, Sockets: 4},
		"rueidis":      {Ops: 200, P99: 100, CPU: 3},
		"go-redis":     {Ops: 100, P99: 90, CPU: 2},
		redisBenchmark: {Ops: 1000, P99: 1, CPU: 0.1},
	}}
	want := map[string]float64{
		"throughput, ratio to the best peer":                  1.5,
		"p99, ratio to the best peer":                         50.0 / 90,
		"processor time an operation, ratio to the best peer": 0.5,
		"sockets": 4,
	}
	targets := judgeAll(r)
	if len(targets) != len(want) {
		t.Errorf("%d targets: %+v", len(targets), targets)
	}
	for _, g := range targets {
		if got, ok := want[g.What]; !ok || g.Got != got || !g.OK {
			t.Errorf("%+v: want %v", g, got)
		}
	}
	r["callers-1024"]["respool"] = measured{Ops: 299, P99: 55, CPU: 1.3, Sockets: 5}
	for _, g := range judgeAll(r) {
		if g.OK {
			t.Errorf("%+v holds", g)
		}
	}
}

func TestBlockingTargetsHoldUpToTheirLimits(t *testing.T) {
	at := func(us measured, alone, many, mixed float64) results {
		return results{
			"blocking-pop": {
				"respool":  us,
				"redigo":   {Ops: 100, P99: 1000, ServerCPU: 8}, // the best peer
				"go-redis": {Ops: 90, P99: 500, ServerCPU: 4},
			},
			"blocking-alone":   {"respool": {P50: alone}, "redigo": {P50: 50}, "rueidis": {P50: 40}},
			"blocking-many":    {"respool": {P99: many}},
			"blocking-mixed-1": {"respool": {Ops: mixed}, "rueidis": {Ops: 1e6}},
			"blocking-mixed-4": {"respool": {Ops: mixed}},
		}
	}
	held := func(r results) (held []bool) {
		for _, g := range judgeAll(r) {
			held = append(held, g.OK)
		}
		return held
	}
	all := func(ok bool) []bool { return slices.Repeat([]bool{ok}, 7) }
	if got := held(at(measured{Ops: 500, P99: 300, ServerCPU: 8}, 52, 5000, 100_000)); !slices.Equal(got, all(true)) {
		t.Errorf("at the limits: %v", got)
	}
	if got := held(at(measured{Ops: 499, P99: 301, ServerCPU: 8.1}, 53, 5001, 99_999)); !slices.Equal(got, all(false)) {
		t.Errorf("beyond the limits: %v", got)
	}
}

// report of some cases without measuring.
func sample(t *testing.T) *report {
	t.Helper()
	cases, err := selectCases([]string{"callers-8", "pipelines-1", "memory"})
	if err != nil {
		t.Fatal(err)
	}
	r := results{}
	for _, c := range cases {
		r[c.Name] = map[string]measured{}
		for i, name := range c.clients {
			r[c.Name][name] = measured{Ops: float64(1000 * (i + 1)), P50: 5, P99: 12, ServerCPU: 1, Sockets: 3}
		}
	}
	return makeReport("7.0.15", 5, time.Second, cases, r)
}

func TestTheChartIsWellFormedAndHasABarForEachClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chart.svg")
	if err := sample(t).writeChart(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bars, ours := 0, 0
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			for _, a := range e.Attr {
				if a.Name.Local == "class" && (a.Value == "peer" || a.Value == "ours") {
					bars++
				}
				if a.Value == "ours" {
					ours++
				}
			}
		}
	}
	if bars != 12 || ours != 2 {
		t.Errorf("%d bars, %d of respool: want 12 and 2", bars, ours)
	}
}

func TestLinesHaveTheFieldsThatToolsRead(t *testing.T) {
	var out bytes.Buffer
	if err := sample(t).writeLines(&out); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(out.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"case", "client", "ops_per_s", "p50_us", "p99_us", "p999_us", "cpu_us_per_op", "server_cpu_us_per_op", "allocs_per_op", "sockets_peak"} {
			if _, ok := fields[name]; !ok {
				t.Errorf("%s lacks %s", strings.TrimSpace(line), name)
			}
		}
		n++
	}
	if n != 15 {
		t.Errorf("%d lines: want 15", n)
	}
}

func TestAReportComesBackFromItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	r := sample(t)
	if err := r.writeFile(path); err != nil {
		t.Fatal(err)
	}
	back, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	var want, got bytes.Buffer
	r.writeTable(&want)
	back.writeTable(&got)
	if got.String() != want.String() {
		t.Errorf("got\n%s\nwant\n%s", &got, &want)
	}
}

// TestEveryCaseRuns measures each client of each case for a moment, on a real
// server: what is checked is that replies are right and figures are there.
func TestEveryCaseRuns(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var quick []string
	want := 0
	for _, c := range allCases() {
		if c.Size < 1<<20 && c.Callers < 1024 {
			quick = append(quick, "--case", c.Name)
			want += len(c.clients)
		}
	}
	runs := []struct {
		args []string
		want int // lines
	}{
		{append(quick, "--time", "300ms"), want},
		// What takes longer is measured with one client.
		{[]string{"--client", "respool", "--time", "2s", "--case", "values-1m", "--case", "small-beside-1m"}, 2},
		{[]string{"--time", "200ms", "--case", "blocking-many"}, 1},
	}
	for _, run := range runs {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary, append(run.args, "--json", "--rounds", "1")...)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, errOut.String())
		}
		got := 0
		for line := range strings.Lines(string(out)) {
			var r row
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			memory := r.Case == "memory"
			if r.Ops <= 0 || r.P50 <= 0 || r.P99 < r.P50 || r.ServerCPU <= 0 && r.Client != redisBenchmark && !memory {
				t.Errorf("%s", line)
			}
			got++
		}
		if got != run.want {
			t.Errorf("%d lines: want %d", got, run.want)
		}
	}
}
