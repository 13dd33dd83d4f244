package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/seed-2b0d76a6/respool/test/clients/go/program"
)

func (t *test) databases() error {
	one, err := t.connect(rueidis.ClientOption{SelectDB: 1})
	if err != nil {
		return err
	}
	name := t.key("db")
	program.Say("select", t.do(one, "SET", name, "in 1"), t.do(t.r, "GET", name), t.do(one, "GET", name))
	c, release := t.other.Dedicate()
	defer release()
	program.Say("select", t.do(c, "SELECT", "1"), t.do(c, "GET", name), t.do(c, "SELECT", "0"), t.do(c, "GET", name))
	program.Say("select", t.do(c, "SELECT", "99"), t.do(one, "DEL", name))
	return nil
}

func (t *test) connection() error {
	one, err := t.connect(rueidis.ClientOption{ClientName: t.key("given")})
	if err != nil {
		return err
	}
	c, release := one.Dedicate()
	defer release()
	name := t.key("name")
	program.Say("client", t.do(c, "CLIENT", "GETNAME"), t.do(c, "CLIENT", "SETNAME", name), t.do(c, "CLIENT", "GETNAME"))
	list, err := c.Do(t.ctx, c.B().ClientList().Build()).ToString()
	id, isInteger := t.do(c, "CLIENT", "ID").(int64)
	program.Say("client list", strings.Count(list, " name="+name+" "), err, isInteger)
	info, err := c.Do(t.ctx, c.B().ClientInfo().Build()).ToString()
	program.Say("client info", strings.Contains(info, " name="+name+" "), strings.Contains(info, fmt.Sprintf("id=%d ", id)), err)
	program.Say("client", t.do(c, "CLIENT", "SETNAME", "with space"), t.do(c, "CLIENT", "NO-EVICT", "ON"), t.do(c, "CLIENT", "NO-EVICT", "OFF"), t.do(c, "CLIENT", "NOSUCH"))
	return nil
}

func (t *test) reset() error {
	one, err := t.connect(rueidis.ClientOption{})
	if err != nil {
		return err
	}
	c, release := one.Dedicate()
	defer release()
	program.Say("reset", t.do(c, "CLIENT", "SETNAME", "gone"), t.do(c, "SELECT", "1"), t.do(c, "MULTI"))
	program.Say("reset", t.do(c, "RESET"), t.do(c, "CLIENT", "GETNAME"), t.do(c, "GET", t.key("n")))
	return nil
}

// caching has rueidis keep replies until the server tells that they have changed. One
// connection is enough for it, and each tracks.
func (t *test) caching() error {
	if t.Protocol == 2 {
		return nil
	}
	one, err := t.connect(rueidis.ClientOption{CacheSizeEachConn: 1 << 20, PipelineMultiplex: -1})
	if err != nil {
		return err
	}
	get := func() rueidis.RedisResult {
		return one.DoCache(t.ctx, one.B().Get().Key(t.key("cached")).Cache(), time.Minute)
	}
	program.Say("caching", t.do(t.other, "SET", t.key("cached"), "first"))
	for range 3 {
		got := get()
		program.Say("caching", value(got), got.IsCacheHit())
	}
	program.Say("caching", t.do(t.other, "SET", t.key("cached"), "second"))
	if err := program.Until("the invalidation", func() bool { return value(get()) == "second" }); err != nil {
		return err
	}
	got := get()
	program.Say("caching", value(got), got.IsCacheHit(), t.do(t.other, "DEL", t.key("cached")))
	return nil
}

func (t *test) auth() error {
	if t.User == "" {
		return nil
	}
	alice, err := t.connect(rueidis.ClientOption{Username: t.User, Password: t.Password})
	if err != nil {
		return err
	}
	hers := t.key("alice:k")
	program.Say("auth", t.do(alice, "ACL", "WHOAMI"), t.do(alice, "SET", hers, "hers"), t.do(alice, "GET", hers))
	program.Say("auth", t.do(alice, "GET", t.key("n")), t.do(alice, "KEYS", "*"))
	_, err = t.connect(rueidis.ClientOption{Username: t.User, Password: "wrong"})
	program.Say("auth wrong password", err)
	_, err = t.connect(rueidis.ClientOption{Username: "nobody", Password: t.Password})
	program.Say("auth no such user", err)
	one, err := t.connect(rueidis.ClientOption{})
	if err != nil {
		return err
	}
	c, release := one.Dedicate()
	defer release()
	program.Say("auth", t.do(c, "ACL", "WHOAMI"), t.do(c, "AUTH", t.User, t.Password), t.do(c, "ACL", "WHOAMI"))
	program.Say("auth", t.do(c, "AUTH", t.User, "wrong"), t.do(c, "ACL", "WHOAMI"), t.do(t.r, "ACL", "WHOAMI"), t.do(t.r, "GET", hers))
	return nil
}

func (t *test) errors() {
	for _, words := range [][]string{
		{"LPUSH", t.key("n"), "x"},
		{"NOSUCHCOMMAND", "some", "arguments"},
		{"GET"},
		{"SET", t.key("n"), "1", "BADOPTION"},
		{"INCR", t.key("b")},
		{"CONFIG", "NOSUCH"},
		{"PING"},
	} {
		program.Say("errors", t.do(t.r, words...))
	}
}

func (t *test) cleanup() error {
	found, err := t.all(1, func(at uint64) rueidis.Completed {
		return t.r.B().Scan().Cursor(at).Match(t.prefix + "*").Count(500).Build()
	})
	if err != nil {
		return err
	}
	slices.Sort(found)
	program.Say("cleanup", t.do(t.r, append([]string{"DEL"}, slices.Compact(found)...)...))
	return nil
}
