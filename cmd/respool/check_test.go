package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/check"
)

func checkJSON(t *testing.T, want int, file string) check.Report {
	t.Helper()
	code, out, errs := call(t, "check", "--json", filepath.Join("testdata", "check", file))
	var r check.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != want || errs != "" {
		t.Fatalf("exit %d, %v: %s%s: want %d", code, err, out, errs, want)
	}
	return r
}

func TestCheckAddsUp(t *testing.T) {
	r := checkJSON(t, 0, "good.yaml")
	totals := map[string]int{"orders": 50 * 2 * 16, "search": 13 * 8, "sized": 2 * 7, "pools": 2 * (2*50 + 4)}
	sum := 0
	for _, s := range r.Services {
		if s.Total != totals[s.Name] {
			t.Errorf("%+v: want %d", s, totals[s.Name])
		}
		sum += s.Total
	}
	if len(r.Services) != len(totals) || r.Total != sum || r.Budget != 10_000-500-200 || r.Over != 0 || len(r.Problems) != 0 {
		t.Errorf("%+v", r)
	}
	if r := checkJSON(t, 0, "aliases.yaml"); r.Total != 40 || r.Budget != 1000 {
		t.Errorf("%+v", r)
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		file    string
		code    int
		verdict string
		says    []string
	}{
		{"good.yaml", 0, "fits: 1,926 of 9,300 connections", []string{"orders         100", "2 x 50 + 4", "comply: respool who"}},
		{"nearly-full.yaml", 1, "fits: 800 of 900 connections", []string{"warning: 89% of the budget", "next: "}},
		{"too-low.yaml", 1, "fits: 8 of 9,500 connections", []string{"a ceiling of 4, but its load needs 7", "raise max_connections of a from 4 to 7"}},
		{"too-high.yaml", 1, "fits: 128 of 9,500 connections", []string{"a ceiling of 64, but its load needs 7", "lower max_connections of a from 64 to the 7"}},
		{"over.yaml", exitFindings, "does not fit: 1,704 connections, 854 more than the budget of 850", []string{"share connections in a: with respool, 5 per pool", "raise maxclients to 1949"}},
		{"no-ceiling.yaml", exitFindings, "does not fit: no ceiling for a, b, c; the other services use 16 of 9,500 connections", []string{"none", "any", "b has no ceiling: its 13 processes"}},
	} {
		code, out, errs := call(t, "check", filepath.Join("testdata", "check", c.file))
		if code != c.code || !strings.HasPrefix(out, c.verdict+"\n") || errs != "" || !strings.Contains(out, "\nnext: ") {
			t.Errorf("%s: exit %d: %s%s: want %d, %s", c.file, code, out, errs, c.code, c.verdict)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.file, want, out)
			}
		}
	}
}

// The first line of each file is a part of the expected error.
func TestCheckNamesThePlaceOfAMistake(t *testing.T) {
	files, err := filepath.Glob("testdata/check/bad-*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		want := strings.TrimPrefix(line, "# want: ")
		code, out, errs := call(t, "check", file)
		if code != 2 || out != "" || !strings.HasPrefix(errs, "respool: "+file) || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, %q: want %q", file, code, out, errs, want)
		}
	}
	code, out, errs := call(t, "check", "testdata/check/none.yaml")
	if code != 2 || out != "" || !strings.Contains(errs, "no such file") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}
