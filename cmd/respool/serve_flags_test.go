package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestServeFlagMistakesAreOneClearError(t *testing.T) {
	empty, two := tooltest.File(t, "empty", "\n"), tooltest.File(t, "two", "redis://:hushhush@x\nredis://y\n")
	bad := tooltest.File(t, "bad", "redis://:hushhush@x?max_conections=1")
	for args, want := range map[string]string{
		"redis://x --url-file " + empty:    "a URL and --url-file: want only one",
		"--url-file /no/such":              "--url-file: open /no/such: no such file or directory",
		"--url-file " + empty:              "--url-file: " + empty + " holds 0 lines: want one, the URL",
		"--url-file " + two:                "--url-file: " + two + " holds 2 lines: want one, the URL",
		"--url-file " + bad:                "--url-file " + bad + `: URL key "max_conections" is unknown: did you mean max_connections?`,
		"--profile x":                      "--profile without a configuration: want -c",
		"--max-clients 0":                  "--max-clients is 0: want 1 to 10000000",
		"--drain=-1s":                      "--drain is -1s: want a time such as 30s",
		"--tls-cert x":                     "one of --tls-cert and --tls-key: want both",
		"--tls-ca x":                       "--tls-ca without --tls-cert and --tls-key: want all three",
		"--http here":                      `--http is "here": want host:port such as 127.0.0.1:8638, or off`,
		"--listen 6380":                    `--listen is "6380": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
		"--listen localhost:1,localhost:2": `--listen is "localhost:1,localhost:2": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
		"--listen :1 --listen :1":          "--listen :1: duplicate address: want it once",
		"--listen systemd:x":               "--listen systemd:x: systemd passed no socket of this name: it passed none",
		"http://x":                         `URL: scheme "http" is not supported: want redis, rediss or unix, or one of the first two with +sentinel or +cluster`,
		"--http 127.0.0.1:0 --listen unix:///no/such/dir/s": "--listen unix:///no/such/dir/s: listen unix /no/such/dir/s~: bind: no such file or directory",
	} {
		code, out, errs := call(t, append([]string{"serve"}, strings.Fields(args)...)...)
		if code != 2 || strings.TrimSpace(errs) != "respool: "+want || out != "" {
			t.Errorf("%s: exit %d: %s\n%s\nwant\n%s", args, code, out, errs, want)
		}
	}
}

func TestCheckTellsWhatWouldBeServedAndNoSecret(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	file := tooltest.File(t, "respool.yaml", tooltest.ServeConfig)
	code, out, errs := call(t, "serve", "-c", file, "--check")
	for _, secret := range []string{"hushhush", tooltest.HashOfPassword, tooltest.HashOfSecret} {
		if strings.Contains(out+errs, secret) {
			t.Errorf("%s is shown: %s%s", secret, out, errs)
		}
	}
	want := file + ` is valid

listen          127.0.0.1:6380
                unix:///run/respool.sock (mode 0660)
                unix:///run/other.sock (mode 0600)
server          10.0.0.2:6380 with TLS as app, 16 connections at most
clients         500 at most, 20 from one address
each client     5000 commands per second, 10485760 bytes per second
event loops     3, over 4 lanes to a node
access          3 users of its own
  app           read, write; 2 passwords; 50 clients at most; 3 dedicated connections at most; 1000 commands per second, 1048576 bytes per second
  old           disabled
  ops           all; one password
admin commands  allowed
slow log        commands of 20ms or longer
hot keys        off: hot_keys is false; large replies too
shutdown        waits 7s for clients
pages           off
watch           every 2s, with ` + fmt.Sprint(len(monitor.DefaultRules())-1) + ` rules and 2 sinks
`
	if code != 0 || out != want || errs != "" {
		t.Errorf("exit %d: %s\n%s\nwant\n%s", code, errs, out, want)
	}
	code, out, _ = call(t, "serve", "redis://x?max_connections=1", "--check", "--listen", "127.0.0.1:1", "--listen", ":2", "--insecure")
	if code != 0 || strings.Count(out, "warning") != 1 || !strings.Contains(out, "\nwarning         :2: everyone who can connect may use the server: --insecure\n") ||
		!strings.Contains(out, " 1 connection at most\n") || !strings.Contains(out, "\nslow log        commands of 10ms or longer\nhot keys        1 of 64 commands counted; replies of 32 KiB or more listed\n") || !strings.Contains(out, " and 1 sink\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out, _ := call(t, "serve", "--check", "--listen", "systemd:later"); code != 0 || !strings.Contains(out, "an embedded server") || !strings.Contains(out, "systemd:later") {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestServeThatCanNotListenLeavesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	for args, want := range map[string]string{
		"--listen 127.0.0.1:0 --listen " + taken + " --http off": "--listen " + taken + ": listen tcp " + taken + ": bind: address already in use",
		"--listen 127.0.0.1:0 --http " + taken:                   "the pages: another process listens at " + taken + ": use another address (--http 127.0.0.1:PORT), or --http off",
	} {
		code, _, errs := call(t, append([]string{"serve"}, strings.Fields(args)...)...)
		if code != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s", args, code, errs)
		}
	}
}
