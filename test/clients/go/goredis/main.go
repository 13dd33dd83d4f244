// Goredis runs go-redis against one server.
//
// usage: goredis HOST PORT PROTOCOL [--auth USER:PASSWORD] [--cluster] [--dialer]
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-2b0d76a6/respool/test/clients/go/program"
)

func main() {
	program.Run(func(ctx context.Context, args program.Args) error {
		t := &test{Args: args, ctx: ctx, prefix: fmt.Sprintf("goredis:%d:", args.Protocol)}
		t.r, t.other = t.connect(redis.Options{}), t.connect(redis.Options{})
		if err := t.r.Ping(ctx).Err(); err != nil {
			return err
		}
		return t.run()
	})
}

// test is one run.
type test struct {
	program.Args
	ctx      context.Context
	prefix   string
	r, other *redis.Client
	clients  []*redis.Client
}

func (t *test) connect(o redis.Options) *redis.Client {
	o.Addr, o.Protocol, o.Dialer = t.Addr, t.Protocol, t.Dial
	c := redis.NewClient(&o)
	t.clients = append(t.clients, c)
	return c
}

// single is a client whose commands all run on one connection, which nobody else takes
// over afterwards.
func (t *test) single(o redis.Options) *redis.Conn {
	o.PoolSize = 1
	return t.connect(o).Conn()
}

func (t *test) key(name string) string { return t.prefix + name }

func (t *test) run() error {
	t.hello()
	t.strings()
	t.collections()
	t.pipelines()
	t.transactions()
	t.scripts()
	for _, waits := range []func() error{t.blocking, t.streams, t.pubsub} {
		if err := waits(); err != nil {
			return err
		}
	}
	t.scans()
	t.large()
	t.connection()
	if !t.Cluster {
		t.databases()
		t.reset()
	}
	if t.Protocol == 3 && !t.Cluster {
		if err := t.caching(); err != nil {
			return err
		}
	}
	if t.User != "" {
		t.auth()
	}
	t.errors()
	program.Concurrent(func() (int64, error) { return t.r.Incr(t.ctx, t.key("count")).Result() })
	t.cleanup()
	for _, c := range t.clients {
		if err := c.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	program.Say("close", len(t.clients))
	return nil
}

func (t *test) hello() {
	conn := t.single(redis.Options{})
	defer conn.Close()
	fields, err := conn.Hello(t.ctx, t.Protocol, "", "", "").Result()
	program.Say("hello", fields["server"], fields["proto"], fields["mode"], fields["role"], err)
	program.Say("ping", result(t.r.Ping(t.ctx)), result(t.r.Echo(t.ctx, "hello")))
}

// result is what a command brought.
func result[T any](cmd interface{ Result() (T, error) }) any { return program.Value(cmd.Result()) }

func (t *test) strings() {
	ctx, r, key := t.ctx, t.r, t.key
	program.Say("strings set", result(r.Set(ctx, key("s"), "value", 0)), result(r.SetNX(ctx, key("s"), "no", 0)))
	program.Say("strings get", result(r.Get(ctx, key("s"))), result(r.Get(ctx, key("none"))))
	program.Say("strings incr", result(r.Incr(ctx, key("n"))), result(r.IncrBy(ctx, key("n"), 41)), result(r.IncrByFloat(ctx, key("f"), 1.5)))
	program.Say("strings append", result(r.Append(ctx, key("s"), "-more")), result(r.GetRange(ctx, key("s"), 3, 7)))
	program.Say("strings mset", result(r.MSet(ctx, key("a"), "1", key("b"), "", key("c"), "3")))
	program.Say("strings mget", result(r.MGet(ctx, key("a"), key("b"), key("none"), key("c"))))
	binary := program.Big()[:256] + "\r\n\x00$5\r\nhello\r\n*0\r\n\x00"
	got, err := r.Set(ctx, key("bin\r\n\x00"), binary, 0).Result()
	program.Say("strings binary", got, err, r.Get(ctx, key("bin\r\n\x00")).Val() == binary)
	program.Say("strings delete", result(r.Del(ctx, key("a"), key("none"))), result(r.Exists(ctx, key("a"), key("b"))))
	program.Say("strings type", result(r.Type(ctx, key("s"))), result(r.SetArgs(ctx, key("s"), "new", redis.SetArgs{Get: true})), result(r.GetDel(ctx, key("s"))))
}

func (t *test) collections() {
	ctx, r, key := t.ctx, t.r, t.key
	program.Say("hashes", result(r.HSet(ctx, key("h"), "f1", "1", "f2", "two")), result(r.HGetAll(ctx, key("h"))), result(r.HGetAll(ctx, key("none"))))
	program.Say("hashes", result(r.HIncrBy(ctx, key("h"), "f1", 4)), result(r.HMGet(ctx, key("h"), "f1", "none")), result(r.HDel(ctx, key("h"), "f2")))
	program.Say("lists", result(r.RPush(ctx, key("l"), "a", "b", "c", "d")), result(r.LRange(ctx, key("l"), 0, -1)))
	program.Say("lists", result(r.LPop(ctx, key("l"))), result(r.RPopCount(ctx, key("l"), 2)), result(r.LPop(ctx, key("none"))), result(r.LLen(ctx, key("l"))))
	program.Say("sets", result(r.SAdd(ctx, key("set"), "x", "y", "z")))
	program.Set("sets", r.SMembers(ctx, key("set")).Val())
	program.Say("sets", result(r.SIsMember(ctx, key("set"), "x")), result(r.SRem(ctx, key("set"), "x")), result(r.SCard(ctx, key("set"))))
	program.Say("zsets", result(r.ZAdd(ctx, key("z"), redis.Z{Score: 1, Member: "one"}, redis.Z{Score: 0.5, Member: "half"})))
	program.Say("zsets", result(r.ZRangeWithScores(ctx, key("z"), 0, -1)), result(r.ZScore(ctx, key("z"), "half")))
	program.Say("zsets", result(r.ZScore(ctx, key("z"), "none")), result(r.ZRank(ctx, key("z"), "one")), result(r.ZPopMin(ctx, key("z"))))
}

func values(cmds []redis.Cmder) []any {
	var all []any
	for _, c := range cmds {
		switch c := c.(type) {
		case *redis.StatusCmd:
			all = append(all, program.Value(c.Result()))
		case *redis.StringCmd:
			all = append(all, program.Value(c.Result()))
		case *redis.IntCmd:
			all = append(all, program.Value(c.Result()))
		case *redis.Cmd:
			all = append(all, program.Value(c.Result()))
		}
	}
	return all
}

func (t *test) pipelines() {
	cmds, err := t.r.Pipelined(t.ctx, func(p redis.Pipeliner) error {
		for i := range 250 {
			name := t.key(fmt.Sprint("p", i))
			p.Set(t.ctx, name, i, 0)
			p.Get(t.ctx, name)
			p.Incr(t.ctx, t.key("pn"))
			p.Del(t.ctx, name)
		}
		return nil
	})
	all := values(cmds)
	program.Say("pipeline", err, len(all), all[:4], all[len(all)-4:], program.Digest(fmt.Sprint(all)))
	cmds, err = t.r.Pipelined(t.ctx, func(p redis.Pipeliner) error {
		p.Set(t.ctx, t.key("ps"), "x", 0)
		p.LPush(t.ctx, t.key("ps"), "y")
		p.Get(t.ctx, t.key("ps"))
		return nil
	})
	program.Say("pipeline error", err, values(cmds))
}

func (t *test) transactions() {
	ctx, r, key := t.ctx, t.r, t.key
	cmds, err := r.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, key("t"), "1", 0)
		p.Incr(ctx, key("t"))
		p.LPush(ctx, key("t"), "wrong")
		p.Get(ctx, key("t"))
		return nil
	})
	program.Say("multi", err, values(cmds))
	for _, change := range []bool{false, true} {
		err := r.Watch(ctx, func(tx *redis.Tx) error {
			n, err := tx.Get(ctx, key("t")).Int()
			if err != nil {
				return err
			}
			if change {
				t.other.Set(ctx, key("t"), "100", 0)
			}
			_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, key("t"), n+1, 0)
				return nil
			})
			return err
		}, key("t"))
		program.Say("watch", err, result(r.Get(ctx, key("t"))))
	}
	cmds, err = r.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, key("t"), "9", 0)
		p.Do(ctx, "NOSUCHCOMMAND", "b")
		return nil
	})
	program.Say("execabort", err, values(cmds))
	conn := t.single(redis.Options{})
	defer conn.Close()
	do := func(args ...any) any { return program.Value(conn.Do(ctx, args...).Result()) }
	program.Say("execabort", do("MULTI"), do("SET", key("t"), "9"), do("NOSUCHCOMMAND", "a"), do("GET"), do("EXEC"))
	program.Say("discard", do("MULTI"), do("SET", key("t"), "9"), do("DISCARD"), do("GET", key("t")), do("EXEC"))
}

func (t *test) scripts() {
	ctx, r, key := t.ctx, t.r, t.key
	body := fmt.Sprintf("return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])} -- %d", time.Now().UnixNano())
	program.Say("eval", result(r.Eval(ctx, body, []string{key("n")}, "argument")))
	program.Say("eval", result(r.Eval(ctx, "return {1, 'two', false, {ok='fine'}, {3, {4}}}", nil)))
	program.Say("eval", result(r.Eval(ctx, "return redis.error_reply('MINE own error')", nil)))
	program.Say("evalsha", result(r.EvalSha(ctx, strings.Repeat("f", 40), nil)))
	script := redis.NewScript(body + "again") // EVALSHA, and EVAL after NOSCRIPT
	for range 2 {
		program.Say("evalsha", result(script.Run(ctx, r, []string{key("n")}, "x")))
	}
	sha, err := r.ScriptLoad(ctx, "return 'loaded'").Result()
	program.Say("script load", sha, err, result(r.ScriptExists(ctx, sha, strings.Repeat("0", 40))), result(r.EvalSha(ctx, sha, nil)))
}

// served reports what a blocked command brings once it is served.
func (t *test) served(section string, wait func() any, serve func() error) error {
	waited := make(chan any, 1)
	go func() { waited <- wait() }()
	err := program.Until("a blocked client", func() bool {
		list, err := t.other.ClientList(t.ctx).Result()
		return err == nil && strings.Contains(list, " flags=b ")
	})
	if err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	if err := serve(); err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	program.Say(section, <-waited)
	return nil
}

func (t *test) blocking() error {
	ctx, r, other, key := t.ctx, t.r, t.other, t.key
	conn := t.single(redis.Options{})
	defer conn.Close()
	for _, one := range []struct {
		section string
		wait    func() any
		serve   func() error
	}{
		{
			"blpop",
			func() any { return result(r.BLPop(ctx, 20*time.Second, key("{q}1"), key("{q}2"))) },
			func() error { return other.RPush(ctx, key("{q}2"), "job").Err() },
		},
		{
			"blmove",
			func() any { return result(r.BLMove(ctx, key("{q}1"), key("{q}2"), "LEFT", "RIGHT", 20*time.Second)) },
			func() error { return other.RPush(ctx, key("{q}1"), "moved").Err() },
		},
		{
			"bzpopmin",
			func() any { return *r.BZPopMin(ctx, 20*time.Second, key("bz")).Val() },
			func() error { return other.ZAdd(ctx, key("bz"), redis.Z{Score: 2, Member: "member"}).Err() },
		},
		{
			"unblock",
			func() any { return result(conn.BLPop(ctx, 20*time.Second, key("{q}1"))) },
			t.unblock(conn, false),
		},
		{
			"unblock error",
			func() any { return result(conn.BLPop(ctx, 20*time.Second, key("{q}1"))) },
			t.unblock(conn, true),
		},
	} {
		if err := t.served(one.section, one.wait, one.serve); err != nil {
			return err
		}
	}
	program.Say("blmove", result(r.LRange(ctx, key("{q}2"), 0, -1)))
	program.Say("blpop timeout", result(r.BLPop(ctx, time.Second, key("{q}1"))), result(r.BLPop(ctx, time.Second, key("{q}2"))))
	return nil
}

func (t *test) unblock(conn *redis.Conn, withError bool) func() error {
	id := conn.ClientID(t.ctx).Val()
	return func() error {
		if withError {
			return t.other.ClientUnblockWithError(t.ctx, id).Err()
		}
		return t.other.ClientUnblock(t.ctx, id).Err()
	}
}

func (t *test) streams() error {
	ctx, r, key := t.ctx, t.r, t.key
	add := func(id string, fields ...string) *redis.StringCmd {
		return t.other.XAdd(ctx, &redis.XAddArgs{Stream: key("x"), ID: id, Values: fields})
	}
	group := func(consumer string, block time.Duration) any {
		return result(r.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: consumer, Streams: []string{key("x"), ">"}, Count: 10, Block: block}))
	}
	program.Say("xadd", result(add("1-1", "f", "1")), result(add("2-1", "f", "2", "g", "3")))
	program.Say("xgroup", result(r.XGroupCreate(ctx, key("x"), "g", "0")), result(r.XLen(ctx, key("x"))), result(r.XGroupCreate(ctx, key("x"), "g", "0")))
	program.Say("xreadgroup", group("one", -1))
	err := t.served("xreadgroup block", func() any { return group("two", 20*time.Second) }, func() error { return add("3-1", "f", "late").Err() })
	if err != nil {
		return err
	}
	program.Say("xreadgroup timeout", group("two", 30*time.Millisecond))
	last := func() any {
		return result(r.XRead(ctx, &redis.XReadArgs{Streams: []string{key("x"), "$"}, Block: 20 * time.Second}))
	}
	if err := t.served("xread block", last, func() error { return add("4-1", "f", "last").Err() }); err != nil {
		return err
	}
	pending, err := r.XPending(ctx, key("x"), "g").Result()
	if err != nil {
		return err
	}
	program.Say("xack", result(r.XAck(ctx, key("x"), "g", "1-1", "9-9")), *pending)
	for _, p := range r.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key("x"), Group: "g", Start: "-", End: "+", Count: 10}).Val() {
		program.Say("xpending", p.ID, p.Consumer, p.RetryCount)
	}
	claimed, start, err := r.XAutoClaim(ctx, &redis.XAutoClaimArgs{Stream: key("x"), Group: "g", Consumer: "two", Start: "0", Count: 10}).Result()
	program.Say("xautoclaim", claimed, start, err)
	program.Say("xrange", result(r.XRange(ctx, key("x"), "-", "+")), result(r.XDel(ctx, key("x"), "1-1")))
	return nil
}

func (t *test) pubsub() error {
	ctx, other, key := t.ctx, t.other, t.key
	sub := t.r.Subscribe(ctx, key("{ch}1"), key("{ch}2"))
	defer sub.Close()
	receive := func(section string, n int) error {
		for range n {
			got, err := sub.ReceiveTimeout(ctx, 10*time.Second)
			if err != nil {
				return fmt.Errorf("%s: %w", section, err)
			}
			if m, ok := got.(*redis.Message); ok {
				program.Say(section, m.Pattern, m.Channel, m.Payload)
			} else {
				program.Say(section, fmt.Sprint(got))
			}
		}
		return nil
	}
	publish := func(name, text string) any { return result(other.Publish(ctx, key(name), text)) }
	if err := sub.PSubscribe(ctx, key("{ch}?")); err != nil {
		return err
	}
	if err := receive("subscribe", 3); err != nil {
		return err
	}
	channels := other.PubSubChannels(ctx, key("*")).Val()
	slices.Sort(channels)
	program.Say("pubsub", channels, result(other.PubSubNumSub(ctx, key("{ch}1"), key("none"))), result(other.PubSubNumPat(ctx)))
	program.Say("publish", publish("{ch}1", "\x00bin\r\n"), publish("{ch}3", "three"), publish("nobody", ""))
	if err := receive("message", 3); err != nil {
		return err
	}
	if err := sub.Ping(ctx, "still here"); err != nil {
		return err
	}
	if err := receive("ping", 1); err != nil {
		return err
	}
	if err := sub.Unsubscribe(ctx, key("{ch}1")); err != nil {
		return err
	}
	if err := receive("unsubscribe", 1); err != nil {
		return err
	}
	program.Say("publish", publish("{ch}1", "pattern only"))
	if err := receive("message", 1); err != nil {
		return err
	}
	if err := sub.PUnsubscribe(ctx); err != nil {
		return err
	}
	if err := sub.Unsubscribe(ctx); err != nil {
		return err
	}
	if err := receive("unsubscribe", 2); err != nil {
		return err
	}
	program.Say("publish", publish("{ch}1", "none"))
	return nil
}

func (t *test) scans() {
	ctx, r, key := t.ctx, t.r, t.key
	var pairs, fields, members []any
	for i := range 300 {
		pairs = append(pairs, key(fmt.Sprint("scan", i)), i)
	}
	for i := range 700 {
		fields = append(fields, fmt.Sprint("f", i), i)
		members = append(members, fmt.Sprint("m", i))
	}
	program.Say("scan", result(r.MSet(ctx, pairs...)), result(r.HSet(ctx, key("bigh"), fields...)), result(r.SAdd(ctx, key("bigs"), members...)))
	program.Set("scan", t.all(r.Scan(ctx, 0, key("scan*"), 20), 1))
	program.Set("hscan", t.all(r.HScan(ctx, key("bigh"), 0, "", 20), 2))
	program.Set("sscan", t.all(r.SScan(ctx, key("bigs"), 0, "", 20), 1))
}

// all collects each step-th element of a scan.
func (t *test) all(scan *redis.ScanCmd, step int) []string {
	var found []string
	i := 0
	for it := scan.Iterator(); it.Next(t.ctx); i++ {
		if i%step == 0 {
			found = append(found, it.Val())
		}
	}
	return found
}

func (t *test) large() {
	ctx, r, key := t.ctx, t.r, t.key
	program.Say("large set", result(r.Set(ctx, key("big"), program.Big(), 0)), result(r.StrLen(ctx, key("big"))))
	got, err := r.Get(ctx, key("big")).Result()
	program.Say("large get", err, len(got), program.Digest(got), result(r.Del(ctx, key("big"))))
}
