package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
)

// Command is a sink that runs a program for each alert. The program gets the alert as JSON on its
// standard input, and in the environment variables RESPOOL_ALERT_RULE, _STATE, _SEVERITY, _NODE,
// _SUBJECT and _TEXT, which has the problem and the remedy. No shell is involved. The program must exit with status 0.
type Command struct {
	args    []string
	timeout time.Duration
}

const (
	commandTimeout = 30 * time.Second
	// commandWait is how long its output may stay open after the program has ended.
	commandWait = time.Second
)

// NewCommand checks that the program exists. The timeout of a run defaults to 30 s. After the
// timeout, Send kills the program and, if the system supports it, all processes that it started.
func NewCommand(args []string, timeout time.Duration) (*Command, error) {
	switch {
	case len(args) == 0 || args[0] == "":
		return nil, config("the command", "empty", "a program and its arguments")
	case timeout < 0:
		return nil, config("the command's timeout", timeout.String(), "a time such as 30s")
	case timeout == 0:
		timeout = commandTimeout
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return nil, fmt.Errorf("notify: the command cannot be run: %w", err)
	}
	return &Command{args, timeout}, nil
}

// Name returns the kind of the sink and the name of the program.
func (c *Command) Name() string { return "command " + filepath.Base(c.args[0]) }

// Repeat returns 0: alerts are not repeated.
func (*Command) Repeat() time.Duration { return 0 }

// Limits returns one alert for each attempt, because the failure of one alert is independent of
// others, and the configured timeout.
func (c *Command) Limits() (int, time.Duration) { return 1, c.timeout + commandWait }

// Send runs the program for each alert and waits for it. If it fails for one alert, Send still runs
// it for the others. A retry runs it only for the failed ones.
func (c *Command) Send(ctx context.Context, alerts []monitor.Alert) error {
	var failed error
	for i := range alerts {
		if err := c.run(ctx, &alerts[i]); err != nil {
			failed = err
		}
	}
	if failed != nil {
		return Permanent(failed)
	}
	return nil
}

func (c *Command) run(ctx context.Context, a *monitor.Alert) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	out := &head{limit: answerShown}
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(raw), out, out
	cmd.Env = append(os.Environ(), "RESPOOL_ALERT_RULE="+a.Rule, "RESPOOL_ALERT_STATE="+a.State.String(),
		"RESPOOL_ALERT_SEVERITY="+a.Severity.String(), "RESPOOL_ALERT_NODE="+clean(a.Node), "RESPOOL_ALERT_SUBJECT="+clean(a.Subject), "RESPOOL_ALERT_TEXT="+clean(text(a)))
	cmd.WaitDelay = commandWait
	ownGroup(cmd)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("notify: %s: %w: %q", c.Name(), err, out.kept)
	}
	return nil
}

// text returns the problem, and the remedy unless the alert is resolved.
func text(a *monitor.Alert) string {
	if a.Remedy == "" || a.State == monitor.Resolved {
		return a.What
	}
	return a.What + "; do: " + a.Remedy
}

// clean removes bytes that are not allowed in the environment.
func clean(s string) string { return string(bytes.ReplaceAll([]byte(s), []byte{0}, nil)) }

// head keeps the beginning of the written text.
type head struct {
	kept  []byte
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.limit-len(h.kept))]...)
	return len(p), nil
}
