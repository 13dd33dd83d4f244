package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/top"
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

// The bounds of the time between two looks.
const (
	minLook = minTime
	maxLook = time.Hour
)

// Validate checks the flags. kong calls it.
func (t *topCmd) Validate() error {
	switch {
	case t.Every < minLook || t.Every > maxLook:
		return fmt.Errorf("--every is %v: want %v to %v", t.Every, minLook, maxLook)
	case t.ListEvery < minLook || t.ListEvery > maxLook:
		return fmt.Errorf("--list-every is %v: want %v to %v", t.ListEvery, minLook, maxLook)
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
	return top.Run(ctx, opt, top.Config{Every: t.Every, ListEvery: max(t.Every, t.ListEvery), MaxClients: t.Maxclients, Large: t.Large, For: t.For, JSON: t.JSON})
}
