package page

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// tool is the program respool, built from this tree.
var tool string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "respool-page")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	tool = filepath.Join(dir, "respool")
	build := exec.Command("go", "build", "-o", tool, "./cmd/respool")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %s\n", err, out)
		return 1
	}
	stop, err := startBrowser(filepath.Join(dir, "chromium"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}

// start starts the tool with its pages, and returns their URL. The end of the test ends it.
func start(t *testing.T, flag string, args ...string) (url string) {
	t.Helper()
	addr := testkit.ReserveAddr(t)
	cmd := exec.Command(tool, append(args, flag, addr)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if !testing.Verbose() {
		cmd.Stdout, cmd.Stderr = nil, nil
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	url = "http://" + addr
	testkit.Eventually(t, "the pages", func() bool { return status(url+"/healthz") != 0 })
	return url
}
