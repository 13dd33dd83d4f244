package top

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// The screen names the process of connections without names, divides them, and tells how to name them; enter shows it too.
func TestTheScreenNamesWhoHasConnectionsWithoutNames(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	crowd := &tooltest.Crowd{T: t, Addr: s.PlainAddr()}
	t.Cleanup(crowd.Close)
	crowd.Quiet(30)
	f, ended := live(t, t.Context(), s.URL())
	self := fmt.Sprintf("%s, pid %d", filepath.Base(os.Args[0]), os.Getpid())
	f.wait(t, "(127.0.0.1) is "+self)
	f.wait(t, "name the connections service:instance:pool: client_name= in redis-py")
	f.wait(t, "by process: 30 "+self)
	f.wait(t, "by age: ")
	if _, err := io.WriteString(f.typed, "q"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
