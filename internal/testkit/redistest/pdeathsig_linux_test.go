package redistest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// orphanEnv makes this binary start a server, print its address and wait.
const orphanEnv = "REDISTEST_ORPHAN"

func TestAKilledTestLeavesNoServer(t *testing.T) {
	if os.Getenv(orphanEnv) != "" {
		os.Stdout.WriteString("listening " + Start(t, Config{}).Addr() + "\n")
		select {}
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), orphanEnv+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var addr string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		_, addr, _ = strings.Cut(lines.Text(), "listening ")
	}
	if addr == "" {
		t.Fatal("the other test started no server")
	}
	want(t, "PING", ask(t, connect(t, "tcp", addr), "PING"), "+PONG")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the server no longer listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return true
		}
		conn.Close()
		return false
	})
}
