//go:build unix

package main

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/seed-2b0d76a6/respool/internal/testkit/clusterload"
)

type rueidisClient struct {
	client rueidis.Client
	digest string
}

func openRueidis(_ context.Context, addrs []string, c *cli) (clusterload.Client, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: addrs, DisableCache: true, BlockingPoolSize: c.MaxConnections})
	return &rueidisClient{client: client}, err
}

func (c *rueidisClient) b() rueidis.Builder { return c.client.B() }

func (c *rueidisClient) Get(ctx context.Context, key string) (string, error) {
	text, err := c.client.Do(ctx, c.b().Get().Key(key).Build()).ToString()
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	return text, err
}

func (c *rueidisClient) Set(ctx context.Context, key, value string) error {
	return c.client.Do(ctx, c.b().Set().Key(key).Value(value).Build()).Error()
}

func (c *rueidisClient) Incr(ctx context.Context, key string) (int64, error) {
	return c.client.Do(ctx, c.b().Incr().Key(key).Build()).AsInt64()
}

func (c *rueidisClient) Pipeline(ctx context.Context, commands []clusterload.Command) []clusterload.Result {
	var list rueidis.Commands
	for _, command := range commands {
		if command.Value == "" {
			list = append(list, c.b().Incr().Key(command.Key).Build())
		} else {
			list = append(list, c.b().Rpush().Key(command.Key).Element(command.Value).Build())
		}
	}
	results := make([]clusterload.Result, len(commands))
	for i, r := range c.client.DoMulti(ctx, list...) {
		results[i].N, results[i].Err = r.AsInt64()
	}
	return results
}

// Multi uses a dedicated connection, as rueidis needs for transactions.
func (c *rueidisClient) Multi(ctx context.Context, keys ...string) (list []int64, err error) {
	err = c.client.Dedicated(func(d rueidis.DedicatedClient) error {
		list, err = c.transaction(ctx, d, keys)
		return err
	})
	return list, err
}

func (c *rueidisClient) transaction(ctx context.Context, d rueidis.DedicatedClient, keys []string) ([]int64, error) {
	commands := rueidis.Commands{c.b().Multi().Build()}
	for _, k := range keys {
		commands = append(commands, c.b().Incr().Key(k).Build())
	}
	replies := d.DoMulti(ctx, append(commands, c.b().Exec().Build())...)
	for _, r := range replies[:len(replies)-1] {
		if err := r.Error(); err != nil {
			return nil, err
		}
	}
	return replies[len(replies)-1].AsIntSlice()
}

func (c *rueidisClient) WatchIncr(ctx context.Context, key string) (n int64, err error) {
	err = c.client.Dedicated(func(d rueidis.DedicatedClient) error {
		if err := d.Do(ctx, c.b().Watch().Key(key).Build()).Error(); err != nil {
			return err
		}
		n, err = d.Do(ctx, c.b().Get().Key(key).Build()).AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return err
		}
		n++
		replies := d.DoMulti(ctx, c.b().Multi().Build(), c.b().Incr().Key(key).Build(), c.b().Exec().Build())
		if _, err := replies[2].ToArray(); rueidis.IsRedisNil(err) {
			return clusterload.ErrConflict
		} else if err != nil {
			return err
		}
		return nil
	})
	return n, err
}

func (c *rueidisClient) Push(ctx context.Context, key, value string) error {
	return c.client.Do(ctx, c.b().Rpush().Key(key).Element(value).Build()).Error()
}

func (c *rueidisClient) Pop(ctx context.Context, key string, wait time.Duration) (string, error) {
	texts, err := c.client.Do(ctx, c.b().Blpop().Key(key).Timeout(wait.Seconds()).Build()).AsStrSlice()
	if rueidis.IsRedisNil(err) {
		return "", clusterload.ErrNothing
	}
	if err != nil {
		return "", err
	}
	return texts[1], nil
}

func (c *rueidisClient) Range(ctx context.Context, key string) ([]string, error) {
	return c.client.Do(ctx, c.b().Lrange().Key(key).Start(0).Stop(-1).Build()).AsStrSlice()
}

func (c *rueidisClient) CreateGroup(ctx context.Context, key string) error {
	return c.client.Do(ctx, c.b().XgroupCreate().Key(key).Group("g").Id("0").Mkstream().Build()).Error()
}

func (c *rueidisClient) Add(ctx context.Context, key, value string) error {
	return c.client.Do(ctx, c.b().Xadd().Key(key).Id("*").FieldValue().FieldValue("v", value).Build()).Error()
}

func (c *rueidisClient) ReadGroup(ctx context.Context, key string, wait time.Duration) (texts []string, err error) {
	streams, err := c.client.Do(ctx, c.b().Xreadgroup().Group("g", "c").Count(10).Block(wait.Milliseconds()).Streams().Key(key).Id(">").Build()).AsXRead()
	if rueidis.IsRedisNil(err) {
		return nil, clusterload.ErrNothing
	}
	for _, entry := range streams[key] {
		texts = append(texts, entry.FieldValues["v"])
	}
	return texts, err
}

func (c *rueidisClient) Load(ctx context.Context, source string) error {
	sum := sha1.Sum([]byte(source))
	c.digest = hex.EncodeToString(sum[:])
	for _, node := range c.client.Nodes() {
		if err := node.Do(ctx, node.B().ScriptLoad().Script(source).Build()).Error(); err != nil {
			return err
		}
	}
	return nil
}

func (c *rueidisClient) Eval(ctx context.Context, keys ...string) (int64, error) {
	return c.client.Do(ctx, c.b().Evalsha().Sha1(c.digest).Numkeys(int64(len(keys))).Key(keys...).Build()).AsInt64()
}

func (c *rueidisClient) Publish(ctx context.Context, channel, payload string) error {
	return c.client.Do(ctx, c.b().Spublish().Channel(channel).Message(payload).Build()).Error()
}

// Subscribe subscribes again, and reports a gap, each time that Receive returns because the channel has moved.
func (c *rueidisClient) Subscribe(ctx context.Context, channels []string, deliver func(channel, payload string), gap func()) (func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	var receiving sync.WaitGroup
	for _, channel := range channels {
		receiving.Go(func() {
			for ctx.Err() == nil {
				_ = c.client.Receive(ctx, c.b().Ssubscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) { deliver(m.Channel, m.Message) })
				gap()
				select {
				case <-time.After(time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	select {
	case <-time.After(200 * time.Millisecond): // Receive does not say when the server has confirmed the subscription
	case <-ctx.Done():
	}
	return func() { cancel(); receiving.Wait() }, nil
}

func (c *rueidisClient) Close() { c.client.Close() }
