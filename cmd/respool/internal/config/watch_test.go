package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/monitor"
)

func TestConfig(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	file := tooltest.File(t, "respool.yaml", tooltest.WatchConfig)
	rule := func(s *Watch, name string) monitor.Rule {
		i := slices.IndexFunc(s.Rules, func(r monitor.Rule) bool { return r.Name == name })
		if i < 0 {
			return monitor.Rule{}
		}
		return s.Rules[i]
	}
	s, err := ReadWatch(file, "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Sampler.Every != 2*time.Second || s.Sampler.ListEvery != 30*time.Second || s.Sampler.ListLimit != -1 || s.Sampler.MaxClients != 500 ||
		s.Pages != "127.0.0.1:0" || s.Instance != "here" || s.Sampler.Options.Password != "hushhush" || len(s.Sinks) != 4 {
		t.Errorf("%+v", s)
	}
	if got, want := rule(&s, "occupancy-high"), (monitor.Rule{Name: "occupancy-high", Severity: monitor.Warn, Limit: 0.6, For: 5 * time.Minute, Keep: 2 * time.Minute}); got != want {
		t.Errorf("%+v: want %+v", got, want)
	}
	if rule(&s, "exhaustion").Limit != 2 || rule(&s, "blocked").Name != "" || len(s.Rules) != len(monitor.DefaultRules())-1 {
		t.Errorf("%+v", s.Rules)
	}
	if h := s.Sinks[1].http; h.Timeout != 3*time.Second || h.Headers["Authorization"] != "Bearer hushhush" {
		t.Errorf("%+v", h)
	}
	s, err = ReadWatch(file, "development")
	if err != nil || s.Sampler.Every != 10*time.Second || s.Sampler.ListEvery != 30*time.Second || len(s.Sinks) != 1 || rule(&s, "occupancy-high").Name != "" || s.Instance != "here" {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = ReadWatch(file, "production")
	if err != nil || s.Sampler.Options.Addr != "10.0.0.2:6380" || s.Sampler.Every != 2*time.Second || rule(&s, "leak").Keep != 0 ||
		rule(&s, "occupancy-high") != (monitor.Rule{Name: "occupancy-high", Severity: monitor.Warn, Limit: 0.5, For: 5 * time.Minute, Keep: 2 * time.Minute}) {
		t.Errorf("%+v, %v", s, err)
	}
	s, err = ReadWatch(tooltest.File(t, "least.yaml", "url: redis://x\nlist_every: never\nlisten: off\n"), "")
	if err != nil || s.Sampler.Every != monitor.DefaultEvery || s.Sampler.ListEvery != respool.Never || s.Pages != "" || len(s.Sinks) != 1 || s.Sinks[0].kind != "log" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestTheExampleIsRight(t *testing.T) {
	t.Setenv("REDIS_PASSWORD", "hushhush")
	t.Setenv("CHAT_TOKEN", "hushhush")
	t.Setenv("HOSTNAME", "here")
	for _, profile := range []string{"", "development", "test", "production"} {
		if _, err := ReadWatch("../../../../examples/watch/respool.yaml", profile); err != nil {
			t.Errorf("%q: %v", profile, err)
		}
	}
}

func TestConfigWithAPlan(t *testing.T) {
	file := tooltest.File(t, "plan.yaml", "server: {maxclients: 1000, reserve: 10%, others: 50}\nservices:\n  orders: {pods: 10, surge: 0%, max_connections: 8}\n  cart: {pods: 2, surge: 1, max_connections: 5}\n  wild: {}\n")
	s, err := ReadWatch(tooltest.File(t, "respool.yaml", "url: redis://x\nplan: "+file+"\n"), "")
	if err != nil || len(s.Ceilings) != 2 || s.Ceilings["orders"] != 80 || s.Ceilings["cart"] != 15 || s.Reserve != 150 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestConfigMistakesAreOneClearError(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	for text, want := range map[string]string{
		"":                                "is empty: want the keys url",
		"every: 5s":                       "url is missing",
		"url: redis://x\nevry: 5s":        ":2: evry: unknown key: want one of actions, credentials, every, grace, instance",
		"url: redis://x\nevery: 5":        `:2: every: "5": want a time such as`,
		"url: redis://x\nevery: 1ms":      "want 10ms or more",
		"url: redis://x\nurl: redis://y":  ":2: url: duplicate of the key in line 1",
		"url: ${NO_SUCH_VARIABLE_HERE}":   "${NO_SUCH_VARIABLE_HERE}: the environment variable is not set",
		"url: redis://${x":                "a ${ without a name or a }",
		"url: redis://x?max_conections=4": "did you mean max_connections?",
		"url: http://:${TEST_SECRET}@x":   "want redis, rediss",
		"url: redis://x\nlisten: here":    "want host:port such as 127.0.0.1:8637, or off",
		"url: redis://x\npage_hosts: x":   "want a list of strings",
		"url: redis://x\npage_hosts: [a.example, 'http://b.example']":      `:2: page_hosts: "http://b.example": want a name such as respool.example.com, without http:// and without a port`,
		"url: redis://x\npage_hosts: ['b.example:80']":                     "without a port",
		"url: redis://x\nplan: /no/such":                                   "plan: open /no/such",
		"url: redis://x\nrules: {leek: off}":                               "unknown rule: want one of abandoned, blind, blocked",
		"url: redis://x\nrules: {leak: {limits: 1}}":                       "rules.leak.limits: unknown key: want one of for, keep, limit, severity",
		"url: redis://x\nrules: {leak: {limit: 150%}}":                     "want a share between 0 and 1",
		"url: redis://x\nrules: {leak: {limit: much}}":                     "want a number, a share such as 70%, or a time such as 4h",
		"url: redis://x\nrules: {leak: {severity: awful}}":                 "want note, warn, ticket or page",
		"url: redis://x\ntell: log":                                        "want a list of log, webhook",
		"url: redis://x\ntell: [mail]":                                     "want log, or one of the keys alertmanager",
		"url: redis://x\ntell: [{mail: {}}]":                               "tell[0].mail: unknown",
		"url: redis://x\ntell: [{webhook: {url: 'ftp://${TEST_SECRET}'}}]": "the URL of the webhook",
		"url: redis://x\ntell: [{webhook: {}}]":                            "the URL of the webhook",
		"url: redis://x\ntell: [{command: {run: [no-such-program]}}]":      "the command cannot be run",
		"url: redis://x\nprofiles: {a: 1}":                                 "profiles.a: \"1\": want a mapping of the keys",
		"url: redis://x\nprofiles: {a: {every: never}}":                    "in profile a: ",
		"url: redis://x\n---\nurl: redis://y":                              "a second YAML document",
		"[":                                                                "invalid YAML",
	} {
		_, err := ReadWatch(tooltest.File(t, "respool.yaml", text), "")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hushhush") {
			t.Errorf("%q: got %v: want %q", text, err, want)
		}
	}
}

func TestTheDefaultPortsAreOfNoExporter(t *testing.T) {
	ports := map[int]string{}
	for _, addr := range []string{DefaultListen, DefaultServePages, DefaultWatchPages} {
		_, text, err := net.SplitHostPort(addr)
		port, bad := strconv.Atoi(text)
		if err != nil || bad != nil || port >= 9090 && port <= 9999 || port >= 16379 || ports[port] != "" {
			t.Errorf("%s: %v, %v: want a port outside the range of exporters, below those of cluster buses, and used once", addr, err, bad)
		}
		ports[port] = addr
	}
}

func TestActionsNeedAUserWhoMayLogIn(t *testing.T) {
	read := func(users string) (Watch, error) {
		return ReadWatch(tooltest.File(t, "respool.yaml", "url: redis://x\nactions: true\nserve: {users: "+users+"}\n"), "")
	}
	hash := "password_sha256: " + tooltest.HashOfPassword
	for _, users := range []string{"{default: {}}", "{ops: {commands: [admin]}}", "{ops: {" + hash + "}}", "{ops: {" + hash + ", commands: [all], disabled: true}}"} {
		if _, err := read(users); err == nil || !strings.Contains(err.Error(), "respool.yaml: actions: nobody could log in: want a user in serve.users") {
			t.Errorf("%s: %v", users, err)
		}
	}
	s, err := read("{default: {}, ops: {" + hash + ", commands: [read, admin]}}")
	if err != nil || !s.Actions || !s.Operators.MayOperate("ops") || s.Operators.MayOperate("default") || s.Operators.MayOperate("nobody") {
		t.Errorf("%+v, %v", s, err)
	}
	if !s.Operators.OperatorLogin("ops", "password") {
		t.Error("the password is refused")
	}
	for _, c := range [][2]string{{"ops", ""}, {"ops", "wrong"}, {"default", ""}, {"nobody", ""}, {"", ""}} {
		if s.Operators.OperatorLogin(c[0], c[1]) {
			t.Errorf("%q may log in", c)
		}
	}
	if DefaultWatch().Actions {
		t.Error("actions are on by default")
	}
}
