//go:build unix

package notify_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

// fifo is a pipe with a name: it is at its end once nothing that writes to it lives.
func fifo(t *testing.T) (name string, read *os.File) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	return name, read
}

func TestACommandThatHangsIsKilledWithItsChildren(t *testing.T) {
	name, read := fifo(t)
	c := command(t, time.Second, "sh", "-c", `(echo up; exec sleep 1000) >"$0" & wait`, name)
	err := c.Send(t.Context(), []monitor.Alert{sample})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_ = read.SetReadDeadline(time.Now().Add(10 * time.Second))
	if text, err := io.ReadAll(read); err != nil || string(text) != "up\n" {
		t.Errorf("its child lives, or never did: %q, %v", text, err)
	}
}

// ran tells after each run.
type ran struct {
	*notify.Command
	after chan struct{}
}

func (r *ran) Send(ctx context.Context, alerts []monitor.Alert) error {
	defer func() { r.after <- struct{}{} }()
	return r.Command.Send(ctx, alerts)
}

func TestCommandsAreToldOfOneAlertEach(t *testing.T) {
	// The command delivers the alert good and then fails permanently for the alert bad. It also delivers the end of good.
	file := filepath.Join(t.TempDir(), "out")
	c := command(t, time.Minute, "sh", "-c", `test "$RESPOOL_ALERT_RULE" != bad || exit 1; echo "$RESPOOL_ALERT_RULE $RESPOOL_ALERT_STATE" >>"$0"`, file)
	ran := &ran{c, make(chan struct{}, 10)}
	q := notify.NewQueue(ran, notify.QueueConfig{})
	q.Tell(fires("good"), fires("bad"), fires("other"))
	for range 3 {
		<-ran.after
	}
	q.Tell(ends("good"), ends("bad"))
	shut(t, q)
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want(t, strings.Split(strings.TrimSpace(string(raw)), "\n"), "good firing", "other firing", "good resolved")
	if st := q.Stats(); st.Delivered != 3 || st.Failed != 1 {
		t.Errorf("%+v", st)
	}
}
