// Package input reads what a user passes to a command: files by path, and
// passwords from the terminal or standard input. It does not parse them. It
// starts no goroutines.
package input

import (
	"fmt"
	"os"
	"path"
	"strings"
)

// Open opens a file to read it. A URL in its place may hold a password, which no error shows: flags that take
// paths have put one into the form of a path by now.
func Open(name string) (*os.File, error) {
	f, err := os.Open(name)
	scheme, _, is := strings.Cut(name, ":/")
	if scheme = path.Base(scheme); err != nil && is && len(scheme) > 1 {
		return nil, fmt.Errorf("a URL (%s://...) stands where the path of a file is wanted", scheme)
	}
	return f, err
}
