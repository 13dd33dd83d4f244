package serve

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
	"github.com/seed-2b0d76a6/respool/internal/gateway"
	"github.com/seed-2b0d76a6/respool/internal/gateway/quota"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

func TestServeConfig(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	file := tooltest.File(t, "respool.yaml", tooltest.ServeConfig)
	s, err := (&Flags{Config: file}).Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.Config{
		MaxClients: 500, MaxClientsPerAddress: 20, AdminClients: 2, InputBuffer: 64 << 10, OutputBuffer: 2 << 20, Buffers: 1 << 30, Pipeline: 32, Loops: 3,
		IdleTimeout: 10 * time.Minute, RequestTimeout: 5 * time.Second, WriteTimeout: 6 * time.Second,
		LimitWait: 900 * time.Millisecond, SlowThreshold: 20 * time.Millisecond, NoHotKeys: true, ClientRate: quota.Rate{Commands: 5000, Bytes: 10 << 20},
		CloseOnFailure: true, Admin: true, ServerVersion: "7.2.0",
		Users: map[string]gateway.User{
			"app": {Passwords: []string{tooltest.HashOfPassword, tooltest.HashOfSecret}, Commands: []string{"read", "write"},
				Limits: quota.Limits{MaxClients: 50, MaxConnections: 3, Rate: quota.Rate{Commands: 1000, Bytes: 1 << 20}}},
			"ops": {Passwords: []string{tooltest.HashOfSecret}, Commands: []string{"all"}},
			"old": {Disabled: true},
		},
	}
	if !reflect.DeepEqual(s.Gateway, want) {
		t.Errorf("%+v: want %+v", s.Gateway, want)
	}
	o := s.Watch.Sampler.Options
	if o.Addr != "10.0.0.2:6380" || o.TLS == nil || o.Password != "hushhush" || s.Drain != 7*time.Second || s.Watch.Pages != "" || s.Watch.Instance != "here" ||
		s.Watch.Sampler.Every != 2*time.Second || len(s.Watch.Sinks) != 2 || s.Embedded {
		t.Errorf("%+v", s)
	}
	if e := s.Listen; len(e) != 3 || e[0].Addr != "127.0.0.1:6380" || e[1].Addr != "/run/respool.sock" || e[1].Mode != 0o660 || e[2].Mode != 0o600 {
		t.Errorf("%+v", e)
	}
	s, err = (&Flags{Config: file, Profile: "small"}).Read(nil)
	if err != nil || s.Gateway.MaxClients != 5 || s.Gateway.IdleTimeout != 0 || !reflect.DeepEqual(s.Gateway.Users["app"].Commands, []string{"read"}) || len(s.Gateway.Users["app"].Passwords) != 2 {
		t.Errorf("%+v, %v", s.Gateway, err)
	}
	// respool watch can use the same file.
	if w, err := config.ReadWatch(file, "small"); err != nil || w.Sampler.Options.Addr != "10.0.0.1:6379" {
		t.Errorf("%+v, %v", w.Sampler.Options, err)
	}
}

func TestFlagsWinOverTheFile(t *testing.T) {
	t.Setenv("TEST_SECRET", "hushhush")
	url := tooltest.File(t, "url", "redis://:swordfish@10.0.0.3:6379\n")
	clients, drain := 7, time.Minute
	s, err := (&Flags{Config: tooltest.File(t, "respool.yaml", tooltest.ServeConfig), URLFile: url, Listen: []string{"localhost:1", "unix:///x?mode=660"},
		HTTP: "127.0.0.1:9", MaxClients: &clients, Drain: &drain}).Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if o := s.Watch.Sampler.Options; o.Addr != "10.0.0.3:6379" || o.Password != "swordfish" || s.Gateway.MaxClients != 7 || s.Drain != drain || s.Watch.Pages != "127.0.0.1:9" {
		t.Errorf("%+v", s)
	}
	if e := s.Listen; len(e) != 2 || e[0].Addr != "localhost:1" || e[1].Addr != "/x" || e[1].Mode != 0o660 {
		t.Errorf("%+v", e)
	}
}

func TestTheExampleOfServeIsRight(t *testing.T) {
	for _, profile := range []string{"", "development", "production", "pass-through"} {
		s, err := (&Flags{Config: "../../../../examples/serve/respool.yaml", Profile: profile}).Read(nil)
		if err != nil || len(s.Listen) != 1 {
			t.Errorf("%q: %+v, %v", profile, s.Listen, err)
		}
		if profile == "production" && (s.Watch.Socket == nil || s.Watch.Socket.Addr != "/run/respool/serve.sock") {
			t.Errorf("%+v: want the socket of the unit", s.Watch.Socket)
		}
	}
}

// Each commented line of the example is right too.
func TestTheExamplesOtherListenersAreRight(t *testing.T) {
	for _, line := range []string{
		`{address: "unix:///run/respool/redis.sock", mode: 0660}`,
		`{address: "0.0.0.0:6381", tls: {cert: /etc/respool/cert.pem, key: /etc/respool/key.pem, client_ca: /etc/respool/ca.pem}}`,
		`systemd:respool`,
		`server_version: 7.2.0`,
		`socket: unix:///run/respool/serve.sock`,
	} {
		text, err := os.ReadFile("../../../../examples/serve/respool.yaml")
		if err != nil || !strings.Contains(string(text), "# "+line) && !strings.Contains(string(text), "# - "+line) {
			t.Fatalf("no %q in the example: %v", line, err)
		}
		changed := strings.NewReplacer("# - "+line, "- "+line, "# "+line, line).Replace(string(text))
		if _, err := yamlnode.ReadProfile(tooltest.File(t, "respool.yaml", changed), "", config.ParseServe); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Without authentication, the gateway does not listen at addresses that other machines reach.
func TestServeRefusesToListenForEverybody(t *testing.T) {
	cert, key, ca := testkit.NewAuthority(t).Issue(t, t.TempDir(), 2)
	const hint = "want users with passwords, pass_through with need_auth, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure"
	withTLS := func(more string) string {
		return "{listen: [{address: '0.0.0.0:6380', tls: {cert: " + cert + ", key: " + key + more + "}}]}"
	}
	for section, want := range map[string]string{
		"{listen: ['127.0.0.1:1', '127.8.9.1:1', 'localhost:1', '[::1]:1', 'unix:///x']}": "",
		"{listen: ['0.0.0.0:6380']}":                                                                                      "FILE:2: serve.listen[0]: 0.0.0.0:6380: everyone who can connect could use the server: " + hint,
		"{listen: [':6380']}":                                                                                             "FILE:2: serve.listen[0]: :6380: everyone who can connect could use the server: " + hint,
		"{listen: ['[::1]:1', 'example.org:6380']}":                                                                       "FILE:2: serve.listen[1]: example.org:6380: everyone who can connect could use the server: " + hint,
		"{listen: ['0.0.0.0:6380'], pass_through: true}":                                                                  "FILE:2: serve.listen[0]: 0.0.0.0:6380: everyone who can connect could use the server: " + hint,
		"{listen: ['0.0.0.0:6380'], pass_through: true, need_auth: true}":                                                 "",
		"{listen: ['0.0.0.0:6380'], users: {app: {password_sha256: " + tooltest.HashOfSecret + "}}}":                      "",
		"{listen: ['0.0.0.0:6380'], users: {app: {password_sha256: " + tooltest.HashOfSecret + "}, b: {}}}":               "FILE:2: serve.listen[0]: 0.0.0.0:6380: everyone who can connect could use the server as user b: want a password_sha256 for that user, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure",
		"{listen: ['0.0.0.0:6380'], users: {app: {password_sha256: " + tooltest.HashOfSecret + "}, b: {disabled: true}}}": "",
		withTLS(""):                   "FILE:2: serve.listen[0]: 0.0.0.0:6380: everyone who can connect could use the server: " + hint,
		withTLS(", client_ca: " + ca): "",
	} {
		file := tooltest.File(t, "respool.yaml", "url: redis://x\nserve: "+section+"\n")
		f := &Flags{Config: file}
		_, err := f.Read(nil)
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), file, "FILE")
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", section, got, want)
		}
		f.Insecure = true
		if _, err := f.Read(nil); err != nil {
			t.Errorf("%s with --insecure: %v", section, err)
		}
	}
	if _, err := (&Flags{Listen: []string{"0.0.0.0:1"}, TLSCert: cert, TLSKey: key, TLSCA: ca}).Read(nil); err != nil {
		t.Error(err)
	}
	if _, err := (&Flags{TLSCert: cert, TLSKey: key, TLSCA: key}).Read(nil); err == nil || !strings.HasSuffix(err.Error(), filepath.Base(key)+" holds no certificate in PEM") {
		t.Error(err)
	}
}
