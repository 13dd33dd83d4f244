package connect

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/pause"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Target is what a command examines: the servers behind a URL of Redis, or those of a running watch or serve.
type Target struct {
	Options respool.Options
	Held    *relay.Client // the process whose connections to use; nil: connections of this process
	Wait    time.Duration // how long to wait for a free connection while a server is full
}

// Source is how a command reads one server: over a connection of this process, or over one that a running watch or serve holds.
type Source interface {
	Between(ctx context.Context, d time.Duration, progress func()) (before, after *monitor.Snapshot, between []*monitor.Snapshot, err error)
	Info(ctx context.Context) (string, error)
	KeyChanges(ctx context.Context) (*monitor.Finding, error)
	Refused() map[string]string // what was not read, with the reasons
	ClientSource
}

// ClientSource is how a command lists and closes the connections of one server.
type ClientSource interface {
	EachClient(ctx context.Context, fn func(monitor.Client) error) error
	Own() string                                              // name of the connection
	ListClient(ctx context.Context, id int64) (string, error) // its line of CLIENT LIST; empty: it is closed
	KillClient(ctx context.Context, id int64) (bool, error)   // false: it was closed before
}

// ownConn is a connection of this process.
type ownConn struct{ *monitor.Probe }

func (c ownConn) ListClient(ctx context.Context, id int64) (string, error) {
	return sharedConn{c: c.Client()}.ListClient(ctx, id)
}

func (c ownConn) KillClient(ctx context.Context, id int64) (bool, error) {
	return sharedConn{c: c.Client()}.KillClient(ctx, id)
}

// sharedConn uses a client of somebody else.
type sharedConn struct {
	c   *respool.Client
	own string
}

// Shared returns a source over a client, which the caller owns. own is the name of its connections.
func Shared(c *respool.Client, own string) ClientSource { return sharedConn{c, own} }

func (s sharedConn) Own() string { return s.own }

func (s sharedConn) EachClient(ctx context.Context, fn func(monitor.Client) error) error {
	w := monitor.NewClientWriter(fn)
	if _, err := s.c.DoTo(ctx, w, "CLIENT", "LIST"); err != nil {
		return err
	}
	return w.Close()
}

func (s sharedConn) ListClient(ctx context.Context, id int64) (string, error) {
	return s.c.Do(ctx, "CLIENT", "LIST", "ID", id).Text()
}

func (s sharedConn) KillClient(ctx context.Context, id int64) (bool, error) {
	n, err := relay.KillClient(ctx, s.c, id)
	return n > 0, err
}

// openHeld returns the servers that a running watch or serve reads.
func openHeld(ctx context.Context, c *relay.Client, maxclients int64, large bool) (*Servers, error) {
	all, err := c.Connections(ctx, false)
	if err != nil {
		c.Close()
		return nil, err
	}
	s := &Servers{Name: all.Service, Place: all.Place, Held: c.URL, relay: c}
	if all.Cluster {
		s.Cluster = &monitor.ClusterMap{}
	}
	for i := range all.Nodes {
		r := &all.Nodes[i]
		n := c.Node(r)
		n.MaxClients = maxclients
		if large {
			n.ListLimit = -1
		}
		s.List = append(s.List, &Server{Addr: r.Addr, Source: n, Err: relay.ErrorOf(r)})
		if r.Nodes == "" {
			continue
		}
		if snap, err := r.Snapshot(0); err == nil {
			s.Cluster = s.Cluster.Better(snap.Cluster)
		}
	}
	return s.orNone()
}

// freeWait waits for a free connection of a full server.
type freeWait struct {
	until     time.Time
	announced atomic.Bool // announced on standard error
}

func newFreeWait(d time.Duration) *freeWait { return &freeWait{until: time.Now().Add(d)} }

// freeRetry is the time between two attempts. It is short, because other clients take free connections too.
const freeRetry = 100 * time.Millisecond

// retry calls fn until it returns something else than the error of a full server, or the time is over.
func (w *freeWait) retry(ctx context.Context, fn func() error) error {
	for {
		err := fn()
		if !monitor.IsFull(err) || !time.Now().Before(w.until) {
			return err
		}
		if w.announced.CompareAndSwap(false, true) {
			fmt.Fprintf(os.Stderr, "respool: the server is full; waiting up to %v for a free connection\n", time.Until(w.until).Round(time.Second))
		}
		if pause.For(ctx, freeRetry) != nil {
			return err
		}
	}
}

// ExplainFull returns an error that says how to reach a full server if err is that of one.
func ExplainFull(err error) error {
	if !monitor.IsFull(err) || strings.Contains(err.Error(), "--wait") {
		return err
	}
	return fmt.Errorf("%w; %s", err, monitor.FullRemedy("", ""))
}

// NoKill returns why the pages of a process close no connections, with the address that does.
func (t *Target) NoKill(ctx context.Context) error {
	const why = "the pages at %s have no login, so they close nothing: "
	all, err := t.Held.Connections(ctx, false)
	t.Held.Close()
	switch {
	case err != nil:
		return err
	case all.Socket != "":
		return fmt.Errorf(why+"use the Unix socket of that process: respool kill http+unix://%s", t.Held.URL, all.Socket)
	}
	return fmt.Errorf(why+"start that process with --socket unix:///PATH, or set socket in its configuration, and use respool kill http+unix:///PATH", t.Held.URL)
}
