//go:build unix

package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/clusterload"
)

var subjects = []subject{{"respool", openRespool}, {"go-redis", openGoRedis}, {"rueidis", openRueidis}}

func openRespool(ctx context.Context, addrs []string, c *cli) (clusterload.Client, error) {
	client, err := respool.New(respool.Options{
		Cluster: &respool.ClusterOptions{Addrs: addrs, MaxConnectionsTotal: c.Total}, MaxConnections: c.MaxConnections, WaitTimeout: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	return clusterload.Respool(client), client.Warm(ctx)
}

type goRedis struct {
	client *redis.ClusterClient
	script *redis.Script
}

func openGoRedis(_ context.Context, addrs []string, c *cli) (clusterload.Client, error) {
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: addrs, PoolSize: c.MaxConnections, MaxActiveConns: c.MaxConnections, PoolTimeout: time.Minute,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	return &goRedis{client: client}, nil
}

func (c *goRedis) Get(ctx context.Context, key string) (string, error) {
	text, err := c.client.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return text, err
}

func (c *goRedis) Set(ctx context.Context, key, value string) error {
	return c.client.Set(ctx, key, value, 0).Err()
}

func (c *goRedis) Incr(ctx context.Context, key string) (int64, error) {
	return c.client.Incr(ctx, key).Result()
}

func (c *goRedis) Pipeline(ctx context.Context, commands []clusterload.Command) []clusterload.Result {
	results, replies := make([]clusterload.Result, len(commands)), make([]*redis.IntCmd, len(commands))
	_, _ = c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, command := range commands {
			if command.Value == "" {
				replies[i] = p.Incr(ctx, command.Key)
			} else {
				replies[i] = p.RPush(ctx, command.Key, command.Value)
			}
		}
		return nil
	})
	for i, r := range replies {
		results[i].N, results[i].Err = r.Result()
	}
	return results
}

func (c *goRedis) Multi(ctx context.Context, keys ...string) (list []int64, err error) {
	replies, err := c.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, k := range keys {
			p.Incr(ctx, k)
		}
		return nil
	})
	for _, r := range replies {
		list = append(list, r.(*redis.IntCmd).Val())
	}
	return list, err
}

func (c *goRedis) WatchIncr(ctx context.Context, key string) (n int64, err error) {
	err = c.client.Watch(ctx, func(tx *redis.Tx) error {
		if n, err = tx.Get(ctx, key).Int64(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		n++
		_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Set(ctx, key, n, 0).Err() })
		return err
	}, key)
	if errors.Is(err, redis.TxFailedErr) {
		err = clusterload.ErrConflict
	}
	return n, err
}

func (c *goRedis) Push(ctx context.Context, key, value string) error {
	return c.client.RPush(ctx, key, value).Err()
}

func (c *goRedis) Pop(ctx context.Context, key string, wait time.Duration) (string, error) {
	texts, err := c.client.BLPop(ctx, wait, key).Result()
	if errors.Is(err, redis.Nil) {
		return "", clusterload.ErrNothing
	}
	if err != nil {
		return "", err
	}
	return texts[1], nil
}

func (c *goRedis) Range(ctx context.Context, key string) ([]string, error) {
	return c.client.LRange(ctx, key, 0, -1).Result()
}

func (c *goRedis) CreateGroup(ctx context.Context, key string) error {
	return c.client.XGroupCreateMkStream(ctx, key, "g", "0").Err()
}

func (c *goRedis) Add(ctx context.Context, key, value string) error {
	return c.client.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"v", value}}).Err()
}

func (c *goRedis) ReadGroup(ctx context.Context, key string, wait time.Duration) (texts []string, err error) {
	streams, err := c.client.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: 10, Block: wait}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, clusterload.ErrNothing
	}
	for _, s := range streams {
		for _, m := range s.Messages {
			text, _ := m.Values["v"].(string)
			texts = append(texts, text)
		}
	}
	return texts, err
}

func (c *goRedis) Load(ctx context.Context, source string) error {
	c.script = redis.NewScript(source)
	return c.script.Load(ctx, c.client).Err()
}

func (c *goRedis) Eval(ctx context.Context, keys ...string) (int64, error) {
	return c.client.EvalSha(ctx, c.script.Hash(), keys).Int64()
}

func (c *goRedis) Publish(ctx context.Context, channel, payload string) error {
	return c.client.SPublish(ctx, channel, payload).Err()
}

// Subscribe needs a PubSub, with a connection, for each channel: they have different slots.
func (c *goRedis) Subscribe(ctx context.Context, channels []string, deliver func(channel, payload string), _ func()) (func(), error) {
	var subs []*redis.PubSub
	var receiving sync.WaitGroup
	stop := func() {
		for _, sub := range subs {
			_ = sub.Close()
		}
		receiving.Wait()
	}
	for _, channel := range channels {
		sub := c.client.SSubscribe(ctx, channel)
		subs = append(subs, sub)
		if _, err := sub.Receive(ctx); err != nil {
			stop()
			return nil, err
		}
		messages := sub.Channel(redis.WithChannelSize(1 << 14))
		receiving.Go(func() {
			for m := range messages {
				deliver(m.Channel, m.Payload)
			}
		})
	}
	return stop, nil
}

func (c *goRedis) Close() { _ = c.client.Close() }
