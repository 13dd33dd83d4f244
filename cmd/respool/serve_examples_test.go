package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/serve"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

// parsed parses arguments with the tool's parser.
func parsed(t *testing.T, args []string) *serve.Flags {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, defaults())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	flags := c.Serve.flags()
	return &flags
}

func TestTheUnitOfSystemdIsRight(t *testing.T) {
	service, err := os.ReadFile("../../examples/serve/respool.service")
	if err != nil {
		t.Fatal(err)
	}
	_, line, found := strings.Cut(string(service), "\nExecStart=/usr/local/bin/respool ")
	line, _, _ = strings.Cut(line, "\n")
	if !found {
		t.Fatal("no ExecStart")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/url", []byte("redis://:hushhush@localhost"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := parsed(t, strings.Fields(strings.NewReplacer("${CREDENTIALS_DIRECTORY}", dir, "/etc/respool/", "../../examples/serve/").Replace(line)))
	f.Check = true // no socket is passed here
	s, err := f.Read(nil)
	if err != nil || len(s.Listen) != 1 || s.Listen[0].Name != "systemd:respool" {
		t.Errorf("%+v, %v", s, err)
	}
	socket, err := os.ReadFile("../../examples/serve/respool.socket")
	if err != nil || !strings.Contains(string(socket), "\nFileDescriptorName=respool\n") {
		t.Errorf("the socket is not called respool: %v", err)
	}
}

// manifest is the part of a Kubernetes object that the test reads.
type manifest struct {
	Kind string
	Data map[string]string
	Spec struct {
		Template struct {
			Spec struct {
				InitContainers []struct {
					RestartPolicy string `yaml:"restartPolicy"`
					Args          []string
				} `yaml:"initContainers"`
			}
		}
	}
}

func TestTheSidecarOfKubernetesIsRight(t *testing.T) {
	text, err := os.ReadFile("../../examples/serve/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kinds, config := "", ""
	for {
		var m manifest
		if err := loader.Load(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds += m.Kind + " "
		if m.Kind == "ConfigMap" {
			config = tooltest.File(t, "respool.yaml", m.Data["respool.yaml"])
		}
		if m.Kind != "Deployment" {
			continue
		}
		list := m.Spec.Template.Spec.InitContainers
		if len(list) != 1 || list[0].RestartPolicy != "Always" {
			t.Fatalf("%+v", list)
		}
		f := parsed(t, list[0].Args)
		f.Config = config
		f.URLFile = tooltest.File(t, "url", "rediss://app:hushhush@redis.example:6379?max_connections=8\n")
		if s, err := f.Read(nil); err != nil || s.Watch.Pages != "0.0.0.0:9121" || s.Gateway.Buffers != 64<<20 || len(s.Listen) != 1 || !s.Listen[0].Local() {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if kinds != "Secret ConfigMap Deployment " || strings.Count(string(text), "path: /readyz") != 2 || strings.Count(string(text), "path: /healthz") != 1 {
		t.Errorf("%s", kinds)
	}
}
