package main

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

func TestPrintedConfigurationsShowNoSecret(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	credentials := "url: redis://x\nserve: {max_clients: 7}\ncredentials: {command: [sh, -c, 'echo hushhush']}\n" +
		"tell: [{command: {run: [sh, hushhush]}}, {webhook: {url: 'https://u:hushhush@h/hushhush?hushhush'}}]\n"
	for text, want := range map[string][]string{
		tooltest.ServeConfig: {"url: rediss://app:***@10.0.0.2:6380\n", "max_clients: 500\n", "mode: \"0660\"\n", "- 127.0.0.1:6380\n", "leak: \"off\"\n", "listen: \"off\"\n"},
		credentials:          {"url: redis://x\n", "- sh\n", "url: https://h/***\n", "max_clients: 7\n", "pipeline: 1024\n"},
	} {
		file := tooltest.File(t, "respool.yaml", text)
		code, out, errs := call(t, "serve", "-c", file, "--print-config")
		for _, secret := range []string{"hushhush", tooltest.HashOfPassword, tooltest.HashOfSecret} {
			if strings.Contains(out+errs, secret) {
				t.Errorf("%s is shown: %s%s", secret, out, errs)
			}
		}
		for _, line := range want {
			if !strings.Contains(strings.ReplaceAll(out, "'", `"`), line) {
				t.Errorf("want %q in\n%s", line, out)
			}
		}
		if code != 0 || errs != "" {
			t.Errorf("exit %d: %s", code, errs)
		}
	}
	code, out, errs := call(t, "watch", "-c", tooltest.File(t, "respool.yaml", tooltest.WatchConfig), "--print-config")
	if code != 0 || errs != "" || strings.Contains(out, "hushhush") || strings.Contains(out, "serve:") || !strings.Contains(out, "list_limit: none\n") ||
		!strings.Contains(out, "url: redis://:***@10.0.0.1:6379\n") || !strings.Contains(out, "url: http://127.0.0.1:1/***\n") {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
}

// Flags and defaults are part of the output, and it is a configuration with the same effect.
func TestPrintedConfigurationsAreConfigurations(t *testing.T) {
	for name, args := range map[string][]string{
		"serve": {"serve", "redis://x?max_connections=3", "--listen", "127.0.0.1:1", "--listen", "unix:///run/x?mode=0660", "--listen", "systemd:y",
			"--max-clients", "5", "--drain", "3s", "--http", "off", "--admin", "--socket", "unix:///run/s"},
		"watch": {"watch", "redis://x", "--listen", "127.0.0.1:2"},
	} {
		code, first, errs := call(t, append(args, "--print-config")...)
		if code != 0 || errs != "" {
			t.Fatalf("exit %d: %s", code, errs)
		}
		if name == "serve" && (!strings.Contains(first, "max_clients: 5\n") || !strings.Contains(first, "drain: 3s\n") || !strings.Contains(first, "output_buffer: 8MiB\n") || !strings.Contains(first, "admin: true\n")) {
			t.Errorf("%s", first)
		}
		file := tooltest.File(t, "respool.yaml", first)
		if err := compiled(t, "config")(first); err != nil {
			t.Errorf("%v", err)
		}
		if code, again, errs := call(t, name, "-c", file, "--print-config"); code != 0 || again != first {
			t.Errorf("exit %d: %s\n%s\nwant\n%s", code, errs, again, first)
		}
	}
	if code, out, _ := call(t, "serve", "--print-config"); code != 0 || !strings.Contains(out, "embedded server") || strings.Contains(out, "\nurl:") {
		t.Errorf("exit %d: %s", code, out)
	}
}
