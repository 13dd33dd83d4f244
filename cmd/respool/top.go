package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"

	"github.com/seed-2b0d76a6/respool/monitor"
)

type topCmd struct {
	credentialsFlag

	URL        string        `arg:"" help:"The server, or the service whose nodes are looked at: a URL with the keys of docs/options.md."`
	Every      time.Duration `default:"2s" help:"The time between two looks at INFO."`
	ListEvery  time.Duration `default:"5s" help:"The time between two looks at CLIENT LIST; never shorter than --every."`
	Large      bool          `help:"Ask for CLIENT LIST above 5,000 connections too: 10 ms of the server's time at 10,000."`
	Maxclients int64         `help:"The server's limit, where it does not tell."`
	For        time.Duration `help:"End after this time; 0: not by itself."`
	JSON       bool          `help:"Print one JSON object a look, on a line each."`
}

func (topCmd) Help() string {
	return `Shows a server's connections while they change: how full it is and when it will be full,
new and rejected connections and commands a second, and who holds the connections. Of a
service all nodes are looked at, and one is shown: tab goes to the next.

It holds one connection to each node, and keeps it: so it goes on when the server is full.
A look costs the server 0.1 ms; one at CLIENT LIST 2 ms at 1,000 connections.

Keys: s and the left and right arrows choose what the table is sorted by, r turns the order
around, up and down move in it, / filters by a part of the service's name, esc shows all
again, p or space stands still, tab is the next node, ? lists the keys, q ends.

Where standard output is no terminal, it prints a line a look instead. Exits with 2 if no
node could be reached at first.

Examples:
  respool top redis://localhost:6379
  respool top redis+sentinel://s1,s2,s3/mymaster --every 1s
  respool top redis://localhost:6379 --for 1m >> connections.log
  respool top redis://localhost:6379 --json | jq .connections`
}

// topLeast and topMost bound the time between two looks.
const (
	topLeast = 100 * time.Millisecond
	topMost  = time.Hour
)

// Validate is called by kong.
func (t *topCmd) Validate() error {
	switch {
	case t.Every < topLeast || t.Every > topMost:
		return fmt.Errorf("--every is %v: want %v to %v", t.Every, topLeast, topMost)
	case t.ListEvery < topLeast || t.ListEvery > topMost:
		return fmt.Errorf("--list-every is %v: want %v to %v", t.ListEvery, topLeast, topMost)
	case t.Maxclients < 0:
		return fmt.Errorf("--maxclients is %d: want 1 or more", t.Maxclients)
	case t.For < 0:
		return fmt.Errorf("--for is %v: want a time such as 10m", t.For)
	}
	return nil
}

func (t *topCmd) Run(ctx context.Context) error {
	opt, err := t.options(t.URL)
	if err != nil {
		return err
	}
	cfg := monitor.SamplerConfig{Options: opt, Purpose: "top", Every: t.Every, ListEvery: max(t.Every, t.ListEvery), MaxClients: t.Maxclients}
	if t.Large {
		cfg.ListLimit = -1
	}
	if t.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t.For, errTopOver)
		defer cancel()
	}
	looks, err := beginLooks(cfg)
	if err != nil {
		return err
	}
	defer looks.end()
	first, err := looks.first(ctx)
	if err != nil {
		return err
	}
	if t.JSON || !term.IsTerminal(int(os.Stdout.Fd())) || os.Getenv("TERM") == "dumb" {
		return looks.print(ctx, first, newTopPrinter(os.Stdout, t.JSON, t.Every))
	}
	return looks.show(ctx, first, topColors(os.Getenv("NO_COLOR"))...)
}

// topColors takes the colors away where somebody wants none: by any text, as
// https://no-color.org has it.
func topColors(none string) []tea.ProgramOption {
	if none == "" {
		return nil
	}
	return []tea.ProgramOption{tea.WithColorProfile(colorprofile.ASCII)}
}

// errTopOver is why the context ends when --for is over.
var errTopOver = errors.New("no node answered in the time that --for gives")

// topLooks is a sampler that runs, and the newest state that nobody has taken yet.
type topLooks struct {
	states chan *monitor.State
	ended  chan struct{}
	err    error // of the sampler; to be read when ended is closed
	cancel context.CancelFunc
}

func beginLooks(cfg monitor.SamplerConfig) (*topLooks, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &topLooks{states: make(chan *monitor.State, 1), ended: make(chan struct{}), cancel: cancel}
	cfg.OnState = l.take
	sampler, err := monitor.NewSampler(cfg)
	if err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(l.ended)
		l.err = sampler.Run(ctx)
	}()
	return l, nil
}

// take puts a state in the place of the one before. It does not block: nobody else puts states there.
func (l *topLooks) take(st *monitor.State) {
	select {
	case <-l.states:
	default:
	}
	l.states <- st
}

// end returns when the connections are closed.
func (l *topLooks) end() {
	l.cancel()
	<-l.ended
}

// first waits for a state in which a node answers, and fails if none does.
func (l *topLooks) first(ctx context.Context) (*monitor.State, error) {
	for {
		select {
		case st := <-l.states:
			if up, err := anyUp(st); up || err != nil {
				return st, err
			}
		case <-l.ended:
			return nil, cmp.Or(l.err, errors.New("nothing was looked at"))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// anyUp reports whether a node answers, or why none does if that is known of
// all: as harmless text, for servers may have written it.
func anyUp(st *monitor.State) (up bool, err error) {
	if len(st.Nodes) == 0 {
		if st.Err == nil {
			return false, nil
		}
		return false, errors.New(errorText(st.Err))
	}
	for i := range st.Nodes {
		n := &st.Nodes[i]
		if n.Up {
			return true, nil
		}
		if n.Err == nil {
			return false, nil // not looked at yet
		}
	}
	return false, errors.New(errorText(st.Nodes[0].Err))
}
