package tooltest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// File writes a file into a directory of the test.
func File(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// ShortDir is a directory for sockets, whose paths may have about 100 bytes.
func ShortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Rewrite replaces text in a file.
func Rewrite(t *testing.T, file, old, with string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), old) {
		t.Fatalf("no %q in %s, %v", old, text, err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), old, with)), 0o600); err != nil {
		t.Fatal(err)
	}
}
