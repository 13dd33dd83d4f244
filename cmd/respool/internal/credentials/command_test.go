package credentials

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
)

func TestACommandForCredentialsIsRunOnceForManyDials(t *testing.T) {
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	program := filepath.Join(dir, "program")
	text := tooltest.CredentialsJSON(tooltest.HiddenToken, time.Now().Add(time.Hour))
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho run >> "+runs+"\necho '"+text+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &command{source: Source{command: []string{program}}}
	var dials sync.WaitGroup
	for range 20 {
		dials.Go(func() {
			got, err := c.ask(context.Background())
			if err != nil || got.Username != "app" || got.Password != tooltest.HiddenToken || got.Expires.IsZero() {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	dials.Wait()
	if b, _ := os.ReadFile(runs); string(b) != "run\n" {
		t.Errorf("the program was run %d times, want 1", strings.Count(string(b), "run"))
	}
}

func TestACommandForCredentialsHasATimeout(t *testing.T) {
	s := Source{command: []string{"sleep", "60"}, timeout: 20 * time.Millisecond}
	if _, err := s.run(context.Background()); err == nil || !strings.Contains(err.Error(), "did not exit within 20ms") {
		t.Errorf("got %v", err)
	}
}
