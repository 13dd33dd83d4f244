package clients

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
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/output"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/progress"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// KillReport is what kill prints with --json. Times are in seconds.
type KillReport struct {
	Verdict  string         `json:"verdict"`
	Addr     string         `json:"addr"`
	DryRun   bool           `json:"dry_run"`
	Matching int            `json:"matching"`
	Closed   int            `json:"closed"`
	Changed  int            `json:"left_since_they_changed"` // they no longer matched, or were closed already
	Left     int            `json:"left_beyond_max"`
	Clients  []KilledClient `json:"connections"` // at most MaxListed
}

// KilledClient is a connection that matches.
type KilledClient struct {
	ID      int64   `json:"id"`
	Addr    string  `json:"addr"`
	Name    string  `json:"name"`
	Service string  `json:"service"`
	AgeS    float64 `json:"age_s"`
	IdleS   float64 `json:"idle_s"`
	Command string  `json:"cmd"`
}

// MaxListed is how many connections a report lists one by one.
const MaxListed = 20

// KillConfig selects connections and limits how they are closed.
type KillConfig struct {
	Filter Filter
	Close  bool    // close them; otherwise only list them
	Rate   float64 // connections a second
	Max    int     // how many are closed at most
}

// Kill closes the connections that match. It returns a report together
// with an error if it stopped halfway.
func Kill(ctx context.Context, opt respool.Options, k KillConfig) (*KillReport, error) {
	probe, err := connect.Probe(ctx, opt, "kill", 0, true)
	if err != nil {
		return nil, err
	}
	defer connect.Close(probe.Client())
	return k.run(ctx, probe)
}

func (k *KillConfig) run(ctx context.Context, probe *monitor.Probe) (*KillReport, error) {
	found, err := k.find(ctx, probe)
	if err != nil {
		return nil, err
	}
	r := &KillReport{Addr: probe.Client().Stats().Addr, DryRun: !k.Close, Matching: len(found), Clients: []KilledClient{}}
	for _, c := range found[:min(MaxListed, len(found))] {
		r.Clients = append(r.Clients, KilledClient{c.ID, c.Addr, c.Name, c.Service(), c.Age.Seconds(), c.Idle.Seconds(), c.Command})
	}
	r.Left = max(0, len(found)-k.Max)
	if k.Close {
		err = k.closeAll(ctx, probe, found[:len(found)-r.Left], r)
	}
	r.Verdict = r.verdict(k)
	return r, err
}

// find lists the connections that match, in descending order of idle time.
func (k *KillConfig) find(ctx context.Context, probe *monitor.Probe) (found []monitor.Client, err error) {
	err = probe.EachClient(ctx, func(c monitor.Client) error {
		if !protected(&c, probe.Own()) && k.Filter.Matches(&c) {
			found = append(found, c)
		}
		return nil
	})
	slices.SortStableFunc(found, func(a, b monitor.Client) int {
		return cmp.Or(cmp.Compare(b.Idle, a.Idle), cmp.Compare(b.Age, a.Age))
	})
	if err != nil {
		err = fmt.Errorf("list the server's connections: %w", err)
	}
	return found, err
}

// closeAll closes connections one after the other, at the configured rate.
func (k *KillConfig) closeAll(ctx context.Context, probe *monitor.Probe, list []monitor.Client, r *KillReport) error {
	each := time.Duration(float64(time.Second) / k.Rate)
	bar := progress.Start("closing connections", each*time.Duration(len(list)))
	defer bar.Clear()
	next := time.Now()
	for i := range list {
		if err := pause.For(ctx, time.Until(next)); err != nil {
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
		bar.Update(int64(r.Closed))
	}
	return nil
}

// closeOne looks at a connection again and closes it if it is the same one and still matches.
func (k *KillConfig) closeOne(ctx context.Context, probe *monitor.Probe, was *monitor.Client) (bool, error) {
	c := probe.Client()
	now, err := c.Do(ctx, "CLIENT", "LIST", "ID", was.ID).Bytes()
	if err != nil {
		return false, err
	}
	same := false
	err = monitor.EachClient(bytes.NewReader(now), func(one monitor.Client) error {
		same = one.ID == was.ID && one.Addr == was.Addr && !protected(&one, probe.Own()) && k.Filter.Matches(&one)
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

func (r *KillReport) verdict(k *KillConfig) string {
	if r.DryRun {
		return fmt.Sprintf("%s matching %s; none closed", output.Count(r.Matching, "connection"), k.Filter.String())
	}
	text := fmt.Sprintf("closed %d of %d connections that matched %s", r.Closed, r.Matching, k.Filter.String())
	if r.Changed > 0 {
		text += fmt.Sprintf("; %d closed by themselves or no longer matched", r.Changed)
	}
	if r.Left > 0 {
		text += fmt.Sprintf("; %d not closed because of --max %d", r.Left, k.Max)
	}
	return text
}

// Print writes the report for people.
func (r *KillReport) Print() error {
	fmt.Printf("%s\n%s\n\n", r.Verdict, r.Addr)
	if len(r.Clients) > 0 {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
		fmt.Fprintln(t, "id\taddr\tservice\tname\tage\tidle\tlast command")
		for _, c := range r.Clients {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%v\t%v\t%s\n", c.ID, c.Addr, output.Printable(c.Service), output.Printable(c.Name),
				time.Duration(c.AgeS)*time.Second, time.Duration(c.IdleS)*time.Second, output.Printable(c.Command))
		}
		_ = t.Flush()
	}
	if more := r.Matching - len(r.Clients); more > 0 {
		fmt.Printf("and %d more\n", more)
	}
	switch {
	case r.Matching == 0:
		fmt.Println("next: list the connections: respool who URL")
	case r.DryRun:
		fmt.Println("\nnext: close them: the same command with --yes")
	default:
		fmt.Println("\nnext: check whether they return: respool who URL")
	}
	return nil
}
