package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// goRedisClient is go-redis with a pool. It sends commands through do, which is the client itself
// or its automatic pipelining.
type goRedisClient struct {
	ctx    context.Context
	client *redis.Client
	do     redis.Cmdable
}

func openGoRedis(ctx context.Context, addr string, c benchCase) (client, error) {
	cl := newGoRedis(addr, c)
	return &goRedisClient{ctx, cl, cl}, nil
}

// openGoRedisAuto uses full duplex over a network, as the documentation of go-redis recommends.
func openGoRedisAuto(ctx context.Context, addr string, c benchCase) (client, error) {
	cl := newGoRedis(addr, c)
	auto, err := cl.AutoPipeline()
	if c.Delay > 0 {
		opt := redis.DefaultBlockingAutoPipelineOptions()
		opt.FullDuplex = true
		_ = cl.Close()
		cl = newGoRedis(addr, c)
		auto, err = cl.AutoPipelineWithOptions(opt)
	}
	if err != nil {
		return nil, err
	}
	return &goRedisClient{ctx, cl, auto}, nil
}

func newGoRedis(addr string, c benchCase) *redis.Client {
	opt := &redis.Options{Addr: addr, PoolSize: poolOf, PoolTimeout: 30 * time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}}
	if c.Conns > 0 {
		opt.PoolSize, opt.MaxActiveConns = c.Conns, c.Conns
	}
	return redis.NewClient(opt)
}

func (g *goRedisClient) get(_ int, key, want string) error {
	got, err := g.do.Get(g.ctx, key).Result()
	if err != nil {
		return err
	}
	return checkText(key, got, want)
}

func (g *goRedisClient) set(_ int, key, value string) error {
	got, err := g.do.Set(g.ctx, key, value, 0).Result()
	if err != nil {
		return err
	}
	return checkOK(key, got)
}

func (g *goRedisClient) pipeline(_ int, cmds []command) error {
	p := g.client.Pipeline()
	for i := range cmds {
		if c := &cmds[i]; c.set {
			p.Set(g.ctx, c.key, c.value, 0)
		} else {
			p.Get(g.ctx, c.key)
		}
	}
	replies, err := p.Exec(g.ctx)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		var got string
		switch v := reply.(type) {
		case *redis.StringCmd:
			got, err = v.Result()
		case *redis.StatusCmd:
			got, err = v.Result()
		default:
			err = errors.New("a reply of an unexpected type")
		}
		if err != nil {
			return err
		}
		if err := cmds[i].check(got); err != nil {
			return err
		}
	}
	return nil
}

func (g *goRedisClient) push(_ int, key, value string) error {
	return g.client.RPush(g.ctx, key, value).Err()
}

func (g *goRedisClient) pop(_ int, key string, timeout time.Duration) (string, error) {
	got, err := g.client.BLPop(g.ctx, timeout, key).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return popped(key, got)
}

func (g *goRedisClient) read(caller int, stream string) (string, error) {
	got, err := g.client.XReadGroup(g.ctx, &redis.XReadGroupArgs{Group: streamGroup, Consumer: consumer(caller),
		Streams: []string{stream, ">"}, Count: 1}).Result()
	if err != nil {
		return "", err
	}
	if len(got) != 1 || len(got[0].Messages) != 1 {
		return "", badEntry(stream)
	}
	value, ok := got[0].Messages[0].Values[streamField].(string)
	if !ok {
		return "", badEntry(stream)
	}
	return value, nil
}

func (g *goRedisClient) echo(_ int, text string) error {
	got, err := g.do.Echo(g.ctx, text).Result()
	if err != nil {
		return err
	}
	return checkEcho(got, text)
}

func (g *goRedisClient) incr(_ int, key string) error { return g.do.Incr(g.ctx, key).Err() }

func (g *goRedisClient) hold(_ int, key, value string) error {
	conn := g.client.Conn()
	defer conn.Close()
	set, err := conn.Set(g.ctx, key, value, 0).Result()
	if err != nil {
		return err
	}
	got, err := conn.Get(g.ctx, key).Result()
	if err != nil {
		return err
	}
	n, err := conn.StrLen(g.ctx, key).Result()
	if err != nil {
		return err
	}
	return checkHeld(key, value, set, got, n)
}

func (g *goRedisClient) close() { _ = g.client.Close() }
