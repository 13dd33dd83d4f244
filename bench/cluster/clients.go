package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/redis/rueidis"

	"github.com/seed-2b0d76a6/respool"
)

// subjects are the clients: respool with its defaults, the others with the settings that served them best here.
var subjects = []subject{
	{"respool", openRespool},
	{"go-redis", openGoRedis},
	{"go-redis-auto", openGoRedisAuto},
	{"rueidis", openRueidis},
}

type respoolClient struct{ *respool.Client }

func openRespool(ctx context.Context, addrs []string) (client, error) {
	c, err := respool.Open(ctx, "redis+cluster://"+strings.Join(addrs, ","))
	return respoolClient{c}, err
}

func (c respoolClient) get(ctx context.Context, key string) error {
	if err := c.Do(ctx, "GET", key).Err(); !errors.Is(err, respool.ErrNil) {
		return err
	}
	return nil
}

func (c respoolClient) set(ctx context.Context, key, value string) error {
	return c.Do(ctx, "SET", key, value).Err()
}

func (c respoolClient) pipeline(ctx context.Context, keys []string, value string) error {
	p := c.Pipeline()
	for _, k := range keys {
		p.Do("SET", k, value)
	}
	_, err := p.Exec(ctx)
	return err
}

func (c respoolClient) close() { _ = c.Close(context.Background()) }

type goRedisClient struct {
	client *redis.ClusterClient
	do     redis.Cmdable
}

func newGoRedis(addrs []string) *redis.ClusterClient {
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, PoolSize: 10, PoolTimeout: 30 * time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
}

func openGoRedis(_ context.Context, addrs []string) (client, error) {
	c := newGoRedis(addrs)
	return &goRedisClient{c, c}, nil
}

func openGoRedisAuto(_ context.Context, addrs []string) (client, error) {
	c := newGoRedis(addrs)
	auto, err := c.AutoPipeline()
	return &goRedisClient{c, auto}, err
}

func (c *goRedisClient) get(ctx context.Context, key string) error {
	if err := c.do.Get(ctx, key).Err(); !errors.Is(err, redis.Nil) {
		return err
	}
	return nil
}

func (c *goRedisClient) set(ctx context.Context, key, value string) error {
	return c.do.Set(ctx, key, value, 0).Err()
}

func (c *goRedisClient) pipeline(ctx context.Context, keys []string, value string) error {
	_, err := c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, k := range keys {
			p.Set(ctx, k, value, 0)
		}
		return nil
	})
	return err
}

func (c *goRedisClient) close() { _ = c.client.Close() }

type rueidisClient struct{ client rueidis.Client }

func openRueidis(_ context.Context, addrs []string) (client, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs, DisableCache: true})
	return rueidisClient{c}, err
}

func (c rueidisClient) get(ctx context.Context, key string) error {
	if err := c.client.Do(ctx, c.client.B().Get().Key(key).Build()).Error(); !rueidis.IsRedisNil(err) {
		return err
	}
	return nil
}

func (c rueidisClient) set(ctx context.Context, key, value string) error {
	return c.client.Do(ctx, c.client.B().Set().Key(key).Value(value).Build()).Error()
}

func (c rueidisClient) pipeline(ctx context.Context, keys []string, value string) error {
	list := make(rueidis.Commands, 0, len(keys))
	for _, k := range keys {
		list = append(list, c.client.B().Set().Key(k).Value(value).Build())
	}
	for _, r := range c.client.DoMulti(ctx, list...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

func (c rueidisClient) close() { c.client.Close() }
