//go:build linux

package clients

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// lines collects what a client returns.
type lines []string

func (l *lines) say(values ...any) { *l = append(*l, fmt.Sprintf("%+v", values)) }

// goRedisCluster returns what the cluster client of go-redis returns.
func goRedisCluster(ctx context.Context, addr string) (out lines, err error) {
	r := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}})
	defer func() { err = errors.Join(err, r.Close()) }()
	key := func(name any) string { return fmt.Sprint("go:", name) }
	cmds, err := r.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range 100 {
			p.Set(ctx, key(i), i, 0)
			p.Incr(ctx, key(i))
			p.Get(ctx, key(i))
		}
		return nil
	})
	out.say(err)
	for _, c := range cmds {
		out.say(c)
	}
	out.say(r.DBSize(ctx).Result())
	out.say(r.MSet(ctx, "{go}1", "a", "{go}2", "b"), r.MGet(ctx, "{go}1", "{go}2", "{go}3"), r.SUnion(ctx, key(1), key(2)))
	out.say(r.LPush(ctx, key(1), "x"), r.Do(ctx, "GETSET", key(1)), r.ClusterKeySlot(ctx, key(1)))
	cmds, err = r.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, "{go}n")
		p.LPush(ctx, "{go}n", "wrong")
		return nil
	})
	out.say(err, cmds)
	for _, change := range []bool{false, true} {
		err := r.Watch(ctx, func(tx *redis.Tx) error {
			if change {
				r.Set(ctx, "{go}n", "100", 0)
			}
			_, err := tx.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Incr(ctx, "{go}n").Err() })
			return err
		}, "{go}n")
		out.say(err, r.Get(ctx, "{go}n"))
	}
	script := redis.NewScript("return {KEYS[1], redis.call('INCR', KEYS[1])}")
	for i := range 10 {
		out.say(script.Run(ctx, r, []string{key(fmt.Sprint("script", i))}).Result())
	}
	out.say(r.ScriptLoad(ctx, "return 'loaded'"), r.ScriptExists(ctx, script.Hash()))
	popped := make(chan any, 1)
	go func() { popped <- r.BLPop(ctx, 20*time.Second, "{go}q1", "{go}q2") }()
	out.say(r.RPush(ctx, "{go}q2", "job"), <-popped, r.BLPop(ctx, time.Second, "{go}q1"))
	out.say(r.XAdd(ctx, &redis.XAddArgs{Stream: "go:x", ID: "1-1", Values: []string{"f", "1"}}), r.XGroupCreate(ctx, "go:x", "g", "0"))
	out.say(r.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "c", Streams: []string{"go:x", ">"}, Block: time.Second}))
	for i, sub := range []*redis.PubSub{r.Subscribe(ctx, "go:news"), r.SSubscribe(ctx, "go:shard")} {
		first, err := sub.Receive(ctx)
		out.say(first, err)
		if i == 0 {
			err = r.Publish(ctx, "go:news", "one").Err() // it counts subscribers at one node
		} else {
			err = r.SPublish(ctx, "go:shard", "two").Err()
		}
		message, failed := sub.ReceiveMessage(ctx)
		out.say(message, err, failed, sub.Close())
	}
	return out, r.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() })
}

// rueidisCluster returns what the cluster client of rueidis returns.
func rueidisCluster(ctx context.Context, addr string) (out lines, err error) {
	r, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Mode() != rueidis.ClientModeCluster {
		return nil, fmt.Errorf("its mode is %v: want cluster", r.Mode())
	}
	key := func(name any) string { return fmt.Sprint("rueidis:", name) }
	b := r.B()
	say := func(replies ...rueidis.RedisResult) {
		for _, reply := range replies {
			value, err := reply.ToAny()
			out.say(value, err)
		}
	}
	do := func(c rueidis.Completed) { say(r.Do(ctx, c)) }
	var cmds rueidis.Commands
	for i := range 100 {
		cmds = append(cmds, b.Set().Key(key(i)).Value(strconv.Itoa(i)).Build(), b.Incr().Key(key(i)).Build(), b.Get().Key(key(i)).Build())
	}
	say(r.DoMulti(ctx, cmds...)...)
	found, err := rueidis.MGet(r, ctx, []string{key(1), key(2), key(3), key("none")})
	out.say(len(found), err)
	do(b.Lpush().Key(key(1)).Element("x").Build())
	do(b.Arbitrary("NOSUCHCOMMAND").Keys(key(1)).Build())
	err = r.Dedicated(func(c rueidis.DedicatedClient) error {
		b := c.B()
		say(c.DoMulti(ctx, b.Watch().Key("{rueidis}n").Build(), b.Multi().Build(), b.Incr().Key("{rueidis}n").Build(), b.Exec().Build())...)
		say(c.Do(ctx, b.Watch().Key("{rueidis}n").Build()))
		do(r.B().Set().Key("{rueidis}n").Value("100").Build())
		say(c.DoMulti(ctx, b.Multi().Build(), b.Incr().Key("{rueidis}n").Build(), b.Exec().Build())...)
		return nil
	})
	out.say(err)
	script := rueidis.NewLuaScript("return {KEYS[1], redis.call('INCR', KEYS[1])}")
	for i := range 10 {
		say(script.Exec(ctx, r, []string{key(fmt.Sprint("script", i))}, nil))
	}
	popped := make(chan rueidis.RedisResult, 1)
	go func() { popped <- r.Do(ctx, r.B().Blpop().Key("{rueidis}q1", "{rueidis}q2").Timeout(20).Build()) }()
	do(b.Rpush().Key("{rueidis}q2").Element("job").Build())
	say(<-popped)
	do(b.Blpop().Key("{rueidis}q1").Timeout(0.05).Build())
	do(b.Xadd().Key(key("x")).Id("1-1").FieldValue().FieldValue("f", "1").Build())
	do(b.Xread().Block(1000).Streams().Key(key("x")).Id("0").Build())
	for _, shard := range []bool{false, true} {
		subscribe := b.Subscribe().Channel("rueidis:news").Build()
		publish := func() rueidis.Completed { return r.B().Publish().Channel("rueidis:news").Message("m").Build() }
		if shard {
			subscribe = b.Ssubscribe().Channel("rueidis:news").Build()
			publish = func() rueidis.Completed { return r.B().Spublish().Channel("rueidis:news").Message("m").Build() }
		}
		receiving, stop := context.WithCancel(ctx)
		got := make(chan string, 1000)
		ended := make(chan error, 1)
		go func() {
			ended <- r.Receive(receiving, subscribe, func(m rueidis.PubSubMessage) { got <- m.Channel + " " + m.Message })
		}()
		var message string
		for message == "" && ctx.Err() == nil { // a message that precedes the subscription is lost
			if err := r.Do(ctx, publish()).Error(); err != nil {
				stop()
				return out, errors.Join(err, <-ended)
			}
			select {
			case message = <-got:
			case <-time.After(10 * time.Millisecond):
			}
		}
		stop()
		out.say(message, <-ended)
	}
	for _, n := range r.Nodes() {
		if err := n.Do(ctx, n.B().Flushall().Build()).Error(); err != nil {
			return out, err
		}
	}
	return out, nil
}
