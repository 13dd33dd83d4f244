package respool

import (
	"context"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Pipeline collects commands and sends them in one write on one connection. They run in order, but
// commands of other callers may run in between. After Exec it can be used again. It is not safe for
// concurrent use.
type Pipeline struct{ batch engine.Batch }

// Pipeline returns an empty pipeline. It sends nothing before Exec.
func (c *Client) Pipeline() *Pipeline { return &Pipeline{c.engine.Batch()} }

// Do adds a command and encodes its arguments, which are those of Client.Do, at once. If an
// argument or the command is not allowed here, Exec returns that error and sends nothing. Blocking
// commands are not allowed: send them with Client.Do. If the client does not know the command, Exec
// queries the server about it first.
func (p *Pipeline) Do(args ...any) *Pipeline {
	p.batch.Add(args)
	return p
}

// Len returns the number of commands in the pipeline.
func (p *Pipeline) Len() int { return p.batch.Len() }

// Exec sends the commands and waits for all replies, with the limits of Client.Do. It returns one
// Reply for each command; Err of a Reply is the error of its command. The error of Exec is the
// failure of the connection: the replies that arrived before it are valid, and the others return it
// too. Afterwards the pipeline is empty. An empty pipeline returns no replies and no error.
//
// If a connection breaks before the commands were sent, the client sends them on another one. It
// resends them only if all of them are read-only.
//
// In a cluster it sends the commands for each node in one write, to all nodes at the same time. The
// commands for one slot run in order. It sends commands again whose slot is moving, unless a later
// command that changes the same key was executed already: then the Reply has the node's error.
func (p *Pipeline) Exec(ctx context.Context) ([]Reply, error) {
	defer p.batch.Reset()
	frames, want, err := p.batch.Exec(ctx)
	err = wrapError(err)
	if want == 0 {
		return nil, err
	}
	replies := make([]Reply, want)
	for i := range replies {
		if i < len(frames) && frames[i] != nil {
			replies[i].frame = frames[i]
		} else {
			replies[i].err = err
		}
	}
	return replies, err
}
