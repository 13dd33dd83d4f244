package respool

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/lane"
	"github.com/seed-2b0d76a6/respool/internal/pool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// doUnknown runs a command that the table lacks, by what the server tells of it.
func (c *Client) doUnknown(ctx context.Context, args []any) Reply {
	info, err := c.learned(ctx, args)
	switch {
	case err != nil:
		return Reply{err: err}
	case info == nil || info.Class == command.Unknown:
		return c.doUnsure(ctx, args)
	case info.Class == command.Multiplexed:
		return c.doShared(ctx, args, info.ReadOnly)
	}
	return c.doBlocking(ctx, info, args)
}

// learned is what the server tells of a command that the table lacks: nil if that is nothing.
func (c *Client) learned(ctx context.Context, args []any) (*command.Info, error) {
	info, known := c.lexicon.find(args)
	if known == command.Learned {
		return info, nil
	}
	if _, err := commandName(args); err != nil {
		return nil, c.public(err)
	}
	if err := checkArgs(args); err != nil {
		return nil, c.public(err)
	}
	if known == command.NotAsked {
		name, _ := command.QueryName(args)
		if err := c.lexicon.learn(ctx, name); err != nil {
			return nil, err
		}
		info, _ = c.lexicon.find(args)
	}
	return info, nil
}

// commandName is the name of a command that the table lacks, in upper case.
func commandName(args []any) (string, error) {
	raw, err := resp.AppendCommand(nil, args[:1])
	if err != nil {
		return "", err
	}
	switch v := reflect.ValueOf(args[0]); {
	case v.Kind() != reflect.String && v.Kind() != reflect.Slice:
		return "", errBadName
	case v.Len() == 0:
		return "", errNoArguments
	}
	name, err := Reply{frame: raw[len("*1\r\n"):]}.Text()
	return strings.ToUpper(name), err
}

// unsureReason is why a connection has to be restored.
const unsureReason = "it ran a command of which nothing is known"

// doUnsure runs a command of which nothing is known on a connection that is restored afterwards, unless the server knows it
// no better.
func (c *Client) doUnsure(ctx context.Context, args []any) Reply {
	raw, err := encode(args)
	if err != nil {
		return Reply{err: c.public(err)}
	}
	frames, err := c.onLent(ctx, pool.Key{}, raw, false, func(_ *node, conn *pool.Conn) outcome {
		frames, err := conn.Lane().DoRaw(ctx, raw, 1, lane.Options{})
		got := outcome{frames: frames, err: err}
		switch {
		case sent(err):
			got.spoilt = "its caller left a command of which nothing is known"
		case err == nil && !lacksCommand(frames[0]):
			got.unsure = unsureReason
		}
		return got
	})
	if err != nil {
		return Reply{err: c.public(err)}
	}
	return Reply{frame: frames[0]}
}

// lacksCommand reports whether a reply says that the server lacks the command, so that it has done nothing.
func lacksCommand(frame []byte) bool {
	var se *ServerError
	if !errors.As(Reply{frame: frame}.Err(), &se) {
		return false
	}
	text := strings.ToLower(se.Message)
	return strings.HasPrefix(text, "unknown command") || strings.HasPrefix(text, "unknown subcommand")
}
