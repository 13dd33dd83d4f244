// Package transcript runs the tests of state machines that are written as plain text. A transcript
// is a file of blocks, separated by empty lines. A block consists of input lines, a line of four
// dashes and the expected output. A line that starts with # is a comment.
//
//	# A counter.
//
//	add 2
//	add 3
//	----
//	sum 2
//	sum 5
//
// With the flag -update, a test writes the output it finds into its transcripts.
package transcript

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the output of the machines into the transcripts")

// Machine is a state machine under test.
type Machine interface {
	// Run executes one input line and writes the output to out.
	Run(out *strings.Builder, line string) error

	// EndBlock runs after the input of each block. It returns an error if the machine expects
	// more input.
	EndBlock() error
}

// Test runs each transcript that matches pattern as a subtest, on a new machine.
func Test(t *testing.T, pattern string, start func() Machine) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts match %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, errs := run(string(raw), start())
			for _, err := range errs {
				t.Error(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(raw) {
				t.Errorf("%s: %s", file, firstDifference(string(raw), got))
			}
		})
	}
}

// run returns the transcript with the output that the machine writes.
func run(text string, m Machine) (transcript string, errs []error) {
	var blocks []string
	for block := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n\n") {
		input, _, _ := strings.Cut(block, "\n----")
		var out strings.Builder
		commentsOnly := true
		for line := range strings.SplitSeq(input, "\n") {
			if strings.HasPrefix(line, "#") {
				continue
			}
			commentsOnly = false
			if err := m.Run(&out, line); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", line, err))
			}
		}
		if err := m.EndBlock(); err != nil {
			errs = append(errs, fmt.Errorf("%s\n%w", block, err))
		}
		if !commentsOnly {
			input += "\n----\n" + out.String()
		}
		blocks = append(blocks, strings.TrimRight(input, "\n"))
	}
	return strings.Join(blocks, "\n\n") + "\n", errs
}

// firstDifference describes the first line in which two texts differ.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d:\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("got %d lines: want %d", len(g), len(w))
}
