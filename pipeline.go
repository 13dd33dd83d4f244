package respool

import (
	"context"

	"github.com/seed-2b0d76a6/respool/internal/engine"
)

// Pipeline gathers commands and sends them in one piece on one connection:
// they run in order, but others' commands may run in between. It may be used
// again after Exec, which saves its memory. It is not safe for concurrent use.
type Pipeline struct{ batch engine.Batch }

// Pipeline makes an empty pipeline.
func (c *Client) Pipeline() *Pipeline { return &Pipeline{c.engine.Batch()} }

// Do adds a command. Its arguments are those of Client.Do, and are encoded at
// once. An error, of an argument or a command that may not be pipelined here,
// is returned by Exec, which then sends nothing. Of a command that the client does not
// know Exec asks the server first.
func (p *Pipeline) Do(args ...any) *Pipeline {
	p.batch.Add(args)
	return p
}

// Len is the number of commands gathered.
func (p *Pipeline) Len() int { return p.batch.Len() }

// Exec sends the commands and waits for all replies, bounded as in Client.Do.
// There is a Reply for each command, whose Err tells of its own failure; the
// error is that of the connection, if it broke, and then the replies that came
// are there all the same. The pipeline is empty afterwards. An empty one gives
// no replies and no error.
//
// Commands that were not sent go to another connection. Those that were sent
// are sent again only if all of them read.
func (p *Pipeline) Exec(ctx context.Context) ([]Reply, error) {
	frames, want, err := p.batch.Exec(ctx)
	err = wrapError(err)
	if want == 0 {
		return nil, err
	}
	replies := make([]Reply, want)
	for i := range replies {
		if i < len(frames) {
			replies[i].frame = frames[i]
		} else {
			replies[i].err = err
		}
	}
	return replies, err
}
