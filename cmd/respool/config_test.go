package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// written puts a file into a directory of the test's own.
func written(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const wholeConfig = `
url: redis://:${TEST_SECRET}@10.0.0.1:6379
every: 2s
list_every: 30s
list_limit: none
maxclients: 500
listen: 127.0.0.1:0
instance: here
rules:
  occupancy-high: {limit: 60%, for: 5m, severity: warn}
  exhaustion: {limit: 2h}
  blocked: off
tell:
  - log
  - webhook: {url: "http://127.0.0.1:1/x", timeout: 3s, headers: {Authorization: "Bearer ${TEST_SECRET}"}}
  - alertmanager: {url: "http://127.0.0.1:2"}
  - command: {run: [sh, -c, "cat >/dev/null"], timeout: 1s}
profiles:
  development: {every: 10s, tell: [log], rules: {occupancy-high: off}}
  production:
    url: rediss://10.0.0.2:6380
    rules: {occupancy-high: {limit: 0.5}, leak: {keep: 0}}
`

func TestConfig(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	file := written(t, "respool.yaml", wholeConfig)
	rule := func(s *settings, name string) monitor.Rule {
		i := slices.IndexFunc(s.rules, func(r monitor.Rule) bool { return r.Name == name })
		if i < 0 {
			return monitor.Rule{}
		}
		return s.rules[i]
	}
	s, err := readConfig(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if s.sampler.Every != 2*time.Second || s.sampler.ListEvery != 30*time.Second || s.sampler.ListLimit != -1 || s.sampler.MaxClients != 500 ||
		s.listen != "127.0.0.1:0" || s.instance != "here" || s.sampler.Options.Password != "hushhush" || len(s.sinks) != 4 {
		t.Errorf("%+v", s)
	}
	if got, want := rule(&s, "occupancy-high"), (monitor.Rule{Name: "occupancy-high", Severity: monitor.Warn, Limit: 0.6, For: 5 * time.Minute, Keep: 2 * time.Minute}); got != want {
		t.Errorf("%+v: want %+v", got, want)
	}
	if rule(&s, "exhaustion").Limit != 2 || rule(&s, "blocked").Name != "" || len(s.rules) != len(monitor.DefaultRules())-1 {
		t.Errorf("%+v", s.rules)
	}
	if h := s.sinks[1].http; h.Timeout != 3*time.Second || h.Headers["Authorization"] != "Bearer hushhush" {
		t.Errorf("%+v", h)
	}
	s, err = readConfig(file, "development")
	if err != nil || s.sampler.Every != 10*time.Second || s.sampler.ListEvery != 30*time.Second || len(s.sinks) != 1 || rule(&s, "occupancy-high").Name != "" || s.instance != "here" {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = readConfig(file, "production")
	if err != nil || s.sampler.Options.Addr != "10.0.0.2:6380" || s.sampler.Every != 2*time.Second || rule(&s, "leak").Keep != 0 ||
		rule(&s, "occupancy-high") != (monitor.Rule{Name: "occupancy-high", Severity: monitor.Warn, Limit: 0.5, For: 5 * time.Minute, Keep: 2 * time.Minute}) {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = readConfig(written(t, "least.yaml", "url: redis://x\nlist_every: never\nlisten: off\n"), "")
	if err != nil || s.sampler.Every != monitor.DefaultEvery || s.sampler.ListEvery != respool.Never || s.listen != "" || len(s.sinks) != 1 || s.sinks[0].kind != "log" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestTheExampleIsRight(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "hushhush")
	t.Setenv("CHAT_TOKEN", "hushhush")
	t.Setenv("HOSTNAME", "here")
	for _, profile := range []string{"", "development", "test", "production"} {
		if _, err := readConfig("../../examples/watch/respool.yaml", profile); err != nil {
			t.Errorf("%q: %v", profile, err)
		}
	}
}

func TestConfigWithAPlan(t *testing.T) {
	file := written(t, "plan.yaml", "server: {maxclients: 1000, reserve: 10%, others: 50}\nservices:\n  orders: {pods: 10, surge: 0%, max_connections: 8}\n  cart: {pods: 2, surge: 1, max_connections: 5}\n  wild: {}\n")
	s, err := readConfig(written(t, "respool.yaml", "url: redis://x\nplan: "+file+"\n"), "")
	if err != nil || len(s.ceilings) != 2 || s.ceilings["orders"] != 80 || s.ceilings["cart"] != 15 || s.reserve != 150 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestConfigMistakesAreOneClearError(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	for text, want := range map[string]string{
		"":                                                                 "is empty: want the keys url",
		"every: 5s":                                                        "url is missing",
		"url: redis://x\nevry: 5s":                                         ":2: evry: unknown key: want one of credentials, every, instance",
		"url: redis://x\nevery: 5":                                         `:2: every: "5": want a time such as`,
		"url: redis://x\nevery: 1ms":                                       "want 10ms or more",
		"url: redis://x\nurl: redis://y":                                   ":2: url: the same key as in line 1",
		"url: ${NO_SUCH_VARIABLE_HERE}":                                    "${NO_SUCH_VARIABLE_HERE}: there is no such variable",
		"url: redis://${x":                                                 "a ${ without a name and a }",
		"url: redis://x?max_conections=4":                                  "did you mean max_connections?",
		"url: http://:${TEST_SECRET}@x":                                    "want redis, rediss",
		"url: redis://x\nlisten: here":                                     "want host:port such as 127.0.0.1:9736, or off",
		"url: redis://x\nplan: /no/such":                                   "plan: open /no/such",
		"url: redis://x\nrules: {leek: off}":                               "there is no such rule: want one of abandoned, blocked",
		"url: redis://x\nrules: {leak: {limits: 1}}":                       "rules.leak.limits: unknown key: want one of for, keep, limit, severity",
		"url: redis://x\nrules: {leak: {limit: 150%}}":                     "want a share between 0 and 1",
		"url: redis://x\nrules: {leak: {limit: much}}":                     "want a number, a share such as 70%, or a time such as 4h",
		"url: redis://x\nrules: {leak: {severity: awful}}":                 "want note, warn, ticket or page",
		"url: redis://x\ntell: log":                                        "want a list of log, webhook",
		"url: redis://x\ntell: [mail]":                                     "want log, or one of the keys alertmanager",
		"url: redis://x\ntell: [{mail: {}}]":                               "tell[0].mail: unknown",
		"url: redis://x\ntell: [{webhook: {url: 'ftp://${TEST_SECRET}'}}]": "the URL of the webhook",
		"url: redis://x\ntell: [{webhook: {}}]":                            "the URL of the webhook",
		"url: redis://x\ntell: [{command: {run: [no-such-program]}}]":      "the command can't be run",
		"url: redis://x\nprofiles: {a: 1}":                                 "profiles.a: \"1\": want what the profile changes",
		"url: redis://x\nprofiles: {a: {every: never}}":                    "in profile a: ",
		"url: redis://x\n---\nurl: redis://y":                              "a second document",
		"[":                                                                "this is no YAML",
	} {
		_, err := readConfig(written(t, "respool.yaml", text), "")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hushhush") {
			t.Errorf("%q: got %v: want %q", text, err, want)
		}
	}
	for args, want := range map[string]string{
		"watch":                                   "nothing to look at",
		"watch redis://x -c y":                    "want one of them",
		"watch redis://x --profile p":             "--profile without a configuration",
		"watch redis://x --listen 5":              "--listen is \"5\"",
		"watch -c /no/such/file":                  "no such file",
		"kill redis://x":                          "no filter: want one at least",
		"kill redis://x --service a --rate 0":     "--rate is 0",
		"kill redis://x --service a --max 0":      "--max is 0",
		"kill redis://x --idle=-1s":               "--idle is -1s",
		"watch -c FILE --profile staging --check": "has no profile \"staging\": want one of development, production",
	} {
		args = strings.ReplaceAll(args, "FILE", written(t, "respool.yaml", wholeConfig))
		code, out, errs := call(t, strings.Fields(args)...)
		if code != 2 || !strings.Contains(errs, want) || strings.Count(strings.TrimSpace(errs), "\n") > 1 {
			t.Errorf("%s: exit %d: %s%s: want %q", args, code, out, errs, want)
		}
	}
	code, out, errs := call(t, "watch", "-c", written(t, "respool.yaml", wholeConfig), "--profile", "production", "--check")
	if code != 0 || !strings.Contains(out, "is right: looks at 10.0.0.2:6380 every 2s") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}
