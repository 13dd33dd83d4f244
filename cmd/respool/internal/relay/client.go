package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// Client reads servers through a running watch or serve.
type Client struct {
	URL    string // as the user wrote it
	socket bool
	base   string
	http   *http.Client
}

// The limits of a request, and of the size of a reply.
const (
	requestLimit = 15 * time.Second
	replyLimit   = 256 << 20
)

// NewClient returns a client for the address of the pages, http://HOST:PORT, or of the Unix socket, http+unix:///PATH. It opens
// no connection.
func NewClient(text string) (*Client, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the URL of the pages is invalid: want http://HOST:PORT, or http+unix:///PATH")
	}
	transport := &http.Transport{DisableCompression: false, MaxIdleConns: 1, IdleConnTimeout: time.Minute}
	c := &Client{URL: text, base: u.Scheme + "://" + u.Host, http: &http.Client{Transport: transport, Timeout: requestLimit}}
	switch {
	case u.User != nil || u.RawQuery != "":
		return nil, errors.New("the pages take neither a user nor options: want http://HOST:PORT, or http+unix:///PATH")
	case u.Scheme == "http+unix" && (u.Host != "" || len(u.Path) < 2):
		return nil, fmt.Errorf("%s has no path: want http+unix:///PATH, with three slashes", text)
	case u.Scheme == "http+unix":
		path := u.Path
		c.socket, c.base = true, "http://socket"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	case u.Host == "":
		return nil, fmt.Errorf("%s has no host: want http://HOST:PORT", text)
	}
	return c, nil
}

// MayKill reports whether the address is that of a Unix socket.
func (c *Client) MayKill() bool { return c.socket }

// Close closes its connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Connections reads all nodes, with their clients if clients is set. It blocks until they have answered.
func (c *Client) Connections(ctx context.Context, clients bool) (*Connections, error) {
	var r Connections
	return &r, c.do(ctx, http.MethodGet, pageConnections, listing("", clients, false), &r)
}

// Node returns one node.
func (c *Client) Node(r *monitor.Reading) *Node { return &Node{c: c, addr: r.Addr, own: r.Own} }

func listing(node string, clients, load bool) url.Values {
	q := url.Values{}
	if node != "" {
		q.Set("node", node)
	}
	if !clients {
		q.Set("clients", "no")
	}
	if load {
		q.Set("load", "yes")
	}
	return q
}

// do sends a request and decodes the reply.
func (c *Client) do(ctx context.Context, method, page string, q url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base+page+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	answer, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return fmt.Errorf("%s: %w: want the address of a running respool watch or respool serve", c.URL, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, replyLimit))
	if err != nil {
		return fmt.Errorf("%s: read the reply: %w", c.URL, err)
	}
	var f failure
	switch _ = json.Unmarshal(body, &f); {
	case f.Error != "":
		return fmt.Errorf("%s: %s", c.URL, f.Error)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s has no page %s: want the address of a running respool watch or respool serve of this version", c.URL, answer.Status, page)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: the reply is not from respool watch or respool serve: %w", c.URL, err)
	}
	return nil
}

// Node is one server, read through a running watch or serve. It is not safe for concurrent use.
type Node struct {
	c    *Client
	addr string
	own  string

	MaxClients int64 // overrides the server's limit; 0: the reported one
	ListLimit  int64 // CLIENT LIST is skipped above this number of connections; below 0: never
	refused    map[string]string
}

// read returns a reading of the node.
func (n *Node) read(ctx context.Context, clients, load bool) (*monitor.Reading, error) {
	var r Connections
	if err := n.c.do(ctx, http.MethodGet, pageConnections, listing(n.addr, clients, load), &r); err != nil {
		return nil, err
	}
	if len(r.Nodes) != 1 {
		return nil, fmt.Errorf("%s: the reply has %d nodes: want %s alone", n.c.URL, len(r.Nodes), n.addr)
	}
	one := &r.Nodes[0]
	if one.Error != "" {
		return nil, ErrorOf(one)
	}
	n.refused = one.Refused
	return one, nil
}

// nodeError is why the process did not read a server.
type nodeError struct {
	text string
	full bool
}

func (e *nodeError) Error() string { return e.text }

// Unwrap returns the error of a full server, for monitor.IsFull.
func (e *nodeError) Unwrap() error {
	if !e.full {
		return nil
	}
	return &respool.ServerError{Code: "ERR", Message: "max number of clients reached"}
}

// ErrorOf returns why the process did not read a server; nil if it did.
func ErrorOf(r *monitor.Reading) error {
	if r.Error == "" {
		return nil
	}
	return &nodeError{r.Error, r.Full}
}

// snapshot takes a snapshot, with clients if the limit allows it, and with what commands cost if load is set.
func (n *Node) snapshot(ctx context.Context, clients, load bool) (*monitor.Snapshot, error) {
	r, err := n.read(ctx, false, false)
	if err != nil {
		return nil, err
	}
	unread := map[string]string{}
	if clients || load {
		count, _ := monitor.ParseInfo(r.Info).Connections()
		most := cmp.Or(n.ListLimit, monitor.DefaultListLimit)
		few := most < 0 || count <= most
		if r, err = n.read(ctx, clients && few, load); err != nil {
			return nil, err
		}
		if clients && !few {
			unread["CLIENT LIST"] = monitor.ListSkipped(most, count)
		}
		if load && !r.Loaded {
			unread["INFO commandstats and SLOWLOG GET"] = "the process at " + n.c.URL + " has an older version: slow commands are not visible"
		}
	}
	s, err := r.Snapshot(n.MaxClients)
	if err != nil {
		return nil, err
	}
	maps.Copy(unread, s.Refused)
	n.refused, s.Refused = unread, unread
	return s, nil
}

// Between takes snapshots for the time d, like Probe.Between of package monitor. The process returns each reading for a second,
// so the snapshots are at least that far apart.
func (n *Node) Between(ctx context.Context, d time.Duration, progress func()) (before, after *monitor.Snapshot, between []*monitor.Snapshot, err error) {
	if before, err = n.snapshot(ctx, true, true); err != nil {
		return nil, nil, nil, err
	}
	last := before.At
	for end := time.Now().Add(max(d, 2*freshFor)); time.Now().Before(end); {
		if err := wait(ctx, min(progressEvery, time.Until(end))); err != nil {
			return nil, nil, nil, err
		}
		if progress != nil {
			progress()
		}
		if time.Since(last) < freshFor || time.Until(end) < freshFor {
			continue
		}
		now, err := n.snapshot(ctx, false, false)
		if err != nil {
			return nil, nil, nil, err
		}
		if last = now.At; monitor.ShowsStorm(before, now, len(between)+1) {
			if now, err = n.snapshot(ctx, true, false); err != nil {
				return nil, nil, nil, err
			}
			between = append(between, now)
		}
	}
	after, err = n.snapshot(ctx, true, true)
	return before, after, between, err
}

// progressEvery is the time between two reports of progress.
const progressEvery = 100 * time.Millisecond

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Info returns INFO; empty if the server refuses it.
func (n *Node) Info(ctx context.Context) (string, error) {
	r, err := n.read(ctx, false, false)
	if err != nil {
		return "", err
	}
	return r.Info, nil
}

// EachClient passes each client of CLIENT LIST to fn.
func (n *Node) EachClient(ctx context.Context, fn func(monitor.Client) error) error {
	r, err := n.read(ctx, true, false)
	switch {
	case err != nil:
		return err
	case !r.Listed:
		return &nodeError{text: "CLIENT LIST: " + r.Refused["CLIENT LIST"]}
	}
	return monitor.EachClient(strings.NewReader(r.List), fn)
}

// KeyChanges examines nothing: it is about the user of a connection, and that of the process is not the user of clients.
func (n *Node) KeyChanges(context.Context) (*monitor.Finding, error) { return nil, nil }

// Refused returns what was not read, with the reasons.
func (n *Node) Refused() map[string]string { return n.refused }

// Own returns the name of the connection that the process holds.
func (n *Node) Own() string { return n.own }

// ListClient returns the line of CLIENT LIST of one connection; empty if it is closed.
func (n *Node) ListClient(ctx context.Context, id int64) (string, error) {
	var line Line
	err := n.c.do(ctx, http.MethodGet, pageClient, n.client(id), &line)
	return line.List, err
}

// KillClient closes a connection. It reports whether it did: not if the connection was closed before.
func (n *Node) KillClient(ctx context.Context, id int64) (bool, error) {
	var k Killed
	err := n.c.do(ctx, http.MethodPost, pageKill, n.client(id), &k)
	return k.Closed > 0, err
}

func (n *Node) client(id int64) url.Values {
	return url.Values{"node": {n.addr}, "id": {fmt.Sprint(id)}}
}
