//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clustertest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// notRun are the commands of the documents that the test below does not run, by their beginning, with the reason.
var notRun = map[string]string{
	"make ":                         "it runs these tests, or takes minutes",
	"go build ./...":                "the tests are built of the same packages",
	"go install ./cmd/respool":      "it would replace an installed tool; the tests build the same program",
	"go test ./test/cluster":        "CI runs the test, for less time",
	"go run -C bench":               "the tests of the module bench run its cases for a short time",
	"./examples/sentinel/start.sh":  "its first port is fixed, so that people can copy the URL",
	"respool doctor redis+cluster:": "TestDoctorOfACluster runs it on a cluster with a fault",
}

var (
	docsCommand = regexp.MustCompile(`(?m)^    (?:\$ )?((?:respool|go|make|\./[a-z/]+\.sh) [^\n]+|make|\./[a-z/]+\.sh)$`)
	docsComment = regexp.MustCompile(` +# .*$`)
	docsPlan    = regexp.MustCompile(`(?s)\n    server:\n.*?\n\n`)

	urlOfServer   = regexp.MustCompile(`redis://localhost:6379`)
	urlOfService  = regexp.MustCompile(`redis\+sentinel://[\w.:,]+/\w+`)
	urlOfCluster  = regexp.MustCompile(`redis\+cluster://[\w.:,]+`)
	commandOfTool = regexp.MustCompile(`^(respool|go run \./cmd/respool) [a-z-]`)
	staysThere    = regexp.MustCompile(`^respool (serve|watch|top)\b`)
	onlyPrints    = regexp.MustCompile(` --(check|print-config)\b`)
)

// docsCommands returns the command lines of all documents, without comments, each once.
func docsCommands(t *testing.T) (list []string) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range docsCommand.FindAllStringSubmatch(string(text), -1) {
			line := docsComment.ReplaceAllString(found[1], "")
			isTool := commandOfTool.MatchString(line) && parses(line)
			if (isTool || !strings.HasPrefix(line, "respool ")) && !slices.Contains(list, line) {
				list = append(list, line)
			}
		}
	}
	return list
}

// parses reports whether a line is a command of the tool, and not a line of its output.
func parses(line string) bool {
	rest := strings.TrimPrefix(strings.TrimPrefix(line, "go run ./cmd/"), "respool ")
	for _, args := range commandLines(rest) {
		if parse(args) != nil {
			return false
		}
	}
	return true
}

// docsPlace is where the commands of the documents run: a directory with the files that they name, and servers.
type docsPlace struct {
	dir                      string
	server, service, cluster string // URLs
}

func newDocsPlace(t *testing.T) *docsPlace {
	p := &docsPlace{dir: t.TempDir()}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sizing, err := os.ReadFile(filepath.Join(root, "docs/sizing.md"))
	if err != nil {
		t.Fatal(err)
	}
	plan := strings.ReplaceAll(docsPlan.FindString(string(sizing)), "\n    ", "\n")
	serve, err := os.ReadFile(filepath.Join(root, "examples/serve/respool.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	watch, err := os.ReadFile(filepath.Join(root, "examples/watch/respool.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"plan.yaml":                   plan,
		"respool.yaml":                string(serve),
		"examples/watch/respool.yaml": string(watch),
		"bin/respool":                 fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", asTool, self),
	} {
		file := filepath.Join(p.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.server = redistest.Start(t, redistest.Config{}).URL()
	p.service = redistest.StartSentinels(t, redistest.SentinelConfig{}).URL()
	p.cluster = clustertest.Start(t, clustertest.Config{}).URL()
	return p
}

// adapt names the servers of the test in a command, and avoids fixed ports and questions.
func (p *docsPlace) adapt(line string) string {
	line = strings.Replace(line, "go run ./cmd/respool", "respool", 1)
	line = strings.ReplaceAll(line, "unix:///run/respool/", "unix://"+p.dir+"/")
	line = urlOfServer.ReplaceAllString(line, p.server)
	line = urlOfService.ReplaceAllString(line, p.service)
	line = urlOfCluster.ReplaceAllString(line, p.cluster)
	switch {
	case strings.Contains(line, " -c ") || strings.Contains(line, " --config "):
		line += " --check"
	case strings.HasPrefix(line, "respool serve"):
		line += " --listen 127.0.0.1:0 --http off"
	case strings.HasPrefix(line, "respool watch"):
		line += " --listen off"
	case strings.HasPrefix(line, "respool drill") && !strings.Contains(line, "--yes"):
		line += " --yes"
	}
	return line
}

// run runs a command line in a shell, and ends one that stays after its first output.
func (p *docsPlace) run(t *testing.T, line string) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := p.adapt(line)
	stays := staysThere.MatchString(command) && !onlyPrints.MatchString(command)
	if stays {
		command = "exec " + command // the shell would not pass the signal on
	}
	out := tooltest.NewLog()
	sh := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	sh.Dir, sh.Stdout, sh.Stderr = p.dir, out, out
	sh.Env = append(os.Environ(), "PATH="+filepath.Join(p.dir, "bin")+":"+os.Getenv("PATH"),
		"REDIS_PASSWORD=x", "CHAT_TOKEN=x", "HOSTNAME=x")
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	if stays {
		out.Until(t, `\S`, 1)
		_ = sh.Process.Signal(syscall.SIGTERM)
	}
	err := sh.Wait()
	code := sh.ProcessState.ExitCode()
	if ok := code == 0 || code == exitFindings; !ok {
		t.Errorf("%s: exit code %d, %v:\n%s", command, code, err, out)
	}
}

// Each command of the documents works; only addresses and ports differ. 1 is the exit code of findings.
func TestTheCommandsOfTheDocsRun(t *testing.T) {
	place := newDocsPlace(t)
	skipped := map[string]bool{}
	ran := 0
	var drill sync.Mutex
	for _, line := range docsCommands(t) {
		if reason := notRunBecause(line); reason != "" {
			skipped[reason] = true
			continue
		}
		if !commandOfTool.MatchString(line) {
			t.Errorf("%s: run it here, or add it to notRun with the reason", line)
			continue
		}
		ran++
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			if strings.HasPrefix(line, "respool drill") { // two failovers of one service disturb each other
				drill.Lock()
				defer drill.Unlock()
			}
			place.run(t, line)
		})
	}
	if ran < 25 {
		t.Errorf("%d commands ran: want more", ran)
	}
	for begin, reason := range notRun {
		if !skipped[reason] {
			t.Errorf("notRun names %q, which no document contains", begin)
		}
	}
}

func notRunBecause(line string) string {
	for begin, reason := range notRun {
		if strings.HasPrefix(line+" ", begin) {
			return reason
		}
	}
	return ""
}
