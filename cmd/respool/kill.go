package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

type killCmd struct {
	credentialsFlag

	URL string `arg:"" help:"The server, or the service whose primary is meant: a URL with the keys of docs/options.md."`
	clientFilter
	Yes  bool    `help:"Close them. Without it they are only shown."`
	Rate float64 `default:"50" help:"How many are closed a second."`
	Max  int     `default:"1000" help:"How many are closed at most."`
	JSON bool    `help:"Print one JSON object."`
}

func (killCmd) Help() string {
	return `Shows the connections that match all filters, and with --yes closes them, one after
the other: each is looked at once more right before, and closed by its id only if it still
matches. Connections of replicas, of the primary and of MONITOR are left alone, and its own.

A client that reconnects at once comes back: stop what leaks, or bound its pool, first.
It needs +client|kill beside what respool who needs.

Exits with 0 if all was done, 2 if something failed.

Examples:
  respool kill redis://localhost:6379 --service cart --idle 10m
  respool kill redis://localhost:6379 --service cart --idle 10m --yes --rate 20
  respool kill redis://localhost:6379 --addr 10.0.0.7 --yes --json`
}

// killReport is what kill prints with --json. Times are in seconds.
type killReport struct {
	Verdict  string       `json:"verdict"`
	Addr     string       `json:"addr"`
	DryRun   bool         `json:"dry_run"`
	Matching int          `json:"matching"`
	Closed   int          `json:"closed"`
	Changed  int          `json:"left_since_they_changed"` // they did not match any more, or were gone
	Left     int          `json:"left_beyond_max"`
	Clients  []killClient `json:"connections"` // the first ones
}

type killClient struct {
	ID      int64   `json:"id"`
	Addr    string  `json:"addr"`
	Name    string  `json:"name"`
	Service string  `json:"service"`
	AgeS    float64 `json:"age_s"`
	IdleS   float64 `json:"idle_s"`
	Command string  `json:"cmd"`
}

// mostShown is how many connections are listed one by one.
const mostShown = 20

func (k *killCmd) Run(ctx context.Context) error {
	switch {
	case !k.some():
		return errNoFilter
	case !(k.Rate > 0 && k.Rate <= 10_000):
		return fmt.Errorf("--rate is %v: want connections a second, up to 10000", k.Rate)
	case k.Max < 1:
		return fmt.Errorf("--max is %d: want 1 or more", k.Max)
	}
	probe, err := k.probe(ctx, k.URL, "kill", 0, true)
	if err != nil {
		return err
	}
	defer closeClient(probe.Client())
	r, err := k.work(ctx, probe)
	if err != nil && r == nil {
		return err
	}
	if k.JSON {
		if e := printJSON(r); e != nil {
			return e
		}
	} else {
		r.print(k)
	}
	return err
}

func (k *killCmd) work(ctx context.Context, probe *monitor.Probe) (*killReport, error) {
	found, err := k.find(ctx, probe)
	if err != nil {
		return nil, err
	}
	r := &killReport{Addr: probe.Client().Stats().Addr, DryRun: !k.Yes, Matching: len(found), Clients: []killClient{}}
	for _, c := range found[:min(mostShown, len(found))] {
		r.Clients = append(r.Clients, killClient{c.ID, c.Addr, c.Name, c.Service(), c.Age.Seconds(), c.Idle.Seconds(), c.Command})
	}
	r.Left = max(0, len(found)-k.Max)
	if k.Yes {
		err = k.close(ctx, probe, found[:len(found)-r.Left], r)
	}
	r.Verdict = r.verdict(k)
	return r, err
}

// find lists the connections that match, those that are idle for longest first.
func (k *killCmd) find(ctx context.Context, probe *monitor.Probe) (found []monitor.Client, err error) {
	err = probe.EachClient(ctx, func(c monitor.Client) error {
		if !untouchable(&c, probe.Own()) && k.matches(&c) {
			found = append(found, c)
		}
		return nil
	})
	slices.SortStableFunc(found, func(a, b monitor.Client) int {
		return cmp.Or(cmp.Compare(b.Idle, a.Idle), cmp.Compare(b.Age, a.Age))
	})
	if err != nil {
		err = fmt.Errorf("ask the server for its connections: %w", err)
	}
	return found, err
}

// close closes connections one after the other.
func (k *killCmd) close(ctx context.Context, probe *monitor.Probe, list []monitor.Client, r *killReport) error {
	each := time.Duration(float64(time.Second) / k.Rate)
	bar := newProgress("closing connections", each*time.Duration(len(list)))
	defer bar.clear()
	next := time.Now()
	for i := range list {
		if err := pause(ctx, time.Until(next)); err != nil {
			return err
		}
		next = next.Add(each)
		closed, err := k.closeOne(ctx, probe, &list[i])
		if err != nil {
			return fmt.Errorf("after %d connections: %w", r.Closed, err)
		}
		if closed {
			r.Closed++
		} else {
			r.Changed++
		}
		bar.update(int64(r.Closed))
	}
	return nil
}

// closeOne closes a connection that still is what it was and matches.
func (k *killCmd) closeOne(ctx context.Context, probe *monitor.Probe, was *monitor.Client) (bool, error) {
	c := probe.Client()
	now, err := c.Do(ctx, "CLIENT", "LIST", "ID", was.ID).Bytes()
	if err != nil {
		return false, err
	}
	same := false
	err = monitor.EachClient(bytes.NewReader(now), func(one monitor.Client) error {
		same = one.ID == was.ID && one.Addr == was.Addr && !untouchable(&one, probe.Own()) && k.matches(&one)
		return nil
	})
	if err != nil || !same {
		return false, err
	}
	n, err := c.Do(ctx, "CLIENT", "KILL", "ID", was.ID).Int64()
	var se *respool.ServerError
	if errors.As(err, &se) && strings.Contains(se.Message, "No such client") {
		return false, nil
	}
	return n > 0, err
}

func (r *killReport) verdict(k *killCmd) string {
	if r.DryRun {
		return fmt.Sprintf("%d connections match %s; none was closed", r.Matching, k.text())
	}
	text := fmt.Sprintf("%d of %d connections closed that matched %s", r.Closed, r.Matching, k.text())
	if r.Changed > 0 {
		text += fmt.Sprintf("; %d were gone or did not match any more", r.Changed)
	}
	if r.Left > 0 {
		text += fmt.Sprintf("; %d left, since --max is %d", r.Left, k.Max)
	}
	return text
}

func (r *killReport) print(k *killCmd) {
	fmt.Printf("%s\n%s\n\n", r.Verdict, r.Addr)
	if len(r.Clients) > 0 {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "id\taddr\tservice\tname\tage\tidle\tlast command")
		for _, c := range r.Clients {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%v\t%v\t%s\n", c.ID, c.Addr, printable(c.Service), printable(c.Name),
				time.Duration(c.AgeS)*time.Second, time.Duration(c.IdleS)*time.Second, printable(c.Command))
		}
		_ = t.Flush()
	}
	if more := r.Matching - len(r.Clients); more > 0 {
		fmt.Printf("and %d more\n", more)
	}
	switch {
	case r.Matching == 0:
		fmt.Println("next: respool who URL, to see what there is")
	case r.DryRun:
		fmt.Println("\nnext: the same with --yes closes them")
	default:
		fmt.Println("\nnext: respool who URL, to see whether they come back")
	}
}
