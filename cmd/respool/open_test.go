package main

import (
	"strings"
	"testing"
)

func TestAURLInPlaceOfAFileIsNotShown(t *testing.T) {
	const url = "redis://:hidden@127.0.0.1:1"
	for _, args := range [][]string{
		{"check", url},
		{"plan", "--rps", "1", "--mean", "1ms", "--simulate", "--trace", url},
		{"serve", "--url-file", url, "--check"},
		{"serve", "-c", url, "--check"},
		{"watch", "-c", url},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			code, out, errs := call(t, args...)
			if code == 0 || strings.Contains(out+errs, "hidden") || !strings.Contains(errs, "a URL (redis://...)") {
				t.Errorf("exit %d: %s%s", code, out, errs)
			}
		})
	}
}
