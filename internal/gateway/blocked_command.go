package gateway

import (
	"bytes"
	"context"
	"strconv"
	"sync"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/engine"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/resp"
)

// blockedCommand is a command that runs on a dedicated connection. If it may block, CLIENT UNBLOCK ends it by the
// connection's ID. If the handshake did not return the ID, run queries it first, but only as the gateway's own user:
// another user may lack the permission.
type blockedCommand struct {
	w    *worker
	done chan struct{}

	mu        sync.Mutex
	askedID   bool
	id        int64 // ID of the connection; 0 if unknown
	want      int
	frames    [][]byte
	err       error
	asking    int  // CLIENT UNBLOCK requests without a reply
	unblocked bool // the server has confirmed an UNBLOCK
	ended     bool
}

var rawClientID = []byte("*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n")

// run sends the command and waits for its replies.
func (b *blockedCommand) run(ctx context.Context, l *lane.Lane) ([][]byte, error) {
	w := b.w
	raw, opt := w.raw, w.options()
	b.want = w.n
	if opt.Block != command.NoBlock && !w.step.Destroy && !w.step.Restore {
		b.id = l.Conn().ID()
		if b.id == 0 && w.key.User == "" {
			b.askedID = true
			b.want++
			raw = append(bytes.Clone(rawClientID), raw...)
		}
		b.enter()
		defer b.leave()
	}
	if err := l.Post(raw, b.want, b, 0, opt); err != nil {
		return nil, err
	}
	l.Flush(false)
	select {
	case <-b.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.frames, b.err
}

// enter registers the command as its client's blocking command.
func (b *blockedCommand) enter() {
	c := b.w.c
	c.mu.Lock()
	c.dedicated.blocked = b
	if c.in.hungUp {
		c.execution.abort()
	}
	c.mu.Unlock()
}

func (b *blockedCommand) leave() {
	c := b.w.c
	c.mu.Lock()
	c.dedicated.blocked = nil
	c.mu.Unlock()
}

// Reply receives a reply.
func (b *blockedCommand) Reply(_ uint64, frame []byte, owned bool, _ *lane.Batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.want--
	if b.askedID {
		b.askedID = false
		if id, err := strconv.ParseInt(string(bytes.TrimSpace(frame[1:])), 10, 64); frame[0] == byte(resp.Integer) && err == nil {
			b.id = id
		}
		return
	}
	if !owned {
		frame = bytes.Clone(frame)
	}
	b.frames = append(b.frames, frame)
	if b.want == 0 {
		b.endLocked(nil)
	}
}

// Part refuses a part of a reply, so that the lane passes the reply as a whole.
func (b *blockedCommand) Part(uint64, []byte) bool { return false }

// Fail handles the end of the connection.
func (b *blockedCommand) Fail(_ uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(err)
}

func (b *blockedCommand) endLocked(err error) {
	if !b.ended {
		b.ended, b.err = true, err
		close(b.done)
	}
}

// unblock sends CLIENT UNBLOCK for the command and reports whether the server ended it.
func (b *blockedCommand) unblock(ctx context.Context, e *engine.Engine, fail bool) (bool, error) {
	b.mu.Lock()
	id := b.id
	if id == 0 || b.ended {
		b.mu.Unlock()
		return false, nil
	}
	b.asking++
	b.mu.Unlock()
	how := "TIMEOUT"
	if fail {
		how = "ERROR"
	}
	raw, _ := resp.AppendCommand(nil, []any{"CLIENT", "UNBLOCK", id, how})
	frames, err := e.Exchange(ctx, engine.Identity{Proto: 2}, raw, 1, false, nil)
	if err != nil {
		return false, err // the server may still unblock it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asking--
	done := string(frames[0]) == ":1\r\n"
	b.unblocked = b.unblocked || done
	return done, nil
}

// unblockPending reports whether an unconfirmed CLIENT UNBLOCK may still end the next command on the connection, or
// whether another client of the server ended this command. last is the last reply to the completed command.
func (b *blockedCommand) unblockPending(last []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := b.asking
	if bytes.HasPrefix(last, replyUnblocked) && !b.unblocked {
		open-- // the unconfirmed request ended this command
	}
	return open != 0
}
