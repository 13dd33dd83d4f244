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

// No secret of a URL appears in the commands that a report recommends.
func TestOnlyURLsWithoutSecretsAreCopied(t *testing.T) {
	for url, want := range map[string]string{
		"redis://localhost:6379": "redis://localhost:6379", "http+unix:///run/w.sock": "http+unix:///run/w.sock",
		"redis://:secret@h": "", "redis://user@h": "", "rediss://h?password=secret": "", "redis://%zz": "",
	} {
		if got := copyable(url, false); got != want {
			t.Errorf("%s: %q: want %q", url, got, want)
		}
	}
	if got := copyable("redis://h", true); got != "" {
		t.Errorf("with credentials: %q: want nothing", got)
	}
}
