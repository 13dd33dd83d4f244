package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// ProbeConfig configures a probe.
type ProbeConfig struct {
	Options    respool.Options // the server; the probe uses one connection, independent of the pool options
	Purpose    string          // part of the connection's name in CLIENT LIST: respool:<purpose>:<random>
	MaxClients int64           // overrides the server's limit; 0: the reported one
	ListLimit  int64           // the probe skips CLIENT LIST above this number of connections; 0: 5000; below 0: always

	Details bool // each snapshot with clients contains By and Details

	// Split makes each snapshot with clients split a large service without names: Snapshot.Unnamed. It
	// keeps the clients without a name in memory while it reads them, and looks for their processes.
	Split bool

	// Cluster makes each snapshot contain the server's report about its cluster. MapAddr is ClusterOptions.MapAddr.
	Cluster bool
	MapAddr func(addr string) string
}

// DefaultListLimit is the number of connections above which a probe skips CLIENT LIST. The
// command blocks the server for 5 ms at this size.
const DefaultListLimit = 5000

// Probe queries the state of a server over one connection, which stays open, or over those of a shared client. After the server
// refuses a command, the probe does not send it again. A Probe is not safe for concurrent use. The
// caller must close it.
type Probe struct {
	cfg     ProbeConfig
	c       *respool.Client
	shared  bool              // the connections of c belong to somebody else
	owned   bool              // c itself belongs to the probe, although it is shared
	own     string            // name of its own connection; empty if shared
	refused map[string]string // refused commands, with the reasons
	gateway *string           // the field of INFO about a gateway; nil: it was not queried
	config  map[string]string // settings of the current run, by CONFIG GET
	run     string
}

// NewProbe validates the configuration. It opens no connection. A probe is of one server, so it
// refuses the options of a cluster: FindServers splits them.
func NewProbe(cfg ProbeConfig) (*Probe, error) {
	if cfg.Options.Cluster != nil {
		return nil, errors.New("a probe looks at one server: want the URL of one node of the cluster, redis://HOST:PORT or rediss://HOST:PORT")
	}
	return newProbe(cfg, fmt.Sprintf("respool:%s:%08x", cfg.Purpose, rand.Uint32()))
}

func newProbe(cfg ProbeConfig, own string) (*Probe, error) {
	if cfg.ListLimit == 0 {
		cfg.ListLimit = DefaultListLimit
	}
	cfg.Options.MaxConnections, cfg.Options.Lanes, cfg.Options.MinIdle = 1, 1, 0
	cfg.Options.ClientName = own // identifies its own connection
	c, err := respool.New(cfg.Options)
	if err != nil {
		return nil, err
	}
	return &Probe{cfg: cfg, c: c, own: own, refused: map[string]string{}}, nil
}

// sharedProbe returns a probe that uses a client, and leaves it open.
func sharedProbe(cfg ProbeConfig, c *respool.Client) *Probe {
	return &Probe{cfg: cfg, c: c, shared: true, refused: map[string]string{}}
}

// Client returns the client of the probe, which owns it.
func (p *Probe) Client() *respool.Client { return p.c }

// Own returns the name of its connection.
func (p *Probe) Own() string { return p.own }

// Refused returns the commands that the server refuses, such as CONFIG GET, with the reasons. The
// caller owns the map.
func (p *Probe) Refused() map[string]string { return maps.Clone(p.refused) }

// Close closes the connection, with the rules of Client.Close.
func (p *Probe) Close(ctx context.Context) error {
	if p.shared && !p.owned {
		return nil
	}
	return p.c.Close(ctx)
}

// The commands, as Refused names them.
const (
	askInfo   = "INFO"
	askConfig = "CONFIG GET"
	askList   = "CLIENT LIST"
	askStats  = "INFO commandstats"
	askSlow   = "SLOWLOG GET"
)

// Look returns a snapshot, with the clients if clients is set. It blocks until the server has
// answered; ctx and the options limit the wait.
func (p *Probe) Look(ctx context.Context, clients bool) (*Snapshot, error) {
	return p.look(ctx, clients, 1)
}

// Between takes snapshots for the time d. It returns one with clients at the beginning and one at
// the end, both with what commands cost, and more in between if the rate of new connections is high. It calls progress about
// every tenth of a second, if progress is not nil. It blocks for d, or until ctx ends.
func (p *Probe) Between(ctx context.Context, d time.Duration, progress func()) (before, after *Snapshot, between []*Snapshot, err error) {
	if before, err = p.lookAtLoad(ctx); err != nil {
		return nil, nil, nil, err
	}
	const step = 100 * time.Millisecond
	for end := time.Now().Add(d); ; {
		pause(ctx, min(step, time.Until(end)))
		if ctx.Err() != nil {
			return nil, nil, nil, ctx.Err()
		}
		if !time.Now().Before(end) {
			break
		}
		if progress != nil {
			progress()
		}
		now, err := p.Look(ctx, false)
		if err != nil {
			return nil, nil, nil, err
		}
		if ShowsStorm(before, now, len(between)+1) {
			if now, err = p.Look(ctx, true); err != nil {
				return nil, nil, nil, err
			}
			between = append(between, now)
		}
	}
	after, err = p.lookAtLoad(ctx)
	return before, after, between, err
}

// ShowsStorm reports whether so many connections were opened between two snapshots that client lists in between are useful to
// see their owners, and so few are open that this number of lists costs the server little.
func ShowsStorm(before, now *Snapshot, lists int) bool {
	return RatesBetween(before, now).stormy() && int64(lists)*now.Connections <= closerTotal
}

// closerTotal limits the total of connections in the additional client lists. They cost about 40 ms
// of the server's time.
const closerTotal = 20_000

func (p *Probe) look(ctx context.Context, clients bool, owned int64) (*Snapshot, error) {
	if p.shared {
		owned = NoneOwned
	}
	s := Source{Own: p.own, Owned: owned, Limit: p.cfg.MaxClients}
	info, err := p.Info(ctx)
	if err != nil {
		return nil, err
	}
	s.Info = info
	parsed := ParseInfo(s.Info)
	if _, gateway := parsed.Gateway(); gateway {
		s.Owned, clients = NoneOwned, false
		p.refused[askList] = gatewayList
	}
	if s.Config, err = p.settings(ctx, parsed.Text("run_id")); err != nil {
		return nil, err
	}
	s.At = time.Now()
	snap := newSnapshot(&s)
	if snap.MaxClients == 0 {
		snap.MaxClients, snap.Assumed = assumedLimit(p.c.Stats().Addr, parsed)
	}
	if p.cfg.Cluster {
		snap.Cluster, err = readCluster(ctx, p.c, p.cfg.MapAddr)
		if err := p.note(askCluster, err); err != nil {
			return nil, err
		}
	}
	if n, _ := parsed.Connections(); clients && p.mayList(n) {
		list := snap.listClients(p.own)
		if p.cfg.Details {
			list.detailed()
		}
		if p.cfg.Split {
			list.unnamed = &unnamedList{ownName: p.own}
		}
		if err := p.note(askList, p.EachClient(ctx, list.add)); err != nil {
			return nil, err
		}
		if p.refused[askList] == "" {
			list.done()
		}
	}
	snap.Refused, snap.User = p.Refused(), cmp.Or(p.cfg.Options.Username, "default")
	return snap, nil
}

// Info returns the reply to INFO; empty if the server refuses it. If a gateway of respool replied for its server, the text has one
// more field: see Info.Gateway.
func (p *Probe) Info(ctx context.Context) (string, error) {
	text, err := p.ask(ctx, askInfo, "INFO")
	if err != nil {
		return "", err
	}
	if !p.shared && p.gateway == nil {
		line, err := p.askGateway(ctx)
		if err != nil {
			return "", err
		}
		p.gateway = &line
	}
	if p.gateway == nil {
		return string(text), nil
	}
	return string(text) + *p.gateway, nil
}

// gatewayList is why the clients behind a gateway are not read.
const gatewayList = "a gateway lists its own clients, not those of the server: respool who with this URL"

// askGateway returns the field of Info.Gateway; empty if no gateway of respool replies. Servers of Redis refuse the command,
// whatever the user may do.
func (p *Probe) askGateway(ctx context.Context) (string, error) {
	conn, err := p.c.Acquire(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Release()
	lines, err := conn.Do(ctx, "RESPOOL", "SERVERS").Texts()
	var se *respool.ServerError
	switch {
	case ctx.Err() != nil:
		return "", err
	case errors.As(err, &se) && strings.Contains(se.Message, "RESPOOL requires the permission"):
	case err != nil:
		return "", nil // a proxy may also close the connection
	}
	var servers []string
	for word := range strings.FieldsSeq(strings.Join(lines, " ")) {
		if addr, ok := strings.CutPrefix(word, "server="); ok {
			servers = append(servers, addr)
		}
	}
	return gatewayField(servers), nil
}

// gatewayField is the field of Info.Gateway.
func gatewayField(servers []string) string {
	return "\r\n" + fieldGateway + ":" + strings.Join(servers, " ") + "\r\n"
}

// EachClient sends CLIENT LIST and passes each client to fn as it arrives. It does not keep the
// list. It stops at the first error of fn and returns it.
func (p *Probe) EachClient(ctx context.Context, fn func(Client) error) error {
	w := NewClientWriter(fn)
	if _, err := p.c.DoTo(ctx, w, "CLIENT", "LIST"); err != nil {
		return hungUp(askList, err)
	}
	return w.Close()
}

// mayList reports whether CLIENT LIST is allowed for n connections.
func (p *Probe) mayList(n int64) bool {
	if p.cfg.ListLimit < 0 || n <= p.cfg.ListLimit {
		delete(p.refused, askList)
		return true
	}
	p.refused[askList] = ListSkipped(p.cfg.ListLimit, n)
	return false
}

// ListSkipped returns the reason why CLIENT LIST was not sent: there are n connections, more than the limit.
func ListSkipped(limit, n int64) string {
	return fmt.Sprintf("not sent above %d connections, since it would block the server; there are %d", limit, n)
}

// settings returns the reply to CONFIG GET. It queries it once for each run of the server.
func (p *Probe) settings(ctx context.Context, run string) (map[string]string, error) {
	if p.config != nil && p.run == run {
		return p.config, nil
	}
	names := []string{"maxclients", "timeout", "tcp-keepalive", "slowlog-log-slower-than", "slowlog-max-len"}
	pipe := p.c.Pipeline()
	for _, name := range names {
		pipe.Do("CONFIG", "GET", name)
	}
	replies, err := pipe.Exec(ctx)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for i, name := range names {
		m, err := replies[i].Map()
		if err := p.note(askConfig, err); err != nil {
			return nil, err
		}
		if value, err := m[name].Text(); err == nil {
			found[name] = value
		}
	}
	p.config, p.run = found, run
	return found, nil
}

// ask returns the text of a reply, or nothing if the server refuses the command.
func (p *Probe) ask(ctx context.Context, what string, args ...any) ([]byte, error) {
	text, err := p.c.Do(ctx, args...).Bytes()
	return text, p.note(what, err)
}

// refusesIt begins the reason of a command that the server refuses.
const refusesIt = "the server refuses it"

// note records the refusal of a command. It returns other errors.
func (p *Probe) note(what string, err error) error {
	var se *respool.ServerError
	var ce *respool.ConnError
	switch {
	case err == nil:
		delete(p.refused, what)
		return nil
	case errors.As(err, &se) && !errors.As(err, &ce): // not an error of the handshake
		p.refused[what] = refusesIt + " (" + se.Code + ")"
		return nil
	}
	return hungUp(what, err)
}

// hungUp returns a *hungUpError if the server closed the connection after a query, and other errors unchanged.
func hungUp(query string, err error) error {
	var ce *respool.ConnError
	if errors.As(err, &ce) && ce.Sent && errors.Is(err, io.EOF) {
		return &hungUpError{ce.Addr, query, err}
	}
	return err
}

// hungUpError is the error of a query after which the server closed the connection.
type hungUpError struct {
	addr, query string
	err         error
}

func (e *hungUpError) Error() string {
	return fmt.Sprintf("%s closed the connection in reply to %s: it is stopping, or it is a proxy that lacks the command: want the address of the server behind it", e.addr, e.query)
}

func (e *hungUpError) Unwrap() error { return e.err }

// IsFull reports whether a server refused a connection because of maxclients.
func IsFull(err error) bool {
	var se *respool.ServerError
	return errors.As(err, &se) && strings.Contains(se.Message, "max number of clients")
}
