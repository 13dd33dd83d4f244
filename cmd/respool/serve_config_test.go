package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// hashOf is the SHA-256 of a password, as a configuration has it.
const (
	hashOfPassword = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8" // of password
	hashOfSecret   = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" // of secret
)

const wholeServe = `
url: redis://:${TEST_SECRET}@10.0.0.1:6379?max_connections=8
instance: here
every: 2s
listen: "off"
rules: {leak: off}
tell: [log, log]
serve:
  listen:
    - 127.0.0.1:6380
    - {mode: 0660, address: "unix:///run/respool.sock"}
    - unix:///run/other.sock
  url: rediss://app:${TEST_SECRET}@10.0.0.2:6380
  max_clients: 500
  max_clients_per_address: 20
  admin_clients: 2
  input_buffer: 64KiB
  output_buffer: 2MiB
  buffers: 1GiB
  pipeline: 32
  idle_timeout: 10m
  request_timeout: 5s
  write_timeout: 6s
  on_failure: close
  drain: 7s
  admin: true
  server_version: 7.2.0
  users:
    app: {password_sha256: [` + hashOfPassword + `, 2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B], commands: [read, write]}
    ops: {password_sha256: ` + hashOfSecret + `, commands: [all]}
    old: {disabled: true}
profiles:
  small: {serve: {max_clients: 5, idle_timeout: none, users: {app: {commands: [read]}}}}
`

func TestServeConfig(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	file := written(t, "respool.yaml", wholeServe)
	s, err := (&serveCmd{Config: file}).read(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.Config{
		MaxClients: 500, MaxClientsPerAddress: 20, AdminClients: 2, InputBuffer: 64 << 10, OutputBuffer: 2 << 20, Buffers: 1 << 30, Pipeline: 32,
		IdleTimeout: 10 * time.Minute, RequestTimeout: 5 * time.Second, WriteTimeout: 6 * time.Second, CloseOnFailure: true, Admin: true, ServerVersion: "7.2.0",
		Users: map[string]gateway.User{
			"app": {Passwords: []string{hashOfPassword, hashOfSecret}, Commands: []string{"read", "write"}},
			"ops": {Passwords: []string{hashOfSecret}, Commands: []string{"all"}},
			"old": {Disabled: true},
		},
	}
	if !reflect.DeepEqual(s.gateway, want) {
		t.Errorf("%+v: want %+v", s.gateway, want)
	}
	o := s.watch.sampler.Options
	if o.Addr != "10.0.0.2:6380" || o.TLS == nil || o.Password != "hushhush" || s.drain != 7*time.Second || s.watch.listen != "" || s.watch.instance != "here" ||
		s.watch.sampler.Every != 2*time.Second || len(s.watch.sinks) != 2 || s.embedded {
		t.Errorf("%+v", s)
	}
	if e := s.entrances; len(e) != 3 || e[0].addr != "127.0.0.1:6380" || e[1].addr != "/run/respool.sock" || e[1].mode != 0o660 || e[2].mode != 0o600 {
		t.Errorf("%+v", e)
	}
	s, err = (&serveCmd{Config: file, Profile: "small"}).read(nil)
	if err != nil || s.gateway.MaxClients != 5 || s.gateway.IdleTimeout != 0 || !reflect.DeepEqual(s.gateway.Users["app"].Commands, []string{"read"}) || len(s.gateway.Users["app"].Passwords) != 2 {
		t.Errorf("%+v, %v", s.gateway, err)
	}
	// The same file is a watch's too.
	if w, err := readConfig(file, "small"); err != nil || w.sampler.Options.Addr != "10.0.0.1:6379" {
		t.Errorf("%+v, %v", w.sampler.Options, err)
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	url := written(t, "url", "redis://:swordfish@10.0.0.3:6379\n")
	clients, drain := 7, time.Minute
	s, err := (&serveCmd{Config: written(t, "respool.yaml", wholeServe), URLFile: url, Listen: []string{"localhost:1", "unix:///x?mode=660"},
		HTTP: "127.0.0.1:9", MaxClients: &clients, Drain: &drain}).read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if o := s.watch.sampler.Options; o.Addr != "10.0.0.3:6379" || o.Password != "swordfish" || s.gateway.MaxClients != 7 || s.drain != drain || s.watch.listen != "127.0.0.1:9" {
		t.Errorf("%+v", s)
	}
	if e := s.entrances; len(e) != 2 || e[0].addr != "localhost:1" || e[1].addr != "/x" || e[1].mode != 0o660 {
		t.Errorf("%+v", e)
	}
}

func TestTheExampleOfServeIsRight(t *testing.T) {
	for _, profile := range []string{"", "development", "production", "pass-through"} {
		s, err := (&serveCmd{Config: "../../examples/serve/respool.yaml", Profile: profile}).read(nil)
		if err != nil || len(s.entrances) != 1 {
			t.Errorf("%q: %+v, %v", profile, s.entrances, err)
		}
	}
}

// Each line that is commented out in the example is right, too.
func TestTheExamplesOtherListenersAreRight(t *testing.T) {
	for _, line := range []string{
		`{address: "unix:///run/respool/redis.sock", mode: 0660}`,
		`{address: "0.0.0.0:6381", tls: {cert: /etc/respool/cert.pem, key: /etc/respool/key.pem, client_ca: /etc/respool/ca.pem}}`,
		`systemd:respool`,
		`server_version: 7.2.0`,
	} {
		text, err := os.ReadFile("../../examples/serve/respool.yaml")
		if err != nil || !strings.Contains(string(text), "# "+line) && !strings.Contains(string(text), "# - "+line) {
			t.Fatalf("no %q in the example: %v", line, err)
		}
		changed := strings.NewReplacer("# - "+line, "- "+line, "# "+line, line).Replace(string(text))
		if _, err := readProfiled(written(t, "respool.yaml", changed), "", parseServe); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// inServe is where most mistakes below are.
const inServe = "FILE:2: serve."

// serveMistakes are configurations, and the exact error of each.
var serveMistakes = map[string]string{
	"":                                       "FILE is empty: want the keys url, every, rules, tell and others (see docs/operate.md)",
	"every: 5s":                              "FILE: url is missing: want the server, or the service with its sentinels (an embedded server, which forgets all, takes no configuration)",
	"url: redis://x\nserve: 5":               `FILE:2: serve: "5": want the keys admin, admin_clients, buffers, credentials, drain, idle_timeout, input_buffer, listen, max_clients, max_clients_per_address, need_auth, on_failure, output_buffer, pass_through, pipeline, request_timeout, server_version, url, users, write_timeout`,
	"url: redis://x\nserve: {max_client: 5}": inServe + "max_client: unknown key: want one of admin, admin_clients, buffers, credentials, drain, idle_timeout, input_buffer, listen, max_clients, max_clients_per_address, need_auth, on_failure, output_buffer, pass_through, pipeline, request_timeout, server_version, url, users, write_timeout",
	"url: redis://x\nserve: {url: 'http://:${TEST_SECRET}@x'}":                                         inServe + "url: URL: scheme \"http\" is not supported: want redis, rediss, unix, redis+sentinel or rediss+sentinel",
	"url: redis://x\nserve: {max_clients: 0}":                                                          inServe + `max_clients: "0": want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {max_clients: 1.5}":                                                        inServe + `max_clients: "1.5": want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {max_clients_per_address: 0}":                                              inServe + `max_clients_per_address: "0": want a whole number, or none`,
	"url: redis://x\nserve: {admin_clients: many}":                                                     inServe + `admin_clients: "many": want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {input_buffer: 8MB}":                                                       inServe + `input_buffer: "8MB": want a size such as 8MiB, 1024 bytes at least`,
	"url: redis://x\nserve: {output_buffer: 1}":                                                        inServe + `output_buffer: "1": want a size such as 8MiB, 1024 bytes at least`,
	"url: redis://x\nserve: {buffers: -1GiB}":                                                          inServe + `buffers: "-1GiB": want a size such as 8MiB, 1048576 bytes at least`,
	"url: redis://x\nserve: {buffers: 9000000000GiB}":                                                  inServe + `buffers: "9000000000GiB": want a size such as 8MiB, 1048576 bytes at least`,
	"url: redis://x\nserve: {buffers: 1MiB, output_buffer: 2MiB}":                                      "FILE:2: serve: buffers is 1048576 bytes and output_buffer 2097152: want buffers, which is of all clients, to be no less",
	"every: 5s\nurl: redis://:${TEST_SECRET}@x?max_conections=4":                                       `FILE:2: url: URL key "max_conections" is unknown: did you mean max_connections?`,
	"url: redis://x\nserve: {buffers: 4MiB}":                                                           "FILE:2: serve: buffers is 4194304 bytes and output_buffer 8388608: want buffers, which is of all clients, to be no less",
	"url: redis://x\nserve: {server_version: '7'}":                                                     inServe + `server_version: "7": want a version such as 7.2.0`,
	"url: redis://x\nserve: {pipeline: [1]}":                                                           inServe + `pipeline: a list: want a whole number from 1 to 10000000`,
	"url: redis://x\nserve: {idle_timeout: 30}":                                                        inServe + `idle_timeout: "30": want a time such as 30s, or none`,
	"url: redis://x\nserve: {request_timeout: none}":                                                   inServe + `request_timeout: "none": want a time such as 30s`,
	"url: redis://x\nserve: {write_timeout: 1ns}":                                                      inServe + `write_timeout: "1ns": want a time such as 30s`,
	"url: redis://x\nserve: {drain: -1s}":                                                              inServe + `drain: "-1s": want a time such as 30s`,
	"url: redis://x\nserve: {admin: maybe}":                                                            inServe + `admin: "maybe": want true or false`,
	"url: redis://x\nserve: {on_failure: 5}":                                                           inServe + `on_failure: "5": want error or close`,
	"url: redis://x\nserve: {need_auth: true}":                                                         "FILE:2: serve: need_auth without pass_through: want both; users of the gateway's own have to name themselves anyway",
	"url: redis://x\nserve: {pass_through: true, users: {a: {}}}":                                      "FILE:2: serve: users and pass_through: want one of them, as either the gateway or Redis knows the users",
	"url: redis://x\nserve: {users: {}}":                                                               inServe + `users: no user: want one at least, or the key left out`,
	"url: redis://x\nserve: {users: [app]}":                                                            inServe + `users: a list: want users by their names`,
	"url: redis://x\nserve: {users: {'a b': {}}}":                                                      inServe + `users.a b: a user called "a b": want a name without spaces`,
	"url: redis://x\nserve: {users: {app: {password: x}}}":                                             inServe + `users.app.password: unknown key: want one of commands, disabled, password_sha256`,
	"url: redis://x\nserve: {users: {app: {password_sha256: hushhush}}}":                               inServe + "users.app.password_sha256: number 1 is no SHA-256 hash (it is not shown, since it may be a password): want 64 hex digits, as respool password prints them",
	"url: redis://x\nserve: {users: {app: {password_sha256: [" + hashOfSecret + ", hushhush]}}}":       inServe + "users.app.password_sha256: number 2 is no SHA-256 hash (it is not shown, since it may be a password): want 64 hex digits, as respool password prints them",
	"url: redis://x\nserve: {users: {app: {password_sha256: []}}}":                                     inServe + "users.app.password_sha256: an empty list: want one hash at least, or the key left out, so that no password is needed",
	"url: redis://x\nserve: {users: {app: {password_sha256: }}}":                                       inServe + "users.app.password_sha256: no value: want text",
	"url: redis://x\nserve: {users: {app: {commands: [reads]}}}":                                       inServe + `users.app.commands: "reads": want one of read, write, pubsub, blocking, scripting, admin, all`,
	"url: redis://x\nserve: {users: {app: {commands: read}}}":                                          inServe + `users.app.commands: "read": want a list of read, write, pubsub, blocking, scripting, admin, all`,
	"url: redis://x\nserve: {users: {app: {disabled: 1}}}":                                             inServe + `users.app.disabled: "1": want true or false`,
	"url: redis://x\nserve: {listen: 127.0.0.1:6380}":                                                  inServe + `listen: "127.0.0.1:6380": want a list of addresses such as 127.0.0.1:6380`,
	"url: redis://x\nserve: {listen: []}":                                                              inServe + `listen: a list: want a list of addresses such as 127.0.0.1:6380`,
	"url: redis://x\nserve: {listen: [6380]}":                                                          inServe + `listen[0]: "6380": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['localhost:70000']}":                                             inServe + `listen[0]: "localhost:70000": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['unix://x/y']}":                                                  inServe + `listen[0]: "unix://x/y": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['unix:///x?mode=8']}":                                            inServe + `listen[0]: "unix:///x?mode=8": want unix:///path, with no key but mode: the mode of the socket in octal, such as 0660`,
	"url: redis://x\nserve: {listen: ['systemd:']}":                                                    inServe + `listen[0]: "systemd:": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
	"url: redis://x\nserve: {listen: ['[::1]:1', '[::1]:1']}":                                          inServe + `listen[1]: [::1]:1: the same address twice: want it once`,
	"url: redis://x\nserve: {listen: [{tls: {cert: a, key: b}}]}":                                      inServe + `listen[0]: address is missing: want one such as 127.0.0.1:6380`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', mode: 0660}]}":                          inServe + `listen[0].mode: a mode and localhost:1: want it where the address is unix:///path`,
	"url: redis://x\nserve: {listen: [{address: 'unix:///x', mode: rw}]}":                              inServe + `listen[0].mode: "rw": want the mode of the socket in octal, such as 0660`,
	"url: redis://x\nserve: {listen: [{address: 'unix:///x', tls: {cert: a, key: b}}]}":                inServe + `listen[0].tls: TLS on a unix socket: want it where the address is host:port`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', tls: {cert: a}}]}":                      inServe + `listen[0].tls: cert or key is missing: want both`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', tls: {cert: /no/such, key: /no/key}}]}": inServe + `listen[0]: localhost:1: the certificate /no/such with the key /no/key: open /no/such: no such file or directory`,
	"url: redis://x\nserve: {listen: [{address: 'localhost:1', ttl: 1}]}":                              inServe + `listen[0].ttl: unknown key: want one of address, mode, tls`,
	"url: redis://x\nserve: {}\nprofiles: {a: {serve: {drain: never}}}":                                `in profile a: FILE:3: serve.drain: "never": want a time such as 30s`,
}

func TestServeConfigMistakesAreOneExactError(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	for text, want := range serveMistakes {
		file := written(t, "respool.yaml", text)
		_, err := (&serveCmd{Config: file}).read(nil)
		if err == nil {
			t.Errorf("%q: no error: want %s", text, want)
			continue
		}
		got := strings.ReplaceAll(err.Error(), file, "FILE")
		if got != want || strings.Contains(got, "hushhush") || strings.Contains(got, "\n") {
			t.Errorf("%q: got\n%s\nwant\n%s", text, got, want)
		}
	}
}

func TestServeFlagMistakesAreOneClearError(t *testing.T) {
	empty, two := written(t, "empty", "\n"), written(t, "two", "redis://:hushhush@x\nredis://y\n")
	bad := written(t, "bad", "redis://:hushhush@x?max_conections=1")
	for args, want := range map[string]string{
		"redis://x --url-file " + empty:    "a URL and --url-file: want one of them",
		"--url-file /no/such":              "--url-file: open /no/such: no such file or directory",
		"--url-file " + empty:              "--url-file: " + empty + " holds 0 lines: want one, the URL",
		"--url-file " + two:                "--url-file: " + two + " holds 2 lines: want one, the URL",
		"--url-file " + bad:                "--url-file " + bad + `: URL key "max_conections" is unknown: did you mean max_connections?`,
		"--profile x":                      "--profile without a configuration: want -c too",
		"--max-clients 0":                  "--max-clients is 0: want 1 to 10000000",
		"--drain=-1s":                      "--drain is -1s: want a time such as 30s",
		"--tls-cert x":                     "one of --tls-cert and --tls-key: want both",
		"--tls-ca x":                       "--tls-ca without --tls-cert and --tls-key: want all three",
		"--http here":                      `--http is "here": want host:port such as 127.0.0.1:9121, or off`,
		"--listen 6380":                    `--listen is "6380": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
		"--listen localhost:1,localhost:2": `--listen is "localhost:1,localhost:2": want host:port such as 127.0.0.1:6380, unix:///path?mode=0660, or systemd:NAME`,
		"--listen :1 --listen :1":          "--listen :1: the same address twice: want it once",
		"--listen systemd:x":               "--listen systemd:x: systemd passed no such socket: it passed none at all",
		"http://x":                         `URL: scheme "http" is not supported: want redis, rediss, unix, redis+sentinel or rediss+sentinel`,
		"--http 127.0.0.1:0 --listen unix:///no/such/dir/s": "--listen unix:///no/such/dir/s: listen unix /no/such/dir/s~: bind: no such file or directory",
	} {
		code, out, errs := call(t, append([]string{"serve"}, strings.Fields(args)...)...)
		if code != 2 || strings.TrimSpace(errs) != "respool: "+want || out != "" {
			t.Errorf("%s: exit %d: %s\n%s\nwant\n%s", args, code, out, errs, want)
		}
	}
}

// Nobody gets in from outside unless somebody said who.
func TestServeRefusesToListenForEverybody(t *testing.T) {
	cert, key, ca := certificateFiles(t)
	const hint = "want users with passwords, pass_through with need_auth, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure"
	withTLS := func(more string) string {
		return "{listen: [{address: '0.0.0.0:6380', tls: {cert: " + cert + ", key: " + key + more + "}}]}"
	}
	for section, want := range map[string]string{
		"{listen: ['127.0.0.1:1', '127.8.9.1:1', 'localhost:1', '[::1]:1', 'unix:///x']}": "",
		"{listen: ['0.0.0.0:6380']}":                                                                             "FILE:2: serve.listen[0]: 0.0.0.0:6380: everybody who reaches it could use the server: " + hint,
		"{listen: [':6380']}":                                                                                    "FILE:2: serve.listen[0]: :6380: everybody who reaches it could use the server: " + hint,
		"{listen: ['[::1]:1', 'example.org:6380']}":                                                              "FILE:2: serve.listen[1]: example.org:6380: everybody who reaches it could use the server: " + hint,
		"{listen: ['0.0.0.0:6380'], pass_through: true}":                                                         "FILE:2: serve.listen[0]: 0.0.0.0:6380: everybody who reaches it could use the server: " + hint,
		"{listen: ['0.0.0.0:6380'], pass_through: true, need_auth: true}":                                        "",
		"{listen: ['0.0.0.0:6380'], users: {app: {password_sha256: " + hashOfSecret + "}}}":                      "",
		"{listen: ['0.0.0.0:6380'], users: {app: {password_sha256: " + hashOfSecret + "}, b: {}}}":               "FILE:2: serve.listen[0]: 0.0.0.0:6380: everybody who reaches it could use the server as user b: want a password_sha256 for that user, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure",
		"{listen: ['0.0.0.0:6380'], users: {app: {password_sha256: " + hashOfSecret + "}, b: {disabled: true}}}": "",
		withTLS(""):                   "FILE:2: serve.listen[0]: 0.0.0.0:6380: everybody who reaches it could use the server: " + hint,
		withTLS(", client_ca: " + ca): "",
	} {
		file := written(t, "respool.yaml", "url: redis://x\nserve: "+section+"\n")
		c := &serveCmd{Config: file}
		_, err := c.read(nil)
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), file, "FILE")
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", section, got, want)
		}
		c.Insecure = true
		if _, err := c.read(nil); err != nil {
			t.Errorf("%s with --insecure: %v", section, err)
		}
	}
	if _, err := (&serveCmd{Listen: []string{"0.0.0.0:1"}, TLSCert: cert, TLSKey: key, TLSCA: ca}).read(nil); err != nil {
		t.Error(err)
	}
	if _, err := (&serveCmd{TLSCert: cert, TLSKey: key, TLSCA: key}).read(nil); err == nil || !strings.HasSuffix(err.Error(), filepath.Base(key)+" holds no certificate in PEM") {
		t.Error(err)
	}
}

func TestCheckTellsWhatWouldBeServedAndNoSecret(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	file := written(t, "respool.yaml", wholeServe)
	code, out, errs := call(t, "serve", "-c", file, "--check")
	for _, secret := range []string{"hushhush", hashOfPassword, hashOfSecret} {
		if strings.Contains(out+errs, secret) {
			t.Errorf("%s is shown: %s%s", secret, out, errs)
		}
	}
	want := file + ` is right

listens at           127.0.0.1:6380
                     unix:///run/respool.sock (mode 0660)
                     unix:///run/other.sock (mode 0600)
server               10.0.0.2:6380 with TLS as app, 16 connections at most, and one more that watches
clients              500 at most, 20 of one address
who                  3 users of its own
  app                read, write; 2 passwords
  old                disabled
  ops                all; one password
operator's commands  allowed
at its end           clients may finish for 7s
pages                off
watch                every 2s, by ` + fmt.Sprint(len(monitor.DefaultRules())-1) + ` rules, tells 2 sinks
`
	if code != 0 || out != want || errs != "" {
		t.Errorf("exit %d: %s\n%s\nwant\n%s", code, errs, out, want)
	}
	code, out, _ = call(t, "serve", "redis://x?max_connections=1", "--check", "--listen", "127.0.0.1:1", "--listen", ":2", "--insecure")
	if code != 0 || strings.Count(out, "beware") != 1 || !strings.Contains(out, "\nbeware               :2: everybody who reaches this address may use the server: --insecure\n") ||
		!strings.Contains(out, " 1 connection at most, and one more") || !strings.Contains(out, "tells 1 sink\n") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out, _ := call(t, "serve", "--check", "--listen", "systemd:later"); code != 0 || !strings.Contains(out, "an embedded server") || !strings.Contains(out, "systemd:later") {
		t.Errorf("exit %d: %s", code, out)
	}
}
