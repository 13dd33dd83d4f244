package archtest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The most that a reader should have to look through.
const (
	mostLines     = 500 // of a file
	mostFiles     = 25  // of a folder, tests left out
	mostRootLines = 400
	mostRootFiles = 20
)

// source is a Go file.
type source struct {
	path      string // from the root, with slashes
	lines     int
	generated bool
}

// oversized lists the files and folders that are too large.
func oversized(files []source) []string {
	var bad []string
	count := map[string]int{}
	for _, f := range files {
		folder, name := "", f.path
		if i := strings.LastIndexByte(f.path, '/'); i >= 0 {
			folder, name = f.path[:i], f.path[i+1:]
		}
		limit, test := mostLines, strings.HasSuffix(name, "_test.go")
		if folder == "" && !test {
			limit = mostRootLines
		}
		if f.lines > limit && !f.generated {
			bad = append(bad, fmt.Sprintf("%s has %d lines: want %d at most", f.path, f.lines, limit))
		}
		if !test {
			count[folder]++
		}
	}
	for folder, n := range count {
		limit := mostFiles
		if folder == "" {
			limit = mostRootFiles
		}
		if n > limit {
			bad = append(bad, fmt.Sprintf("folder %q has %d files besides tests: want %d at most", folder, n, limit))
		}
	}
	slices.Sort(bad)
	return bad
}

func TestFilesAndFoldersAreSmall(t *testing.T) {
	const root = "../.."
	var files []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		files = append(files, source{filepath.ToSlash(rel), bytes.Count(text, []byte("\n")), bytes.HasPrefix(text, []byte("// Code generated "))})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 100 {
		t.Fatalf("%d files were found", len(files))
	}
	for _, bad := range oversized(files) {
		t.Error(bad)
	}
}

func TestOversizedFilesAndFoldersAreFound(t *testing.T) {
	files := []source{
		{"options.go", mostRootLines + 1, false}, {"options_test.go", mostLines, false},
		{"internal/lane/lane.go", mostLines + 1, false}, {"internal/lane/lane_test.go", mostLines + 1, false},
		{"internal/command/table_gen.go", 2 * mostLines, true},
	}
	for i := range mostRootFiles {
		files = append(files, source{path: fmt.Sprintf("f%d.go", i)})
	}
	for i := range mostFiles + 1 {
		files = append(files, source{path: fmt.Sprintf("internal/pool/f%d.go", i)})
		files = append(files, source{path: fmt.Sprintf("internal/pool/f%d_test.go", i)})
	}
	want := []string{
		`folder "" has 21 files besides tests: want 20 at most`,
		`folder "internal/pool" has 26 files besides tests: want 25 at most`,
		"internal/lane/lane.go has 501 lines: want 500 at most",
		"internal/lane/lane_test.go has 501 lines: want 500 at most",
		"options.go has 401 lines: want 400 at most",
	}
	if got := oversized(files); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
