// Rueidis runs rueidis against one server.
//
// usage: rueidis HOST PORT PROTOCOL [--auth USER:PASSWORD] [--cluster] [--dialer]
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/seed-2b0d76a6/respool/test/clients/go/program"
)

func main() {
	program.Run(func(ctx context.Context, args program.Args) error {
		t := &test{Args: args, ctx: ctx, prefix: fmt.Sprintf("rueidis:%d:", args.Protocol)}
		var err error
		if t.r, err = t.connect(rueidis.ClientOption{}); err != nil {
			return err
		}
		if t.other, err = t.connect(rueidis.ClientOption{}); err != nil {
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
	r, other rueidis.Client
	clients  []rueidis.Client
}

// connect leaves caching out unless it is asked for: with it every connection tracks.
func (t *test) connect(o rueidis.ClientOption) (rueidis.Client, error) {
	o.InitAddress, o.AlwaysRESP2 = []string{t.Addr}, t.Protocol == 2
	o.ForceSingleClient = true
	o.DisableCache = o.CacheSizeEachConn == 0
	if t.Dial != nil {
		o.DialCtxFn = func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return t.Dial(ctx, "tcp", addr)
		}
	}
	c, err := rueidis.NewClient(o)
	if err == nil {
		t.clients = append(t.clients, c)
	}
	return c, err
}

func (t *test) key(name string) string { return t.prefix + name }

func (t *test) run() error {
	t.hello()
	t.strings()
	t.collections()
	t.pipelines()
	t.transactions()
	t.scripts()
	parts := []func() error{t.blocking, t.streams, t.pubsub, t.scans, t.large, t.connection, t.auth}
	if !t.Cluster {
		parts = append(parts, t.databases, t.reset, t.caching)
	}
	for _, part := range parts {
		if err := part(); err != nil {
			return err
		}
	}
	t.errors()
	program.Concurrent(func() (int64, error) { return t.r.Do(t.ctx, t.r.B().Incr().Key(t.key("count")).Build()).AsInt64() })
	if err := t.cleanup(); err != nil {
		return err
	}
	for _, c := range t.clients {
		c.Close()
	}
	program.Say("close", len(t.clients))
	return nil
}

// doer is a client or a dedicated one.
type doer interface {
	B() rueidis.Builder
	Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult
}

// do gives what a command written as words brings.
func (t *test) do(c doer, words ...string) any {
	return value(c.Do(t.ctx, c.B().Arbitrary(words...).Build()))
}

// value is a reply as Go values, or an error.
func value(r rueidis.RedisResult) any { return program.Value(r.ToAny()) }

func (t *test) hello() {
	c, release := t.r.Dedicate()
	defer release()
	fields, err := c.Do(t.ctx, c.B().Arbitrary("HELLO").Build()).AsMap()
	if err != nil {
		program.Say("hello", err)
	}
	for _, name := range []string{"server", "proto", "mode", "role"} {
		field := fields[name]
		program.Say("hello", name, program.Value(field.ToAny()))
	}
	program.Say("ping", t.do(t.r, "PING"), t.do(t.r, "ECHO", "hello"))
}

func (t *test) strings() {
	ctx, r, key := t.ctx, t.r, t.key
	program.Say("strings set", value(r.Do(ctx, r.B().Set().Key(key("s")).Value("value").Build())), value(r.Do(ctx, r.B().Set().Key(key("s")).Value("no").Nx().Build())))
	program.Say("strings get", value(r.Do(ctx, r.B().Get().Key(key("s")).Build())), value(r.Do(ctx, r.B().Get().Key(key("none")).Build())))
	program.Say("strings incr", t.do(r, "INCR", key("n")), t.do(r, "INCRBY", key("n"), "41"), t.do(r, "INCRBYFLOAT", key("f"), "1.5"))
	program.Say("strings append", t.do(r, "APPEND", key("s"), "-more"), t.do(r, "GETRANGE", key("s"), "3", "7"))
	program.Say("strings mset", value(r.Do(ctx, r.B().Mset().KeyValue().KeyValue(key("a"), "1").KeyValue(key("b"), "").KeyValue(key("c"), "3").Build())))
	program.Say("strings mget", value(r.Do(ctx, r.B().Mget().Key(key("a"), key("b"), key("none"), key("c")).Build())))
	binary := program.Big()[:256] + "\r\n\x00$5\r\nhello\r\n*0\r\n\x00"
	set := value(r.Do(ctx, r.B().Set().Key(key("bin\r\n\x00")).Value(binary).Build()))
	got, err := r.Do(ctx, r.B().Get().Key(key("bin\r\n\x00")).Build()).ToString()
	program.Say("strings binary", set, got == binary, err)
	program.Say("strings delete", t.do(r, "DEL", key("a"), key("none")), t.do(r, "EXISTS", key("a"), key("b")))
	program.Say("strings type", t.do(r, "TYPE", key("s")), t.do(r, "GETSET", key("s"), "new"), t.do(r, "GETDEL", key("s")))
}

func (t *test) collections() {
	ctx, r, key := t.ctx, t.r, t.key
	program.Say("hashes", t.do(r, "HSET", key("h"), "f1", "1", "f2", "two"))
	program.Say("hashes", program.Value(r.Do(ctx, r.B().Hgetall().Key(key("h")).Build()).AsStrMap()))
	program.Say("hashes", t.do(r, "HGETALL", key("none")), t.do(r, "HINCRBY", key("h"), "f1", "4"))
	program.Say("hashes", value(r.Do(ctx, r.B().Hmget().Key(key("h")).Field("f1", "none").Build())), t.do(r, "HDEL", key("h"), "f2"))
	program.Say("lists", t.do(r, "RPUSH", key("l"), "a", "b", "c", "d"), t.do(r, "LRANGE", key("l"), "0", "-1"))
	program.Say("lists", t.do(r, "LPOP", key("l")), t.do(r, "RPOP", key("l"), "2"), t.do(r, "LPOP", key("none")), t.do(r, "LLEN", key("l")))
	members, err := r.Do(ctx, r.B().Sadd().Key(key("set")).Member("3", "1", "2").Build()).AsInt64()
	program.Say("sets", members, err, t.do(r, "SMEMBERS", key("set")))
	program.Say("sets", t.do(r, "SISMEMBER", key("set"), "1"), t.do(r, "SREM", key("set"), "1"), t.do(r, "SCARD", key("set")))
	program.Say("zsets", t.do(r, "ZADD", key("z"), "1", "one", "0.5", "half", "inf", "inf"))
	program.Say("zsets", program.Value(r.Do(ctx, r.B().Zrange().Key(key("z")).Min("0").Max("-1").Withscores().Build()).AsZScores()))
	program.Say("zsets", t.do(r, "ZSCORE", key("z"), "half"), t.do(r, "ZSCORE", key("z"), "none"), t.do(r, "ZRANK", key("z"), "inf"), t.do(r, "ZPOPMIN", key("z")))
}

func (t *test) pipelines() {
	r := t.r
	var cmds rueidis.Commands
	for i := range 250 {
		name := t.key(fmt.Sprint("p", i))
		cmds = append(cmds, r.B().Set().Key(name).Value(strconv.Itoa(i)).Build(), r.B().Get().Key(name).Build(),
			r.B().Incr().Key(t.key("pn")).Build(), r.B().Del().Key(name).Build())
	}
	all := values(r.DoMulti(t.ctx, cmds...))
	program.Say("pipeline", len(all), all[:4], all[len(all)-4:], program.Digest(fmt.Sprint(all)))
	name := t.key("ps")
	program.Say("pipeline error", values(r.DoMulti(t.ctx, r.B().Set().Key(name).Value("x").Build(),
		r.B().Lpush().Key(name).Element("y").Build(), r.B().Get().Key(name).Build())))
}

func values(replies []rueidis.RedisResult) []any {
	all := make([]any, len(replies))
	for i, r := range replies {
		all[i] = value(r)
	}
	return all
}

func (t *test) transactions() {
	ctx, r, key := t.ctx, t.r, t.key
	b := r.B()
	program.Say("multi", shown(r.DoMulti(ctx, b.Multi().Build(), b.Set().Key(key("t")).Value("1").Build(), b.Incr().Key(key("t")).Build(),
		b.Lpush().Key(key("t")).Element("wrong").Build(), b.Get().Key(key("t")).Build(), b.Exec().Build())))
	c, release := r.Dedicate()
	defer release()
	for _, change := range []bool{false, true} {
		program.Say("watch", value(c.Do(ctx, c.B().Watch().Key(key("t")).Build())), t.do(c, "GET", key("t")))
		if change {
			program.Say("watch", t.do(t.other, "SET", key("t"), "100"))
		}
		program.Say("watch", shown(c.DoMulti(ctx, c.B().Multi().Build(), c.B().Incr().Key(key("t")).Build(), c.B().Exec().Build())), t.do(c, "GET", key("t")))
	}
	program.Say("execabort", t.do(c, "MULTI"), t.do(c, "SET", key("t"), "9"), t.do(c, "NOSUCHCOMMAND", "a"), t.do(c, "GET"), t.do(c, "EXEC"))
	program.Say("discard", t.do(c, "MULTI"), t.do(c, "SET", key("t"), "9"), t.do(c, "DISCARD"), t.do(c, "GET", key("t")), t.do(c, "EXEC"))
}

// shown gives replies of a transaction, errors among EXEC's too.
func shown(replies []rueidis.RedisResult) []any {
	all := make([]any, len(replies))
	for i, r := range replies {
		elements, err := r.ToArray()
		if err != nil {
			all[i] = value(r)
			continue
		}
		var within []any
		for _, e := range elements {
			within = append(within, program.Value(e.ToAny()))
		}
		all[i] = within
	}
	return all
}

func (t *test) scripts() {
	ctx, r, key := t.ctx, t.r, t.key
	body := fmt.Sprintf("return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])} -- %d", time.Now().UnixNano())
	program.Say("eval", t.do(r, "EVAL", body, "1", key("n"), "argument"))
	program.Say("eval", t.do(r, "EVAL", "return {1, 'two', false, {ok='fine'}, {3, {4}}}", "0"))
	program.Say("eval", t.do(r, "EVAL", "return redis.error_reply('MINE own error')", "0"))
	program.Say("eval", t.do(r, "EVAL", "redis.setresp(3) return {{double=1.5}, {map={a=1}}, true}", "0"))
	program.Say("evalsha", t.do(r, "EVALSHA", strings.Repeat("f", 40), "0"))
	script := rueidis.NewLuaScript(body + "again") // EVALSHA, and EVAL after NOSCRIPT
	for range 2 {
		program.Say("evalsha", value(script.Exec(ctx, r, []string{key("n")}, []string{"x"})))
	}
	sha, err := r.Do(ctx, r.B().ScriptLoad().Script("return 'loaded'").Build()).ToString()
	program.Say("script load", sha, err, t.do(r, "SCRIPT", "EXISTS", sha, strings.Repeat("0", 40)), t.do(r, "EVALSHA", sha, "0"))
}

// served reports what a blocked command brings once it is served.
func (t *test) served(section string, wait rueidis.Completed, on doer, serve ...string) error {
	waited := make(chan any, 1)
	go func() { waited <- value(on.Do(t.ctx, wait)) }()
	err := program.Until("a blocked client", func() bool {
		list, err := t.other.Do(t.ctx, t.other.B().ClientList().Build()).ToString()
		return err == nil && strings.Contains(list, " flags=b ")
	})
	if err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	program.Say(section, t.do(t.other, serve...), <-waited)
	return nil
}

func (t *test) blocking() error {
	r, key := t.r, t.key
	b := r.B()
	c, release := r.Dedicate()
	defer release()
	id := fmt.Sprint(t.do(c, "CLIENT", "ID"))
	err := errors.Join(
		t.served("blpop", b.Blpop().Key(key("{q}1"), key("{q}2")).Timeout(20).Build(), r, "RPUSH", key("{q}2"), "job"),
		t.served("blmove", b.Blmove().Source(key("{q}1")).Destination(key("{q}2")).Left().Right().Timeout(20).Build(), r, "RPUSH", key("{q}1"), "moved"),
		t.served("bzpopmin", b.Bzpopmin().Key(key("bz")).Timeout(20).Build(), r, "ZADD", key("bz"), "2", "member"),
		t.served("unblock", c.B().Blpop().Key(key("{q}1")).Timeout(20).Build(), c, "CLIENT", "UNBLOCK", id),
		t.served("unblock", c.B().Blpop().Key(key("{q}1")).Timeout(20).Build(), c, "CLIENT", "UNBLOCK", id, "ERROR"),
	)
	program.Say("blmove", t.do(r, "LRANGE", key("{q}2"), "0", "-1"))
	for _, q := range []string{"{q}1", "{q}2"} {
		program.Say("blpop timeout", value(r.Do(t.ctx, b.Blpop().Key(key(q)).Timeout(0.05).Build())))
	}
	return err
}

func (t *test) streams() error {
	ctx, r, x := t.ctx, t.r, t.key("x")
	b := r.B()
	program.Say("xadd", t.do(r, "XADD", x, "1-1", "f", "1"), t.do(r, "XADD", x, "2-1", "f", "2", "g", "3"))
	program.Say("xgroup", t.do(r, "XGROUP", "CREATE", x, "g", "0"), t.do(r, "XLEN", x), t.do(r, "XGROUP", "CREATE", x, "g", "0"))
	read, err := r.Do(ctx, b.Xreadgroup().Group("g", "one").Count(10).Streams().Key(x).Id(">").Build()).AsXRead()
	program.Say("xreadgroup", read, err)
	late := b.Xreadgroup().Group("g", "two").Block(20000).Streams().Key(x).Id(">").Build()
	if err := t.served("xreadgroup block", late, r, "XADD", x, "3-1", "f", "late"); err != nil {
		return err
	}
	program.Say("xreadgroup timeout", value(r.Do(ctx, b.Xreadgroup().Group("g", "two").Block(30).Streams().Key(x).Id(">").Build())))
	last := b.Xread().Block(20000).Streams().Key(x).Id("$").Build()
	if err := t.served("xread block", last, r, "XADD", x, "4-1", "f", "last"); err != nil {
		return err
	}
	program.Say("xack", t.do(r, "XACK", x, "g", "1-1", "9-9"), t.do(r, "XPENDING", x, "g"))
	pending, err := r.Do(ctx, b.Xpending().Key(x).Group("g").Start("-").End("+").Count(10).Build()).ToArray()
	if err != nil {
		return err
	}
	for _, p := range pending {
		fields, _ := p.ToAny()
		if fields, ok := fields.([]any); ok && len(fields) == 4 {
			program.Say("xpending", fields[0], fields[1], fields[3])
		}
	}
	program.Say("xautoclaim", t.do(r, "XAUTOCLAIM", x, "g", "two", "0", "0", "COUNT", "10"))
	program.Say("xrange", program.Value(r.Do(ctx, b.Xrange().Key(x).Start("-").End("+").Build()).AsXRange()), t.do(r, "XDEL", x, "1-1"))
	return nil
}

func (t *test) pubsub() error {
	ctx, other, key := t.ctx, t.other, t.key
	c, release := t.r.Dedicate()
	defer release()
	events := make(chan []any, 100)
	next := func(section string, n int) error {
		for range n {
			select {
			case e := <-events:
				program.Say(section, e...)
			case <-time.After(10 * time.Second):
				return fmt.Errorf("%s: nothing came", section)
			}
		}
		return nil
	}
	c.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage:      func(m rueidis.PubSubMessage) { events <- []any{m.Pattern, m.Channel, m.Message} },
		OnSubscription: func(s rueidis.PubSubSubscription) { events <- []any{s.Kind, s.Channel, s.Count} },
	})
	publish := func(name, text string) any { return t.do(other, "PUBLISH", key(name), text) }
	for _, step := range []struct {
		cmd      rueidis.Completed
		replies  int
		publish  []string
		messages int
	}{
		{c.B().Subscribe().Channel(key("{ch}1"), key("{ch}2")).Build(), 2, nil, 0},
		{c.B().Psubscribe().Pattern(key("{ch}?")).Build(), 1, []string{"{ch}1", "\x00bin\r\n"}, 2},
		{c.B().Unsubscribe().Channel(key("{ch}1")).Build(), 1, []string{"{ch}1", "pattern only"}, 1},
		{c.B().Punsubscribe().Pattern(key("{ch}?")).Build(), 1, []string{"{ch}2", "channel only"}, 1},
		{c.B().Unsubscribe().Channel(key("{ch}2")).Build(), 1, []string{"{ch}1", "none"}, 0},
	} {
		if err := c.Do(ctx, step.cmd).Error(); err != nil {
			return err
		}
		if err := next("subscription", step.replies); err != nil {
			return err
		}
		program.Say("pubsub", t.do(other, "PUBSUB", "NUMSUB", key("{ch}1"), key("none")), t.do(other, "PUBSUB", "NUMPAT"))
		if len(step.publish) > 0 {
			program.Say("publish", publish(step.publish[0], step.publish[1]))
		}
		if err := next("message", step.messages); err != nil {
			return err
		}
	}
	return t.receive(publish)
}

// receive takes messages the other way, with Receive on a client that is shared.
func (t *test) receive(publish func(name, text string) any) error {
	ctx, cancel := context.WithTimeout(t.ctx, 10*time.Second)
	defer cancel()
	got, done := make(chan rueidis.PubSubMessage, 1), make(chan error, 1)
	go func() {
		done <- t.r.Receive(ctx, t.r.B().Subscribe().Channel(t.key("shared")).Build(), func(m rueidis.PubSubMessage) { got <- m })
	}()
	err := program.Until("the subscription", func() bool {
		n, err := t.other.Do(ctx, t.other.B().PubsubNumsub().Channel(t.key("shared")).Build()).ToArray()
		if err != nil || len(n) != 2 {
			return false
		}
		count, _ := n[1].ToInt64()
		return count == 1
	})
	if err != nil {
		return err
	}
	program.Say("publish", publish("shared", "one"))
	select {
	case m := <-got:
		program.Say("receive", m.Channel, m.Message)
	case err := <-done:
		return fmt.Errorf("receive: %w", err)
	}
	cancel()
	program.Say("receive", <-done)
	return nil
}

func (t *test) scans() error {
	ctx, r, key := t.ctx, t.r, t.key
	pairs, fields, members := []string{"MSET"}, []string{"HSET", key("bigh")}, []string{"SADD", key("bigs")}
	for i := range 300 {
		pairs = append(pairs, key(fmt.Sprint("scan", i)), strconv.Itoa(i))
	}
	for i := range 700 {
		fields = append(fields, fmt.Sprint("f", i), strconv.Itoa(i))
		members = append(members, fmt.Sprint("m", i))
	}
	program.Say("scan", t.do(r, pairs...), t.do(r, fields...), t.do(r, members...))
	b := r.B()
	return errors.Join(
		t.scan("scan", 1, func(at uint64) rueidis.Completed { return b.Scan().Cursor(at).Match(key("scan*")).Count(20).Build() }),
		t.scan("hscan", 2, func(at uint64) rueidis.Completed { return b.Hscan().Key(key("bigh")).Cursor(at).Count(20).Build() }),
		t.scan("sscan", 1, func(at uint64) rueidis.Completed { return b.Sscan().Key(key("bigs")).Cursor(at).Count(20).Build() }),
		ctx.Err(),
	)
}

// scan reports each step-th element of a scan.
func (t *test) scan(section string, step int, cmd func(cursor uint64) rueidis.Completed) error {
	found, err := t.all(step, cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", section, err)
	}
	program.Set(section, found)
	return nil
}

func (t *test) all(step int, cmd func(cursor uint64) rueidis.Completed) ([]string, error) {
	var found []string
	for cursor := uint64(0); ; {
		page, err := t.r.Do(t.ctx, cmd(cursor)).AsScanEntry()
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(page.Elements); i += step {
			found = append(found, page.Elements[i])
		}
		if cursor = page.Cursor; cursor == 0 {
			return found, nil
		}
	}
}

func (t *test) large() error {
	program.Say("large set", t.do(t.r, "SET", t.key("big"), program.Big()), t.do(t.r, "STRLEN", t.key("big")))
	got, err := t.r.Do(t.ctx, t.r.B().Get().Key(t.key("big")).Build()).ToString()
	program.Say("large get", len(got), program.Digest(got), t.do(t.r, "DEL", t.key("big")))
	return err
}
