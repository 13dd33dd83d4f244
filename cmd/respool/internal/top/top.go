// Package top shows a server's connections live: on a terminal as a screen, and
// elsewhere as a line for each look. It raises no alerts; package watch does. Run
// owns the sampler's goroutine and waits for it.
package top

import (
	"context"
	"errors"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/report"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/summary"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Config configures the looks and the output.
type Config struct {
	Every      time.Duration // between two looks at INFO
	ListEvery  time.Duration // between two looks at CLIENT LIST
	MaxClients int64         // the server's limit, if the server does not report one
	Large      bool          // read CLIENT LIST however many connections there are
	For        time.Duration // end after this time; 0: never
	JSON       bool          // print JSON, on a terminal too
}

// Run shows the live screen on a terminal, and prints lines elsewhere, until
// ctx ends. It returns what the last lines state; for a screen, nothing.
func Run(ctx context.Context, opt respool.Options, t Config) (Outcome, error) {
	cfg := monitor.SamplerConfig{Options: opt, Purpose: "top", Every: t.Every, ListEvery: t.ListEvery, MaxClients: t.MaxClients, Details: true, Split: true}
	if t.Large {
		cfg.ListLimit = -1
	}
	if t.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.For, errNoAnswer)
		defer cancel()
	}
	looks, err := startFeed(cfg)
	if err != nil {
		return Outcome{}, err
	}
	defer looks.stop()
	first, err := looks.firstState(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if t.JSON || !term.IsTerminal(int(os.Stdout.Fd())) || os.Getenv("TERM") == "dumb" {
		return looks.print(ctx, first, newLinePrinter(os.Stdout, t.JSON, t.Every))
	}
	return Outcome{}, looks.show(ctx, first, colorOptions(os.Getenv("NO_COLOR"))...)
}

// Outcome is a judgement on a state.
type Outcome struct {
	Incomplete bool // a node was not read, or cannot be judged
	Findings   bool // a node rejects connections, or uses so much of its maxclients that the rules report it
}

func outcomeOf(st *monitor.State) (o Outcome) {
	o.Incomplete = st.Err != nil
	for i := range st.Nodes {
		n := &st.Nodes[i]
		if !n.Up || n.Last == nil {
			o.Incomplete = true
			continue
		}
		reason, _ := n.Last.Blind()
		o.Incomplete = o.Incomplete || reason != ""
		o.Findings = o.Findings || summary.LevelOf(n) != summary.Normal
	}
	if c := report.OfCluster(st); c != nil && c.Problem() {
		o.Findings = true
	}
	return o
}

// colorOptions disables colors if NO_COLOR has any text; see https://no-color.org.
func colorOptions(none string) []tea.ProgramOption {
	if none == "" {
		return nil
	}
	return []tea.ProgramOption{tea.WithColorProfile(colorprofile.ASCII)}
}

// errNoAnswer is the cause of the context when --for is over.
var errNoAnswer = errors.New("no node answered within --for")
