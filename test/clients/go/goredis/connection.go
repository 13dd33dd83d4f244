package main

import (
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/seed-2b0d76a6/respool/test/clients/go/program"
)

func (t *test) databases() {
	ctx, r, key := t.ctx, t.r, t.key
	one := t.connect(redis.Options{DB: 1})
	program.Say("select", result(one.Set(ctx, key("db"), "in 1", 0)), result(r.Get(ctx, key("db"))), result(one.Get(ctx, key("db"))))
	conn := t.single(redis.Options{})
	defer conn.Close()
	program.Say("select", result(conn.Select(ctx, 1)), result(conn.Get(ctx, key("db"))), result(conn.Select(ctx, 0)), result(conn.Get(ctx, key("db"))))
	program.Say("select", result(conn.Select(ctx, 99)), result(one.Del(ctx, key("db"))))
}

func (t *test) connection() {
	ctx, key := t.ctx, t.key
	conn := t.single(redis.Options{ClientName: t.key("given")})
	defer conn.Close()
	program.Say("client", result(conn.ClientGetName(ctx)), result(conn.ClientSetName(ctx, key("name"))), result(conn.ClientGetName(ctx)))
	id, err := conn.ClientID(ctx).Result()
	program.Say("client list", strings.Count(conn.ClientList(ctx).Val(), " name="+key("name")+" "), id > 0, err)
	info, err := conn.ClientInfo(ctx).Result()
	if err != nil {
		program.Say("client info", err)
	} else {
		program.Say("client info", info.Name == key("name"), info.ID == id, info.DB, info.User)
	}
	do := func(args ...any) any { return program.Value(conn.Do(ctx, args...).Result()) }
	program.Say("client", result(conn.ClientSetName(ctx, "with space")), do("CLIENT", "NO-EVICT", "ON"), do("CLIENT", "NO-EVICT", "OFF"), do("CLIENT", "NOSUCH"))
}

func (t *test) reset() {
	conn := t.single(redis.Options{})
	defer conn.Close()
	do := func(args ...any) any { return program.Value(conn.Do(t.ctx, args...).Result()) }
	program.Say("reset", do("CLIENT", "SETNAME", "gone"), do("SELECT", 1), do("MULTI"))
	program.Say("reset", do("RESET"), do("CLIENT", "GETNAME"), do("GET", t.key("n")))
}

// caching has go-redis keep replies until the server tells that they have changed.
func (t *test) caching() error {
	one := t.connect(redis.Options{PoolSize: 1, ClientSideCacheConfig: &redis.ClientSideCacheConfig{MaxEntries: 100}})
	get := func() any { return result(one.Get(t.ctx, t.key("cached"))) }
	t.other.Set(t.ctx, t.key("cached"), "first", 0)
	program.Say("caching", get(), get(), get(), one.CSCStats().Hits, one.CSCStats().Misses)
	t.other.Set(t.ctx, t.key("cached"), "second", 0)
	if err := program.Until("the invalidation", func() bool { return get() == "second" }); err != nil {
		return err
	}
	program.Say("caching", get(), one.CSCStats().Misses, result(t.other.Del(t.ctx, t.key("cached"))))
	return nil
}

func (t *test) auth() {
	ctx, key := t.ctx, t.key
	alice := t.connect(redis.Options{Username: t.User, Password: t.Password})
	program.Say("auth", result(alice.ACLWhoAmI(ctx)), result(alice.Set(ctx, key("alice:k"), "hers", 0)), result(alice.Get(ctx, key("alice:k"))))
	program.Say("auth", result(alice.Get(ctx, key("n"))), result(alice.Keys(ctx, "*")))
	program.Say("auth wrong password", result(t.connect(redis.Options{Username: t.User, Password: "wrong"}).Ping(ctx)))
	program.Say("auth no such user", result(t.connect(redis.Options{Username: "nobody", Password: t.Password}).Ping(ctx)))
	conn := t.single(redis.Options{})
	defer conn.Close()
	program.Say("auth", result(conn.ACLWhoAmI(ctx)), result(conn.AuthACL(ctx, t.User, t.Password)), result(conn.ACLWhoAmI(ctx)))
	program.Say("auth", result(conn.AuthACL(ctx, t.User, "wrong")), result(conn.ACLWhoAmI(ctx)))
	program.Say("auth", result(t.r.ACLWhoAmI(ctx)), result(t.r.Get(ctx, key("alice:k"))))
}

func (t *test) errors() {
	ctx, r, key := t.ctx, t.r, t.key
	do := func(args ...any) { program.Say("errors", program.Value(r.Do(ctx, args...).Result())) }
	do("LPUSH", key("n"), "x")
	do("NOSUCHCOMMAND", "some", "arguments")
	do("GET")
	do("SET", key("n"), "1", "BADOPTION")
	do("INCR", key("b"))
	do("CONFIG", "NOSUCH")
	do("PING")
}

func (t *test) cleanup() {
	found := t.all(t.r.Scan(t.ctx, 0, t.prefix+"*", 500), 1)
	slices.Sort(found)
	found = slices.Compact(found)
	program.Say("cleanup", result(t.r.Del(t.ctx, found...)))
}
