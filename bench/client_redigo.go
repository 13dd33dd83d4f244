package main

import (
	"context"
	"errors"
	"time"

	"github.com/gomodule/redigo/redis"
)

// redigoClient holds a connection for each caller, up to the size of its pool. With more callers,
// it takes a connection from the pool for each operation.
type redigoClient struct {
	pool *redis.Pool
	own  []redis.Conn
}

const poolOf = 100

func openRedigo(ctx context.Context, addr string, c benchCase) (client, error) {
	size := poolOf
	if c.Conns > 0 {
		size = c.Conns
	}
	r := &redigoClient{pool: &redis.Pool{
		MaxIdle: size, MaxActive: size, Wait: true,
		DialContext: func(ctx context.Context) (redis.Conn, error) { return redis.DialContext(ctx, "tcp", addr) },
	}}
	if c.Conns > 0 || c.Callers > poolOf {
		return r, nil
	}
	for range c.Callers {
		conn, err := r.pool.GetContext(ctx)
		if err != nil {
			return nil, err
		}
		r.own = append(r.own, conn)
	}
	return r, nil
}

func (r *redigoClient) conn(caller int) (redis.Conn, func()) {
	if r.own != nil {
		return r.own[caller], func() {}
	}
	c := r.pool.Get()
	return c, func() { _ = c.Close() }
}

func (r *redigoClient) get(caller int, key, want string) error {
	conn, done := r.conn(caller)
	defer done()
	got, err := redis.Bytes(conn.Do("GET", key))
	if err != nil {
		return err
	}
	return checkBytes(key, got, want)
}

func (r *redigoClient) set(caller int, key, value string) error {
	conn, done := r.conn(caller)
	defer done()
	got, err := redis.String(conn.Do("SET", key, value))
	if err != nil {
		return err
	}
	return checkOK(key, got)
}

func (r *redigoClient) pipeline(caller int, cmds []command) error {
	conn, done := r.conn(caller)
	defer done()
	for i := range cmds {
		var err error
		if c := &cmds[i]; c.set {
			err = conn.Send("SET", c.key, c.value)
		} else {
			err = conn.Send("GET", c.key)
		}
		if err != nil {
			return err
		}
	}
	if err := conn.Flush(); err != nil {
		return err
	}
	for i := range cmds {
		got, err := redis.String(conn.Receive())
		if err != nil {
			return err
		}
		if err := cmds[i].check(got); err != nil {
			return err
		}
	}
	return nil
}

func (r *redigoClient) push(caller int, key, value string) error {
	conn, done := r.conn(caller)
	defer done()
	_, err := redis.Int(conn.Do("RPUSH", key, value))
	return err
}

func (r *redigoClient) pop(caller int, key string, timeout time.Duration) (string, error) {
	conn, done := r.conn(caller)
	defer done()
	got, err := redis.Strings(conn.Do("BLPOP", key, timeout.Seconds()))
	if errors.Is(err, redis.ErrNil) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return popped(key, got)
}

func (r *redigoClient) read(caller int, stream string) (string, error) {
	conn, done := r.conn(caller)
	defer done()
	reply, err := conn.Do("XREADGROUP", "GROUP", streamGroup, consumer(caller), "COUNT", 1, "BLOCK", 0, "STREAMS", stream, ">")
	// One stream, which is its name and its entries; one entry, which is its ID and its fields.
	for range 2 {
		var one []any
		if one, err = redis.Values(reply, err); err == nil && len(one) == 1 {
			one, err = redis.Values(one[0], nil)
		}
		if err != nil {
			return "", err
		}
		if len(one) != 2 {
			return "", badEntry(stream)
		}
		reply = one[1]
	}
	fields, err := redis.StringMap(reply, nil)
	if err != nil || fields[streamField] == "" {
		return "", errors.Join(badEntry(stream), err)
	}
	return fields[streamField], nil
}

func (r *redigoClient) echo(caller int, text string) error {
	conn, done := r.conn(caller)
	defer done()
	got, err := redis.String(conn.Do("ECHO", text))
	if err != nil {
		return err
	}
	return checkEcho(got, text)
}

func (r *redigoClient) incr(caller int, key string) error {
	conn, done := r.conn(caller)
	defer done()
	_, err := redis.Int64(conn.Do("INCR", key))
	return err
}

func (r *redigoClient) hold(caller int, key, value string) error {
	conn, done := r.conn(caller)
	defer done()
	set, err := redis.String(conn.Do("SET", key, value))
	if err != nil {
		return err
	}
	got, err := redis.String(conn.Do("GET", key))
	if err != nil {
		return err
	}
	n, err := redis.Int64(conn.Do("STRLEN", key))
	if err != nil {
		return err
	}
	return checkHeld(key, value, set, got, n)
}

func (r *redigoClient) close() {
	for _, c := range r.own {
		_ = c.Close()
	}
	_ = r.pool.Close()
}
