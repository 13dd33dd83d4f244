package main

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

type rueidisClient struct {
	ctx    context.Context
	client rueidis.Client
}

func openRueidis(ctx context.Context, addr string, c benchCase) (client, error) {
	return newRueidis(ctx, addr, c, 0)
}

func openRueidisOne(ctx context.Context, addr string, c benchCase) (client, error) {
	return newRueidis(ctx, addr, c, -1)
}

func newRueidis(ctx context.Context, addr string, c benchCase, multiplex int) (client, error) {
	opt := rueidis.ClientOption{InitAddress: []string{addr}, PipelineMultiplex: multiplex, ForceSingleClient: true}
	if c.Conns > 0 {
		opt.BlockingPoolSize = c.Conns
	}
	cl, err := rueidis.NewClient(opt)
	if err != nil {
		return nil, err
	}
	return &rueidisClient{ctx, cl}, nil
}

func (r *rueidisClient) get(_ int, key, want string) error {
	got, err := r.client.Do(r.ctx, r.client.B().Get().Key(key).Build()).ToString()
	if err != nil {
		return err
	}
	return checkText(key, got, want)
}

func (r *rueidisClient) set(_ int, key, value string) error {
	got, err := r.client.Do(r.ctx, r.client.B().Set().Key(key).Value(value).Build()).ToString()
	if err != nil {
		return err
	}
	return checkOK(key, got)
}

func (r *rueidisClient) pipeline(_ int, cmds []command) error {
	list := make(rueidis.Commands, 0, len(cmds))
	for i := range cmds {
		if c := &cmds[i]; c.set {
			list = append(list, r.client.B().Set().Key(c.key).Value(c.value).Build())
		} else {
			list = append(list, r.client.B().Get().Key(c.key).Build())
		}
	}
	for i, reply := range r.client.DoMulti(r.ctx, list...) {
		got, err := reply.ToString()
		if err != nil {
			return err
		}
		if err := cmds[i].check(got); err != nil {
			return err
		}
	}
	return nil
}

func (r *rueidisClient) push(_ int, key, value string) error {
	return r.client.Do(r.ctx, r.client.B().Rpush().Key(key).Element(value).Build()).Error()
}

func (r *rueidisClient) pop(_ int, key string, timeout time.Duration) (string, error) {
	got, err := r.client.Do(r.ctx, r.client.B().Blpop().Key(key).Timeout(timeout.Seconds()).Build()).AsStrSlice()
	if rueidis.IsRedisNil(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return popped(key, got)
}

func (r *rueidisClient) read(caller int, stream string) (string, error) {
	got, err := r.client.Do(r.ctx, r.client.B().Xreadgroup().Group(streamGroup, consumer(caller)).Count(1).Block(0).
		Streams().Key(stream).Id(">").Build()).AsXRead()
	if err != nil {
		return "", err
	}
	if entries := got[stream]; len(entries) == 1 && entries[0].FieldValues[streamField] != "" {
		return entries[0].FieldValues[streamField], nil
	}
	return "", badEntry(stream)
}

func (r *rueidisClient) echo(_ int, text string) error {
	got, err := r.client.Do(r.ctx, r.client.B().Echo().Message(text).Build()).ToString()
	if err != nil {
		return err
	}
	return checkEcho(got, text)
}

func (r *rueidisClient) incr(_ int, key string) error {
	return r.client.Do(r.ctx, r.client.B().Incr().Key(key).Build()).Error()
}

func (r *rueidisClient) hold(_ int, key, value string) error {
	return r.client.Dedicated(func(c rueidis.DedicatedClient) error {
		set, err := c.Do(r.ctx, c.B().Set().Key(key).Value(value).Build()).ToString()
		if err != nil {
			return err
		}
		got, err := c.Do(r.ctx, c.B().Get().Key(key).Build()).ToString()
		if err != nil {
			return err
		}
		n, err := c.Do(r.ctx, c.B().Strlen().Key(key).Build()).AsInt64()
		if err != nil {
			return err
		}
		return checkHeld(key, value, set, got, n)
	})
}

func (r *rueidisClient) close() { r.client.Close() }
