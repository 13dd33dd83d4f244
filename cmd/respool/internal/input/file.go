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

// Open opens a file to read it. If name is a URL, which may hold a password, the error does not
// show it. Flags that take paths have already converted it to a path.
func Open(name string) (*os.File, error) {
	f, err := os.Open(name)
	scheme, _, is := strings.Cut(name, ":/")
	if scheme = path.Base(scheme); err != nil && is && len(scheme) > 1 {
		return nil, fmt.Errorf("a URL (%s://...) in place of a file: want the path of a file", scheme)
	}
	return f, err
}
