package gateway

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// clientCommand executes CLIENT commands that concern other clients of the gateway.
func (w *worker) clientCommand(ctx context.Context) ([][]byte, error) {
	q, g := w.step.Query, w.c.g
	if probe, ok := probes[q.Op]; ok {
		if refusal, err := w.permissionError(ctx, probe); refusal != nil || err != nil {
			return [][]byte{refusal}, err
		}
	}
	var reply []byte
	switch q.Op {
	case session.QueryInfo:
		reply = w.c.text(w.c.appendInfo(nil, true))
	case session.QueryList:
		var lines []byte
		for _, c := range g.matching(q, nil) {
			lines = c.appendInfo(lines, c == w.c)
		}
		reply = w.c.text(lines)
	case session.QueryKill:
		if !w.knowsUser(ctx, q.User) {
			return [][]byte{resp.AppendError(nil, fmt.Sprintf("No such user '%s'", printable([]byte(q.User))))}, nil
		}
		reply = w.kill(q)
	case session.QueryUnblock:
		return w.unblock(ctx, q)
	case session.QueryPause:
		mode := pauseAll
		if q.OnlyWrites {
			mode = pauseWrites
		}
		g.pauses.pause(byClient, mode, q.Duration)
		reply = replyOK
	case session.QueryUnpause:
		g.pauses.resume(byClient)
		reply = replyOK
	}
	return [][]byte{reply}, nil
}

// ClientList returns a line for each client, or for those with these IDs, as CLIENT LIST. It visits every client.
func (g *Gateway) ClientList(ids ...int64) string {
	var lines []byte
	for _, c := range g.matching(&session.Query{IDs: ids}, nil) {
		lines = c.appendInfo(lines, false)
	}
	return string(lines)
}

// KillClient disconnects a client, as CLIENT KILL. It reports whether the client was connected.
func (g *Gateway) KillClient(id int64) bool {
	found := g.matching(&session.Query{IDs: []int64{id}}, nil)
	for _, c := range found {
		c.disconnect()
	}
	return len(found) > 0
}

// probes are commands without an effect. The server's reply shows whether a user has the permission for the operation.
var probes = map[session.QueryOp][]any{
	session.QueryList:    {"CLIENT", "LIST", "ID", 0},
	session.QueryKill:    probeKill,
	session.QueryUnblock: {"CLIENT", "UNBLOCK", 0},
	session.QueryPause:   probeKill,
	session.QueryUnpause: probeKill,
}

var probeKill = []any{"CLIENT", "KILL", "ID", math.MaxInt64}

// permissionError returns the server's NOPERM reply if the user may not run a command, or nil.
func (w *worker) permissionError(ctx context.Context, command []any) ([]byte, error) {
	if w.token == "" {
		return nil, nil
	}
	raw, err := resp.AppendCommand(nil, command)
	if err != nil {
		return nil, err
	}
	frames, err := w.c.g.engine.Exchange(ctx, w.key, raw, 1, true, nil)
	if err != nil || !bytes.HasPrefix(frames[0], []byte("-NOPERM")) {
		return nil, err
	}
	return frames[0], nil
}

// matching returns the clients that a query selects, in order of arrival.
func (g *Gateway) matching(q *session.Query, but *client) []*client {
	var found []*client
	for _, c := range g.list() {
		if c != but && c.matches(q) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *client) int { return int(a.id - b.id) })
	return found
}

func (c *client) matches(q *session.Query) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone, c.out.IsClosed(),
		len(q.IDs) > 0 && !slices.Contains(q.IDs, c.id),
		q.Type != "" && q.Type != c.session.Type(),
		q.User != "" && (q.User != c.session.Identity().User || !c.session.Authenticated()),
		q.Addr != "" && q.Addr != c.addr,
		q.LocalAddr != "" && q.LocalAddr != c.localAddr,
		q.MinAge > 0 && time.Since(c.connectedAt) < q.MinAge:
		return false
	}
	return true
}

// knowsUser reports whether a user of this name exists: among the gateway's own users if there are any, otherwise at
// the server. It returns true if the server does not reply.
func (w *worker) knowsUser(ctx context.Context, name string) bool {
	if name == "" || name == command.DefaultUser {
		return true
	}
	if users := w.c.g.settings.Load().users; users != nil {
		return users[name] != nil
	}
	raw, err := resp.AppendCommand(nil, []any{"CLIENT", "KILL", "USER", name, "ID", math.MaxInt64})
	if err != nil {
		return true
	}
	frames, err := w.c.g.engine.Exchange(ctx, w.key, raw, 1, true, nil)
	return err != nil || !bytes.HasPrefix(frames[0], []byte("-ERR No such user"))
}

func (w *worker) kill(q *session.Query) []byte {
	var but *client
	if q.SkipMe {
		but = w.c
	}
	killed := w.c.g.matching(q, but)
	for _, c := range killed {
		if c == w.c {
			w.close = true
			continue
		}
		c.disconnect()
	}
	switch {
	case !q.OldForm:
		return resp.AppendInteger(nil, int64(len(killed)))
	case len(killed) == 0:
		return resp.AppendError(nil, "No such client")
	}
	return replyOK
}

func (w *worker) unblock(ctx context.Context, q *session.Query) ([][]byte, error) {
	for _, c := range w.c.g.matching(q, nil) {
		c.mu.Lock()
		p, b := c.parked, c.dedicated.blocked
		c.mu.Unlock()
		if p != nil && p.unblock(q.WithError) {
			return [][]byte{resp.AppendInteger(nil, 1)}, nil
		}
		if b == nil {
			break
		}
		ok, err := b.unblock(ctx, w.c.g.engine, q.WithError)
		if err != nil {
			return nil, err
		}
		if ok {
			return [][]byte{resp.AppendInteger(nil, 1)}, nil
		}
	}
	return [][]byte{resp.AppendInteger(nil, 0)}, nil
}

// appendInfo appends the client's line of CLIENT LIST. The client that sent the command (self) is neither idle nor
// blocked.
func (c *client) appendInfo(dst []byte, self bool) []byte {
	waiting, _ := c.out.Waiting()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	idle := time.Duration(0)
	if !self {
		idle = c.in.idle(now)
	}
	return c.session.AppendInfo(dst, session.ConnInfo{
		LocalAddr: c.localAddr, FD: c.out.Descriptor(), Age: now.Sub(c.connectedAt), Idle: idle,
		Output: waiting, Blocked: c.blockedLocked() || c.pending.n > 0 && idle > blockedAfter, Unix: c.host == unixHost,
	})
}

// blockedAfter is the wait for a reply after which CLIENT LIST shows a client as blocked. Clients with several
// connections must not mistake a shorter wait for a dead path.
const blockedAfter = 50 * time.Millisecond

func (c *client) text(lines []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session.Text(lines)
}

// state returns the activity of a client for the console.
func (c *client) state() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.pending.queued
	if s := c.pending.front(); s != nil && s.state == running {
		waiting--
	}
	waits := c.execution.waits.String()
	var words []string
	for _, w := range []struct {
		set  bool
		word string
	}{
		{c.blockedLocked(), "blocked"}, {c.dedicated.pin != nil, "pinned"}, {c.dedicated.monitor != nil, "monitor"},
		{c.session.Type() == "pubsub", "subscribed"}, {waits != "", waits}, {c.overRateLocked(), "limited"}, {c.turn.Waits(), "turn"},
		{waiting > 0 && waits == "", "waiting"}, {c.pending.n > waiting && waits == "", "busy"},
	} {
		if w.set {
			words = append(words, w.word)
		}
	}
	if len(words) == 0 {
		return "idle"
	}
	return strings.Join(words, ",")
}
