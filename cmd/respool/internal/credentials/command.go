package credentials

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// command runs a program for credentials, one run at a time. It reuses the output for a while,
// because many connections may be dialed at once.
type command struct {
	source Source

	mu     sync.Mutex
	last   respool.Credentials
	askAt  time.Time // when to run the program again
	failed error     // of the last run; callers that waited for it get it too
	ended  time.Time // of the last run
}

func (c *command) ask(ctx context.Context) (respool.Credentials, error) {
	came := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case c.failed == nil && now.Before(c.askAt):
		return c.last, nil
	case c.failed != nil && came.Before(c.ended): // this caller waited for the failed run
		return respool.Credentials{}, c.failed
	case ctx.Err() != nil:
		return respool.Credentials{}, ctx.Err()
	}
	c.last, c.failed = c.source.run(ctx)
	c.ended = time.Now()
	c.askAt = c.ended.Add(time.Second)
	if life := c.last.Expires.Sub(c.ended); !c.last.Expires.IsZero() {
		c.askAt = c.ended.Add(min(life/2, maxReuse))
	}
	return c.last, c.failed
}

// run runs the program. Its standard error is part of the returned error. Its standard output never
// is.
func (s *Source) run(ctx context.Context) (none respool.Credentials, err error) {
	limit := s.timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it did not exit within %v", limit))
	defer cancel()
	name := "command " + filepath.Base(s.command[0])
	out, said := &prefixWriter{limit: MaxSize + 1}, &prefixWriter{limit: maxStderr}
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Stdout, cmd.Stderr = out, said
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		text := "standard error is empty"
		if kept := bytes.TrimSpace(said.prefix); len(kept) > 0 {
			text = fmt.Sprintf("standard error: %q", kept)
		}
		return none, fmt.Errorf("%s for credentials failed: %w: %s", name, err, text)
	}
	return decode("the output of "+name, out.prefix)
}

// prefixWriter keeps the first bytes written to it and drops the rest.
type prefixWriter struct {
	prefix []byte
	limit  int
}

func (b *prefixWriter) Write(p []byte) (int, error) {
	b.prefix = append(b.prefix, p[:min(len(p), b.limit-len(b.prefix))]...)
	return len(p), nil
}
