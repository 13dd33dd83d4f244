package gateway

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/gateway/netio"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

// classify looks a command up in the table, then in the server's descriptions. info is nil if neither has it.
func (g *Gateway) classify(args [][]byte) (info *command.Info, class command.Class, known command.Known) {
	info, class = command.ClassifyBytes(args)
	if info != nil || bytes.EqualFold(args[0], []byte("respool")) {
		return info, class, command.Learned
	}
	if info, known = g.engine.Lookup(args); known == command.Learned {
		return info, info.Class, known
	}
	return nil, command.Unknown, known
}

// learn queries the server for the command of a request.
func (w *worker) learn(ctx context.Context, pin *engine.Lease) error {
	if !w.step.OnPin || w.token != "" { // the query runs as the gateway's own user
		pin = nil
	}
	args, err := arguments(w.raw)
	if err != nil {
		return err
	}
	return w.c.g.engine.Learn(ctx, args, pin)
}

// arguments splits a request in canonical form.
func arguments(raw []byte) ([][]byte, error) {
	args, err := resp.Elements(raw)
	if err != nil {
		return nil, err
	}
	for i := range args {
		args[i], _ = resp.StringOf(args[i])
	}
	return args, nil
}

// dispatchLearnedLocked dispatches a request after the server described its command. The request was a barrier, so no
// other one is pending. On a failure the client gets the error, because the effect of the request is unknown.
func (c *client) dispatchLearnedLocked(w *worker, failed *failure) {
	raw := bytes.Clone(w.raw)
	args, broken := arguments(raw)
	c.pending.undo()
	c.pending.queued--
	c.barrier.end(w.step)
	if w.abandoned {
		c.abandonLocked()
		return
	}
	var batch netio.FlushBatch
	step := session.Step{Kind: session.Close}
	if broken == nil && (failed == nil || !failed.closes) {
		step = c.nextLearnedLocked(raw, args, failed)
	}
	c.dispatchLocked(&step, &batch)
	batch.Flush()
}

// nextLearnedLocked is nextLocked for a request whose command the server described.
func (c *client) nextLearnedLocked(raw []byte, args [][]byte, failed *failure) session.Step {
	if failed != nil {
		return c.session.Refuse(raw, args, failed.text)
	}
	if u := c.login.user; u != nil {
		info, class, _ := c.g.classify(args)
		if text := u.denyReason(args, info, class); text != "" {
			return c.session.Refuse(raw, args, text)
		}
	}
	return c.session.NextLearned(raw, args)
}

// learnFailure is the failure of a command that the server could not describe. The command was not sent.
func (g *Gateway) learnFailure(err error) *failure {
	if we, ok := errors.AsType[*wire.Error](err); ok {
		err = &wire.Error{Op: we.Op, Addr: we.Addr, Err: we.Err}
	}
	f := g.failureOf(err, true, false)
	if frame, ok := serverErrorFrame(err); ok {
		f.text = strings.TrimRight(string(frame), "\r\n")
	}
	return f
}

// serverGreeting is a server's description of itself, from a reply to HELLO or from INFO.
type serverGreeting struct {
	hello    *resp.Value // nil if it comes from INFO
	greeting *session.Greeting
}

// greeting returns the description of the server from the latest handshake, or nil while it is unknown. After a
// failover it describes the new server.
func (g *Gateway) greeting() *session.Greeting {
	known := g.greeted.Load()
	if hello := g.engine.Greeting(); hello != nil && (known == nil || known.hello != hello) {
		if greeting := session.ReadGreeting(hello); greeting != nil {
			known = &serverGreeting{hello, greeting}
			g.greeted.Store(known)
		}
	}
	if known == nil {
		return nil
	}
	return known.greeting
}

// greetingOf reads the server's name and version from the text of INFO.
func greetingOf(info string) *session.Greeting {
	name, version := "redis", ""
	for line := range strings.Lines(info) {
		switch field, value, _ := strings.Cut(strings.TrimSpace(line), ":"); {
		case field == "valkey_version":
			name, version = "valkey", value
		case field == "redis_version" && name == "redis":
			version = value
		}
	}
	return session.NewGreeting(name, version)
}
