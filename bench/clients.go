package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// client is a Redis client under load. Its methods check the replies. Many callers use it
// concurrently.
type client interface {
	get(caller int, key, want string) error
	set(caller int, key, value string) error
	pipeline(caller int, cmds []command) error
	push(caller int, key, value string) error // RPUSH
	// pop returns the element of a BLPOP, or "" after the timeout. A timeout of 0 waits without limit.
	pop(caller int, key string, timeout time.Duration) (string, error)
	read(caller int, stream string) (string, error) // XREADGROUP of one entry; returns the value of streamField
	echo(caller int, text string) error
	incr(caller int, key string) error
	hold(caller int, key, value string) error // SET, GET and STRLEN on a dedicated connection
	close()
}

// command is one of a pipeline: SET with value, or GET if value is the expected reply.
type command struct {
	set        bool
	key, value string
}

const (
	popValue    = "element"
	popTimeout  = 5 * time.Second // of a BLPOP that finds an element
	streamGroup = "workers"
	streamField = "sent"
)

// consumer returns the name of a caller in the group.
func consumer(caller int) string { return "worker-" + strconv.Itoa(caller) }

// redisBenchmark is the limit of the machine, measured with the tool of Redis.
const redisBenchmark = "redis-benchmark"

// clients open each client with its best documented settings for the case.
var clients = map[string]func(ctx context.Context, addr string, c benchCase) (client, error){
	"respool":       openRespool,
	"redigo":        openRedigo,
	"rueidis":       openRueidis,
	"rueidis-1":     openRueidisOne,
	"go-redis":      openGoRedis,
	"go-redis-auto": openGoRedisAuto,
}

func clientNames() string { return strings.Join(append(slices.Clone(everyone), redisBenchmark), ", ") }

func checkClients(names []string) error {
	for _, name := range names {
		if clients[name] == nil && name != redisBenchmark {
			return fmt.Errorf("unknown client %q: want one of %s", name, clientNames())
		}
	}
	return nil
}

// wrong returns the error for a reply that differs from the stored value.
func wrong(what, key string, n, want int) error {
	return fmt.Errorf("%s %s: the reply of %d bytes differs from the stored %d bytes", what, key, n, want)
}

func checkText(key, got, want string) error {
	if got != want {
		return wrong("GET", key, len(got), len(want))
	}
	return nil
}

func checkBytes(key string, got []byte, want string) error {
	if string(got) != want {
		return wrong("GET", key, len(got), len(want))
	}
	return nil
}

func checkOK(key, got string) error {
	if got != "OK" {
		return fmt.Errorf("SET %s: the reply is %q: want OK", key, got)
	}
	return nil
}

func (c *command) check(got string) error {
	if c.set {
		return checkOK(c.key, got)
	}
	return checkText(c.key, got, c.value)
}

func checkEcho(got, want string) error {
	if got != want {
		return fmt.Errorf("ECHO: the reply is %.80q: want %q", got, want)
	}
	return nil
}

// popped returns the element of a reply of BLPOP.
func popped(key string, got []string) (string, error) {
	if len(got) != 2 || got[0] != key {
		return "", fmt.Errorf("BLPOP %s: the reply is %.80q: want the key and an element", key, got)
	}
	return got[1], nil
}

func badEntry(stream string) error {
	return fmt.Errorf("XREADGROUP %s: want one entry with the field %s", stream, streamField)
}

func checkHeld(key, value, set, got string, n int64) error {
	if err := checkOK(key, set); err != nil {
		return err
	}
	if err := checkText(key, got, value); err != nil {
		return err
	}
	if n != int64(len(value)) {
		return fmt.Errorf("STRLEN %s: the reply is %d: want %d", key, n, len(value))
	}
	return nil
}
