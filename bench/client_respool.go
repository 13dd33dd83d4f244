package main

import (
	"context"
	"errors"
	"time"

	"github.com/seed-2b0d76a6/respool"
)

type respoolClient struct {
	ctx    context.Context
	client *respool.Client
}

// openRespool uses the defaults, except for the limit of a case. If a case limits the connections to
// lease, the limit is one more, because respool keeps one for shared use.
func openRespool(ctx context.Context, addr string, c benchCase) (client, error) {
	opt := respool.Options{Addr: addr, MaxConnections: c.Max}
	if c.Conns > 0 {
		opt.MaxConnections = c.Conns + 1
	}
	if c.Load == memory {
		opt.Lanes = 2
	}
	cl, err := respool.New(opt)
	if err != nil {
		return nil, err
	}
	return &respoolClient{ctx, cl}, cl.Warm(ctx)
}

func (r *respoolClient) get(_ int, key, want string) error {
	got, err := r.client.Do(r.ctx, "GET", key).Text()
	if err != nil {
		return err
	}
	return checkText(key, got, want)
}

func (r *respoolClient) set(_ int, key, value string) error {
	got, err := r.client.Do(r.ctx, "SET", key, value).Text()
	if err != nil {
		return err
	}
	return checkOK(key, got)
}

func (r *respoolClient) pipeline(_ int, cmds []command) error {
	p := r.client.Pipeline()
	for i := range cmds {
		if c := &cmds[i]; c.set {
			p.Do("SET", c.key, c.value)
		} else {
			p.Do("GET", c.key)
		}
	}
	replies, err := p.Exec(r.ctx)
	if err != nil {
		return err
	}
	for i := range cmds {
		got, err := replies[i].Text()
		if err != nil {
			return err
		}
		if err := cmds[i].check(got); err != nil {
			return err
		}
	}
	return nil
}

func (r *respoolClient) push(_ int, key, value string) error {
	return r.client.Do(r.ctx, "RPUSH", key, value).Err()
}

func (r *respoolClient) pop(_ int, key string, timeout time.Duration) (string, error) {
	got, err := r.client.Do(r.ctx, "BLPOP", key, timeout.Seconds()).Texts()
	if errors.Is(err, respool.ErrNil) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return popped(key, got)
}

func (r *respoolClient) read(caller int, stream string) (string, error) {
	streams, err := r.client.Do(r.ctx, "XREADGROUP", "GROUP", streamGroup, consumer(caller), "COUNT", 1, "BLOCK", 0, "STREAMS", stream, ">").Map()
	if err != nil {
		return "", err
	}
	entries, err := streams[stream].Array()
	if err != nil || len(entries) != 1 {
		return "", errors.Join(badEntry(stream), err)
	}
	entry, err := entries[0].Array()
	if err != nil || len(entry) != 2 {
		return "", errors.Join(badEntry(stream), err)
	}
	fields, err := entry[1].Texts()
	if err != nil || len(fields) != 2 || fields[0] != streamField {
		return "", errors.Join(badEntry(stream), err)
	}
	return fields[1], nil
}

func (r *respoolClient) echo(_ int, text string) error {
	got, err := r.client.Do(r.ctx, "ECHO", text).Text()
	if err != nil {
		return err
	}
	return checkEcho(got, text)
}

func (r *respoolClient) incr(_ int, key string) error { return r.client.Do(r.ctx, "INCR", key).Err() }

func (r *respoolClient) hold(_ int, key, value string) error {
	conn, err := r.client.Acquire(r.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	set, err := conn.Do(r.ctx, "SET", key, value).Text()
	if err != nil {
		return err
	}
	got, err := conn.Do(r.ctx, "GET", key).Text()
	if err != nil {
		return err
	}
	n, err := conn.Do(r.ctx, "STRLEN", key).Int64()
	if err != nil {
		return err
	}
	return checkHeld(key, value, set, got, n)
}

func (r *respoolClient) close() { _ = r.client.Close(r.ctx) }
