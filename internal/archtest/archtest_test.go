// Package archtest holds the project to its architecture: which package may
// import which, and which module may require which.
package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/seed-2b0d76a6/respool"

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath string
	Imports    []string // of what is built, tests left out
}

// layers stand from the bottom to the top: a package imports only from below
// its own layer. A name with /... stands for everything under it too.
var layers = [][]string{
	{"resp", "plan", "internal/certfile", "internal/fifo", "internal/budget"},
	{"internal/command", "internal/topology/..."},
	{"internal/wire", "internal/blocking", "internal/refusal", "internal/multislot"},
	{"internal/lane"},
	{"internal/pool", "internal/renewal", "internal/vocabulary"},
	{"internal/pubsub", "internal/keywatch", "internal/replysize", "internal/sentinels"},
	{"internal/identity"},
	{"internal/engine"},
	{""},
	{"internal/poolmetrics"},
	{"monitor/..."},
	{"metrics/otel", "metrics/prometheus"},
	{"internal/gateway/..."},
	{"goredis"},
	{"cmd/...", "credentials/aws", "credentials/entra"},
	{"bench/...", "test/...", "examples/..."},
}

// narrow lists what some packages may import of ours, where that is less than
// all below them.
var narrow = map[string][]string{
	"internal/command":      {"resp"},
	"internal/topology/...": {"resp", "internal/topology/..."},
	"plan":                  {},
	"internal/certfile":     {},
	"internal/budget":       {},
	"internal/blocking":     {"resp", "internal/command"},
	"internal/refusal":      {"resp", "internal/command", "internal/topology"},
	"internal/multislot":    {"resp", "internal/command"},
	"internal/wire":         {"resp"},
	"internal/lane":         {"resp", "internal/fifo", "internal/command", "internal/wire"},
	"internal/identity":     {"resp", "internal/command", "internal/wire", "internal/lane", "internal/pool", "internal/pubsub", "internal/renewal"},
	"internal/sentinels":    {"internal/certfile", "internal/wire", "internal/renewal", "internal/topology/..."},
	"internal/renewal":      {"resp", "internal/wire", "internal/lane"},
	"internal/replysize":    {"internal/pool"},
	"internal/vocabulary":   {"resp", "internal/command", "internal/wire", "internal/lane"},
	"internal/pool":         {"resp", "internal/budget", "internal/fifo", "internal/wire", "internal/lane"},

	// The root and the gateway use the engine as equals.
	"internal/gateway":         {"resp", "internal/command", "internal/wire", "internal/lane", "internal/pool", "internal/pubsub", "internal/blocking", "internal/engine", "internal/gateway/..."},
	"internal/gateway/netio":   {"internal/lane"},
	"internal/gateway/observe": {"resp", "internal/command"},
	"internal/gateway/quota":   {},
	"internal/gateway/request": {"resp"},
	"internal/gateway/session": {"resp", "internal/command"},
	"internal/gateway/turns":   {"internal/fifo", "resp"},

	tool + "embedded":   {},
	tool + "input":      {},
	tool + "output":     {},
	tool + "pause":      {},
	tool + "progress":   {},
	tool + "monitoring": {"monitor"},
	tool + "report":     {"monitor"},
	tool + "summary":    {"monitor", tool + "output"},
	tool + "yamlnode":   {tool + "input"},
	tool + "page":       {"monitor/...", "metrics/prometheus", tool + "output", tool + "report"},
	tool + "page/live":  {"monitor/...", tool + "output", tool + "report", tool + "summary", tool + "page", "internal/gateway/observe"},
}

// tool is where the packages of the tool are.
const tool = "cmd/respool/internal/"

// tests are packages for tests alone: no other package may import them. They
// test the others from outside, so of ours they import internal/testkit at most,
// and the cluster its servers and relays.
var tests = []string{"internal/testkit", "internal/testkit/redistest", "internal/testkit/faultnet", "internal/testkit/fakeserver", "internal/testkit/transcript", clusterTest, "internal/archtest"}

const clusterTest = "internal/testkit/clustertest"

// helpers are packages for the tests of a few packages. No program may import
// them, and they may import what they help to test.
var helpers = []string{"internal/poolmetrics/pooltest", "cmd/respool/internal/tooltest", "internal/testkit/clusterload"}

// trials are programs that test and measure the others: they may import the
// packages for tests.
var trials = []string{"bench/...", "test/..."}

// lean are the layers that a service embeds: they take on no dependencies.
const lean = 11

func matches(pattern, name string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == base || strings.HasPrefix(name, base+"/")
	}
	return pattern == name
}

func anyMatch(patterns []string, name string) bool {
	for _, p := range patterns {
		if matches(p, name) {
			return true
		}
	}
	return false
}

func layerOf(name string) int {
	for i, l := range layers {
		if anyMatch(l, name) {
			return i
		}
	}
	return -1
}

// ours gives a package's name within the module.
func ours(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// violations lists the imports that go the wrong way.
func violations(pkgs []pkg) []string {
	var bad []string
	for _, p := range pkgs {
		name, _ := ours(p.ImportPath)
		if strings.HasSuffix(name, "/gen") {
			continue
		}
		layer := layerOf(name)
		if layer < 0 && !anyMatch(tests, name) && !anyMatch(helpers, name) {
			bad = append(bad, fmt.Sprintf("%s has no place among the layers", p.ImportPath))
			continue
		}
		for _, imported := range p.Imports {
			if why := forbidden(name, layer, imported); why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imported, why))
			}
		}
	}
	return bad
}

func forbidden(name string, layer int, imported string) string {
	other, own := ours(imported)
	if anyMatch(helpers, name) {
		return ""
	}
	if anyMatch(tests, name) {
		allowed := []string{"internal/testkit"}
		if name == clusterTest {
			allowed = append(allowed, "internal/testkit/redistest", "internal/testkit/faultnet")
		}
		if own && !slices.Contains(allowed, other) || !own && !standard(imported) {
			return "only the standard library and " + strings.Join(allowed, ", ") + " may be used here"
		}
		return ""
	}
	if !own {
		if layer < lean && !standard(imported) && !strings.HasPrefix(imported, "golang.org/x/") {
			return "only the standard library and golang.org/x may be used here"
		}
		return ""
	}
	if (anyMatch(tests, other) || anyMatch(helpers, other)) && anyMatch(trials, name) {
		return ""
	}
	if anyMatch(tests, other) || anyMatch(helpers, other) {
		return "that is for tests alone"
	}
	for pattern, allowed := range narrow {
		if matches(pattern, name) {
			if !anyMatch(allowed, other) {
				return "it may import only " + strings.Join(allowed, ", ")
			}
			return ""
		}
	}
	if l := layerOf(other); l >= layer && !sameTree(name, other) {
		return "the arrows point the other way"
	}
	return ""
}

// sameTree reports whether both stand under one command or one package tree.
func sameTree(a, b string) bool {
	for _, l := range layers {
		for _, p := range l {
			if strings.HasSuffix(p, "/...") && matches(p, a) && matches(p, b) {
				return true
			}
		}
	}
	return false
}

func TestImportsPointOneWay(t *testing.T) {
	for _, system := range []string{"linux", "darwin", "windows"} {
		t.Run(system, func(t *testing.T) { checkImports(t, system) })
	}
}

func checkImports(t *testing.T, system string) {
	var pkgs []pkg
	for _, dir := range modules(t) {
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
		cmd.Dir = filepath.Join(root, dir)
		cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list in %s: %v", dir, err)
		}
		before := len(pkgs)
		for d := json.NewDecoder(strings.NewReader(string(out))); ; {
			var p pkg
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			pkgs = append(pkgs, p)
		}
		if len(pkgs) == before {
			t.Errorf("go list found no package in %s", dir)
		}
	}
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
}

// root is the directory of the root module and of go.work.
const root = "../.."

// modules are the directories of all modules, relative to root: those that
// go.work joins.
func modules(t *testing.T) (dirs []string) {
	t.Helper()
	var work struct{ Use []struct{ DiskPath string } }
	readEdit(t, root, &work, "work", "edit", "-json", "go.work")
	for _, use := range work.Use {
		dirs = append(dirs, use.DiskPath)
	}
	return dirs
}

// readEdit decodes the JSON that a go command prints in a directory.
func readEdit(t *testing.T, dir string, into any, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("go %s in %s: %v", strings.Join(args, " "), dir, err)
	}
}

// outside are the modules that go.work does not join: their versions are no business of the others.
var outside = []string{"tools", "packaging"}

func TestGoWorkJoinsAllModules(t *testing.T) {
	joined := modules(t)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "go.mod" {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil || slices.Contains(outside, dir) {
			return err
		}
		if dir != "." {
			dir = "./" + filepath.ToSlash(dir)
		}
		if !slices.Contains(joined, dir) {
			t.Errorf("%s is not in go.work", dir)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// direct lists the prefixes of the modules that a module of ours may require
// directly. Our own are always allowed. Those of tests come last.
var direct = map[string][]string{
	".":                    {"golang.org/x/", "go.uber.org/goleak", "pgregory.net/rapid", "github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "github.com/alicebob/miniredis/"},
	"./goredis":            {"go.uber.org/goleak"},
	"./metrics/otel":       {"go.opentelemetry.io/otel", "go.uber.org/goleak", "github.com/alicebob/miniredis/"},
	"./metrics/prometheus": {"github.com/prometheus/client_", "go.uber.org/goleak", "pgregory.net/rapid", "github.com/alicebob/miniredis/"},
	"./credentials/aws":    {"github.com/aws/"},
	"./credentials/entra":  {"github.com/Azure/"},
}

func TestModulesRequireLittle(t *testing.T) {
	for dir, allowed := range direct {
		var mod struct {
			Require []struct {
				Path     string
				Indirect bool
			}
		}
		readEdit(t, filepath.Join(root, dir), &mod, "mod", "edit", "-json")
		for _, r := range mod.Require {
			_, own := ours(r.Path)
			known := slices.ContainsFunc(allowed, func(prefix string) bool { return strings.HasPrefix(r.Path, prefix) })
			if !r.Indirect && !own && !known {
				t.Errorf("%s requires %s", dir, r.Path)
			}
		}
	}
}

func TestViolationsAreFound(t *testing.T) {
	for _, bad := range []pkg{
		{module + "/resp", []string{module + "/internal/wire"}},
		{module + "/internal/command", []string{module + "/internal/pool"}},
		{module + "/internal/lane", []string{module + "/internal/pool"}},
		{module + "/internal/pool", []string{module}},
		{module, []string{module + "/internal/gateway"}},
		{module, []string{"github.com/alecthomas/kong"}},
		{module, []string{module + "/internal/testkit/redistest"}},
		{module + "/cmd/respool", []string{module + "/internal/testkit/faultnet"}},
		{module + "/cmd/respool/internal/serve", []string{module + "/cmd/respool/internal/tooltest"}},
		{module + "/monitor", []string{module + "/metrics/prometheus"}},
		{module + "/metrics/otel", []string{module + "/metrics/prometheus"}},
		{module + "/cmd/respool/internal/top", []string{module + "/bench"}},
		{module + "/cmd/respool/internal/page", []string{module + "/cmd/respool/internal/serve"}},
		{module + "/plan", []string{module + "/resp"}},
		{module + "/internal/gateway/netio", []string{module + "/internal/gateway"}},
		{module + "/nowhere", nil},
		{module + "/internal/testkit/redistest", []string{module + "/resp"}},
		{module + "/internal/testkit/faultnet", []string{"golang.org/x/sys/unix"}},
		{module + "/internal/testkit", []string{module + "/internal/testkit/faultnet"}},
		{module + "/internal/testkit/clustertest", []string{module + "/internal/testkit/fakeserver"}},
	} {
		if len(violations([]pkg{bad})) != 1 {
			t.Errorf("%s importing %v is not found", bad.ImportPath, bad.Imports)
		}
	}
	for _, good := range []pkg{
		{module, []string{"net", "golang.org/x/sys/unix", module + "/internal/pool", module + "/resp"}},
		{module + "/cmd/respool", []string{"github.com/alecthomas/kong", module}},
		{module + "/cmd/respool/internal/tooltest", []string{module + "/internal/testkit/redistest"}},
		{module + "/bench", []string{module + "/internal/testkit/faultnet"}},
		{module + "/internal/topology/sentinel", []string{module + "/resp"}},
		{module + "/internal/testkit/redistest", []string{"testing", "crypto/tls", module + "/internal/testkit"}},
		{module + "/internal/testkit/clustertest", []string{module + "/internal/testkit/redistest"}},
	} {
		if v := violations([]pkg{good}); len(v) != 0 {
			t.Errorf("%v", v)
		}
	}
}
