package clients

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// GroupKey selects the connections of one group, such as those of a service.
type GroupKey struct {
	Field string // of monitor.Keys
	Key   string
}

func (g *GroupKey) has(c *monitor.Client) bool { return monitor.KeyOf(g.Field, c) == g.Key }

// GroupRate is how many connections of a group are closed in a second. It is the default of respool kill.
const GroupRate = 50

// ClosedGroup counts the connections of a group.
type ClosedGroup struct {
	Closed int
	Left   int // they were closed before, or no longer belonged to the group
	Kept   int // never closed: see spared
	More   int // opened since the group was counted
}

// Text describes the counts. counted is how many connections the group had.
func (r ClosedGroup) Text(counted int) string {
	text := fmt.Sprintf("closed %d of %d", r.Closed, counted)
	if r.Left > 0 {
		text += fmt.Sprintf(", %d had left", r.Left)
	}
	if r.Kept > 0 {
		text += fmt.Sprintf(", %d never closed (respool, replication, sentinels, MONITOR)", r.Kept)
	}
	if r.More > 0 {
		text += fmt.Sprintf(", %d opened since", r.More)
	}
	return text
}

// spared reports whether a user of the page may not close a connection: see protected, and those of other processes of respool
// that watch the server.
func spared(c *monitor.Client, own string) bool {
	return protected(c, own) || strings.HasPrefix(c.Name, "respool:")
}

// CloseOne closes one connection of a server, if it still has this address, and returns the outcome in words.
func CloseOne(ctx context.Context, source connect.ClientSource, id int64, addr string) (string, error) {
	line, err := source.ListClient(ctx, id)
	if err != nil {
		return "", fmt.Errorf("list the connection: %w", err)
	}
	var found *monitor.Client
	err = monitor.EachClient(strings.NewReader(line), func(c monitor.Client) error {
		if c.ID == id && c.Addr == addr {
			found = &c
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case found == nil:
		return "the connection was closed before", nil
	case spared(found, source.Own()):
		return "", errors.New("connections of respool, replication, sentinels and MONITOR are never closed")
	}
	closed, err := source.KillClient(ctx, id)
	switch {
	case err != nil:
		return "", err
	case !closed:
		return "the connection was closed before", nil
	}
	return "closed the connection of " + addr, nil
}

// CloseGroup closes the connections of a group on one server, at most as many as the group had when it was counted, with the
// checks of Kill. It blocks for a second for each GroupRate connections, or until ctx ends. It returns the counts together
// with an error if it stopped halfway.
func CloseGroup(ctx context.Context, source connect.ClientSource, g GroupKey, counted int) (r ClosedGroup, err error) {
	k := KillConfig{group: &g}
	var found []monitor.Client
	err = source.EachClient(ctx, func(c monitor.Client) error {
		switch {
		case !k.matches(&c):
		case spared(&c, source.Own()):
			r.Kept++
		default:
			found = append(found, c)
		}
		return nil
	})
	if err != nil {
		return ClosedGroup{}, fmt.Errorf("list the server's connections: %w", err)
	}
	slices.SortStableFunc(found, func(a, b monitor.Client) int { return closeFirst(&a, &b) })
	most := min(len(found), max(0, counted-r.Kept))
	r.More = len(found) - most
	r.Left = max(0, counted-r.Kept-most)
	next := time.Now()
	for i := range found[:most] {
		if err := pause.For(ctx, time.Until(next)); err != nil {
			return r, err
		}
		next = next.Add(time.Second / GroupRate)
		gone, err := k.closeOne(ctx, source, &found[i])
		switch {
		case err != nil:
			return r, err
		case gone:
			r.Closed++
		default:
			r.Left++
		}
	}
	return r, nil
}
