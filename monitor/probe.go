package monitor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// ProbeConfig says whom a probe asks.
type ProbeConfig struct {
	Options    respool.Options // where; one connection is used, whatever the pool settings say
	Purpose    string          // what the connection is called in CLIENT LIST: respool:<purpose>:<random>
	MaxClients int64           // the server's limit, where somebody knows better; 0: what it tells
	ListLimit  int64           // of connections, above which CLIENT LIST is not asked for; 0: 5000; below 0: none
}

// defaultListLimit is up to how many connections CLIENT LIST is asked for: it
// holds the server up for 5 ms then.
const defaultListLimit = 5000

// Probe asks a server what it shows, over one connection that stays open. What
// the server refuses is left out from then on. It is not safe for concurrent use.
type Probe struct {
	cfg     ProbeConfig
	c       *respool.Client
	own     string
	refused map[string]string // what may not be asked, and why
	config  map[string]string // what CONFIG GET told of the run
	run     string
}

// NewProbe checks everything and opens no connection.
func NewProbe(cfg ProbeConfig) (*Probe, error) {
	return newProbe(cfg, fmt.Sprintf("respool:%s:%08x", cfg.Purpose, rand.Uint32()))
}

func newProbe(cfg ProbeConfig, own string) (*Probe, error) {
	if cfg.ListLimit == 0 {
		cfg.ListLimit = defaultListLimit
	}
	cfg.Options.MaxConnections, cfg.Options.Lanes, cfg.Options.MinIdle = 1, 1, 0
	cfg.Options.ClientName = own // by which it knows itself
	c, err := respool.New(cfg.Options)
	if err != nil {
		return nil, err
	}
	return &Probe{cfg: cfg, c: c, own: own, refused: map[string]string{}}, nil
}

// Client is the client that the probe asks through.
func (p *Probe) Client() *respool.Client { return p.c }

// Own is the name of its connection.
func (p *Probe) Own() string { return p.own }

// Refused tells what the server does not let it ask, such as CONFIG GET, and why.
func (p *Probe) Refused() map[string]string { return maps.Clone(p.refused) }

// Close closes the connection, as Client.Close does.
func (p *Probe) Close(ctx context.Context) error { return p.c.Close(ctx) }

// The questions, as Refused names them.
const (
	askInfo   = "INFO"
	askConfig = "CONFIG GET"
	askList   = "CLIENT LIST"
)

// Look takes a snapshot, with the clients if that is wanted. It blocks until
// the server has answered, within ctx and the limits of the options.
func (p *Probe) Look(ctx context.Context, clients bool) (*Snapshot, error) {
	return p.look(ctx, clients, 1)
}

// Between looks until a time has passed, and gives two snapshots with clients, at its
// beginning and at its end, and others between them if so many connections are
// opened that it is worth to see by whom. At about each tenth of a second
// progress is called, if it is not nil.
func (p *Probe) Between(ctx context.Context, d time.Duration, progress func()) (before, after *Snapshot, between []*Snapshot, err error) {
	if before, err = p.Look(ctx, true); err != nil {
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
		if RatesBetween(before, now).stormy() && int64(len(between)+1)*now.Connections <= closerTotal {
			if now, err = p.Look(ctx, true); err != nil {
				return nil, nil, nil, err
			}
			between = append(between, now)
		}
	}
	after, err = p.Look(ctx, true)
	return before, after, between, err
}

// closerTotal bounds the connections listed between two looks, in all: some 40
// ms of the server's time.
const closerTotal = 20_000

func (p *Probe) look(ctx context.Context, clients bool, owned int64) (*Snapshot, error) {
	s := Source{Own: p.own, Owned: owned, Limit: p.cfg.MaxClients}
	info, err := p.ask(ctx, askInfo, "INFO")
	if err != nil {
		return nil, err
	}
	s.Info = string(info)
	parsed := ParseInfo(s.Info)
	if s.Config, err = p.settings(ctx, parsed.Text("run_id")); err != nil {
		return nil, err
	}
	s.At = time.Now()
	snap := newSnapshot(&s)
	if snap.MaxClients == 0 {
		snap.MaxClients, snap.Assumed = assumedLimit(p.c.Stats().Addr, parsed)
	}
	if n, _ := parsed.Connections(); clients && p.mayList(n) {
		list := snap.listClients(p.own)
		if err := p.note(askList, p.EachClient(ctx, list.add)); err != nil {
			return nil, err
		}
		if p.refused[askList] == "" {
			list.done()
		}
	}
	return snap, nil
}

// EachClient asks for CLIENT LIST and hands each client to fn as it comes; the
// list is not held. fn's first error ends that, and is returned.
func (p *Probe) EachClient(ctx context.Context, fn func(Client) error) error {
	w := NewClientWriter(fn)
	if _, err := p.c.DoTo(ctx, w, "CLIENT", "LIST"); err != nil {
		return err
	}
	return w.Close()
}

// mayList reports whether a server with n connections is asked for all of them.
func (p *Probe) mayList(n int64) bool {
	if p.cfg.ListLimit < 0 || n <= p.cfg.ListLimit {
		delete(p.refused, askList)
		return true
	}
	p.refused[askList] = fmt.Sprintf("there are %d connections, and above %d it would hold the server up", n, p.cfg.ListLimit)
	return false
}

// settings gives what CONFIG GET tells, which is asked once for each run of
// the server.
func (p *Probe) settings(ctx context.Context, run string) (map[string]string, error) {
	if p.config != nil && p.run == run {
		return p.config, nil
	}
	names := []string{"maxclients", "timeout", "tcp-keepalive"}
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

// ask gives a reply's text, and nothing where the server refuses.
func (p *Probe) ask(ctx context.Context, what string, args ...any) ([]byte, error) {
	text, err := p.c.Do(ctx, args...).Bytes()
	return text, p.note(what, err)
}

// note keeps in mind what the server does not let us ask; other errors it returns.
func (p *Probe) note(what string, err error) error {
	var se *respool.ServerError
	var ce *respool.ConnError
	switch {
	case err == nil:
		delete(p.refused, what)
		return nil
	case errors.As(err, &se) && !errors.As(err, &ce): // not one of the handshake
		p.refused[what] = "the server refuses it (" + se.Code + ")"
		return nil
	}
	return err
}

// isFull reports whether a server refused a connection because it has as many
// as it takes.
func isFull(err error) bool {
	var se *respool.ServerError
	return errors.As(err, &se) && strings.Contains(se.Message, "max number of clients")
}
