package clusterload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

// Respool makes a client of this module a Client.
func Respool(client *respool.Client) Client { return &respoolClient{client: client} }

type respoolClient struct {
	client *respool.Client
	script *respool.Script
}

func (c *respoolClient) Get(ctx context.Context, key string) (string, error) {
	text, err := c.client.Do(ctx, "GET", key).Text()
	if errors.Is(err, respool.ErrNil) {
		return "", nil
	}
	return text, err
}

func (c *respoolClient) Set(ctx context.Context, key, value string) error {
	return c.client.Do(ctx, "SET", key, value).Err()
}

func (c *respoolClient) Incr(ctx context.Context, key string) (int64, error) {
	return c.client.Do(ctx, "INCR", key).Int64()
}

func (c *respoolClient) Pipeline(ctx context.Context, commands []Command) []Result {
	p := c.client.Pipeline()
	for _, command := range commands {
		if command.Value == "" {
			p.Do("INCR", command.Key)
		} else {
			p.Do("RPUSH", command.Key, command.Value)
		}
	}
	results := make([]Result, len(commands))
	replies, err := p.Exec(ctx)
	for i := range results {
		if i >= len(replies) {
			results[i].Err = err
		} else {
			results[i].N, results[i].Err = replies[i].Int64()
		}
	}
	return results
}

func (c *respoolClient) Multi(ctx context.Context, keys ...string) ([]int64, error) {
	t := c.client.Transaction()
	for _, k := range keys {
		t.Do("INCR", k)
	}
	replies, err := t.Exec(ctx)
	return numbers(replies, err)
}

func numbers(replies []respool.Reply, err error) (list []int64, _ error) {
	for _, r := range replies {
		n, failed := r.Int64()
		if failed != nil {
			err = failed
		}
		list = append(list, n)
	}
	return list, err
}

func (c *respoolClient) WatchIncr(ctx context.Context, key string) (n int64, err error) {
	_, err = c.client.Watch(ctx, []string{key}, func(w *respool.Watched) error {
		r := w.Do(ctx, "GET", key)
		if n, err = r.Int64(); err != nil && !errors.Is(err, respool.ErrNil) {
			return err
		}
		n++
		w.Queue("SET", key, n)
		return nil
	})
	if errors.Is(err, respool.ErrConflict) {
		err = ErrConflict
	}
	return n, err
}

func (c *respoolClient) Push(ctx context.Context, key, value string) error {
	return c.client.Do(ctx, "RPUSH", key, value).Err()
}

func (c *respoolClient) Pop(ctx context.Context, key string, wait time.Duration) (string, error) {
	texts, err := c.client.Do(ctx, "BLPOP", key, wait.Seconds()).Texts()
	if errors.Is(err, respool.ErrNil) {
		return "", ErrNothing
	}
	if err != nil || len(texts) != 2 {
		return "", fmt.Errorf("BLPOP returned %v, %w", texts, err)
	}
	return texts[1], nil
}

func (c *respoolClient) Range(ctx context.Context, key string) ([]string, error) {
	return c.client.Do(ctx, "LRANGE", key, 0, -1).Texts()
}

func (c *respoolClient) CreateGroup(ctx context.Context, key string) error {
	return c.client.Do(ctx, "XGROUP", "CREATE", key, "g", 0, "MKSTREAM").Err()
}

func (c *respoolClient) Add(ctx context.Context, key, value string) error {
	return c.client.Do(ctx, "XADD", key, "*", "v", value).Err()
}

func (c *respoolClient) ReadGroup(ctx context.Context, key string, wait time.Duration) (texts []string, err error) {
	reply := c.client.Do(ctx, "XREADGROUP", "GROUP", "g", "c", "COUNT", 10, "BLOCK", strconv.FormatInt(wait.Milliseconds(), 10), "STREAMS", key, ">")
	streams, err := reply.Map()
	if errors.Is(err, respool.ErrNil) {
		return nil, ErrNothing
	}
	if err != nil {
		return nil, err
	}
	entries, err := streams[key].Array()
	if err != nil {
		return nil, err
	}
	for _, entry := range entries { // an ID, and a field with its value
		both, err := entry.Array()
		if err != nil || len(both) != 2 {
			return nil, fmt.Errorf("an entry is %v, %w", entry, err)
		}
		fields, err := both[1].Texts()
		if err != nil || len(fields) != 2 {
			return nil, fmt.Errorf("the fields of an entry are %v, %w", fields, err)
		}
		texts = append(texts, fields[1])
	}
	return texts, nil
}

func (c *respoolClient) Load(ctx context.Context, source string) error {
	c.script = respool.NewScript(source)
	return c.script.Load(ctx, c.client)
}

func (c *respoolClient) Eval(ctx context.Context, keys ...string) (int64, error) {
	args := []any{"EVALSHA", c.script.Digest(), len(keys)}
	for _, k := range keys {
		args = append(args, k)
	}
	return c.client.Do(ctx, args...).Int64()
}

func (c *respoolClient) Publish(ctx context.Context, channel, payload string) error {
	return c.client.Do(ctx, "SPUBLISH", channel, payload).Err()
}

func (c *respoolClient) Subscribe(ctx context.Context, channels []string, deliver func(channel, payload string), gap func()) (func(), error) {
	sub, err := c.client.SSubscribe(ctx, channels...)
	if err != nil {
		return nil, err
	}
	var receiving sync.WaitGroup
	receiving.Go(func() {
		for m, err := range sub.Messages(context.Background()) {
			switch {
			case err != nil:
				return
			case m.Gap != nil:
				gap()
			default:
				deliver(m.Channel, m.Payload)
			}
		}
	})
	return func() { _ = sub.Close(); receiving.Wait() }, nil
}

func (c *respoolClient) Close() { _ = c.client.Close(context.Background()) }
