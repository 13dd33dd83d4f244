package main

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

func TestMistakesOfWatchAndKillAreOneClearError(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	for args, want := range map[string]string{
		"watch":                                   "nothing to watch",
		"watch redis://x -c y":                    "want only one",
		"watch redis://x --profile p":             "--profile without a configuration",
		"watch redis://x --listen 5":              "--listen is \"5\"",
		"watch -c /no/such/file":                  "no such file",
		"kill redis://x":                          "no filter: want at least one",
		"kill redis://x --service a --rate 0":     "--rate is 0",
		"kill redis://x --service a --max 0":      "--max is 0",
		"kill redis://x --idle=-1s":               "--idle is -1s",
		"watch -c FILE --profile staging --check": "has no profile \"staging\": want one of development, production",
	} {
		args = strings.ReplaceAll(args, "FILE", tooltest.File(t, "respool.yaml", tooltest.WatchConfig))
		code, out, errs := call(t, strings.Fields(args)...)
		if code != 2 || !strings.Contains(errs, want) || strings.Count(strings.TrimSpace(errs), "\n") > 1 {
			t.Errorf("%s: exit %d: %s%s: want %q", args, code, out, errs, want)
		}
	}
	code, out, errs := call(t, "watch", "-c", tooltest.File(t, "respool.yaml", tooltest.WatchConfig), "--profile", "production", "--check")
	if code != 0 || !strings.Contains(out, "is valid: watches 10.0.0.2:6380 every 2s") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
