package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
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
	_, line, found := strings.Cut(string(service), "\nExecStart=respool ")
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
	checkSocket(t, s.Watch.Socket, string(service), "\nRuntimeDirectory=respool\nRuntimeDirectoryMode=0700\n")
	socket, err := os.ReadFile("../../examples/serve/respool.socket")
	if err != nil || !strings.Contains(string(socket), "\nFileDescriptorName=respool\n") {
		t.Errorf("the socket is not called respool: %v", err)
	}
}

// The drop-in for upgrades runs the command of the unit with --takeover, at the start and at a reload, and keeps its watchdog.
func TestTheUpgradesOfSystemdAreRight(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile("../../examples/serve/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	service, upgrade := read("respool.service"), read("upgrade.conf")
	_, line, _ := strings.Cut(service, "\nExecStart=")
	line, _, _ = strings.Cut(line, "\n")
	line += " --takeover /run/respool/takeover.sock"
	if f := parsed(t, strings.Fields(strings.TrimPrefix(line, "respool "))); f.Takeover != "/run/respool/takeover.sock" {
		t.Errorf("%+v", f)
	}
	_, seconds, _ := strings.Cut(service, "\nWatchdogSec=")
	seconds, _, _ = strings.Cut(seconds, "\n")
	reload := "WATCHDOG_USEC=" + seconds + "000000 " + strings.Replace(line, "${CREDENTIALS_DIRECTORY}/url", "/run/respool/url", 1) + " >&3 3>&- &"
	for _, want := range []string{"\nNotifyAccess=all\n", "\nExecStart=\nExecStart=" + line + "\n", reload, "\nExecReload=\n", "\nExecReload=+sh -c 'install -m 0400 /etc/respool/url /run/respool/url "} {
		if !strings.Contains(upgrade, want) {
			t.Errorf("upgrade.conf lacks %q", want)
		}
	}
}

// checkSocket checks the socket of an example for respool kill: the file creates its directory, and names the command.
func checkSocket(t *testing.T, socket *config.Address, file, directory string) {
	t.Helper()
	if socket == nil || path.Dir(socket.Addr) != "/run/respool" || socket.Mode != 0o600 || !strings.Contains(file, directory) {
		t.Errorf("%+v: want a socket in /run/respool, and %q in the file", socket, directory)
		return
	}
	if want := " kill http+unix://" + socket.Addr + " "; !strings.Contains(file, want) {
		t.Errorf("want %q in the file", want)
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
					VolumeMounts  []struct {
						Name      string
						MountPath string `yaml:"mountPath"`
						ReadOnly  bool   `yaml:"readOnly"`
					} `yaml:"volumeMounts"`
				} `yaml:"initContainers"`
				Volumes []struct {
					Name     string
					EmptyDir map[string]string `yaml:"emptyDir"`
				}
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
		s, err := f.Read(nil)
		if err != nil || s.Watch.Pages != "0.0.0.0:8638" || s.Gateway.Buffers != 64<<20 || len(s.Listen) != 1 || !s.Listen[0].Local() {
			t.Errorf("%+v, %v", s, err)
		}
		checkSocket(t, s.Watch.Socket, string(text), "\n          emptyDir: ")
		mounts, volumes := list[0].VolumeMounts, m.Spec.Template.Spec.Volumes
		if len(mounts) != 2 || mounts[1].MountPath != "/run/respool" || mounts[1].ReadOnly || len(volumes) != 2 || volumes[1].Name != mounts[1].Name || volumes[1].EmptyDir == nil {
			t.Errorf("%+v, %+v: want a volume for the socket", mounts, volumes)
		}
	}
	if kinds != "Secret ConfigMap Deployment " || strings.Count(string(text), "path: /readyz") != 2 || strings.Count(string(text), "path: /healthz") != 1 {
		t.Errorf("%s", kinds)
	}
}
