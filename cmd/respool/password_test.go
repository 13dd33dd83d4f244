package main

import (
	"os"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/input"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

func TestPassword(t *testing.T) {
	for in, want := range map[string]string{"password": tooltest.HashOfPassword, "secret\n": tooltest.HashOfSecret, "secret\r\nmore\n": tooltest.HashOfSecret} {
		code, out, errs := typed(t, in, "password")
		if code != 0 || strings.TrimSpace(out) != want || errs != "" {
			t.Errorf("%q: exit %d: %s%s", in, code, out, errs)
		}
	}
	for in, want := range map[string]string{"": "an empty password", "\n": "an empty password", strings.Repeat("x", input.MaxPassword+1): "more than 65536 bytes"} {
		code, out, errs := typed(t, in, "password")
		if code != 2 || !strings.Contains(errs, want) || out != "" {
			t.Errorf("exit %d: %s%s: want %q", code, out, errs, want)
		}
	}
}

// typed runs the tool with a text as its standard input.
func typed(t *testing.T, in string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	f, err := os.Open(tooltest.File(t, "in", in))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := os.Stdin
	defer func() { os.Stdin = old }()
	os.Stdin = f
	return call(t, args...)
}
