package clusterload

import (
	"context"
	"errors"
	"time"
)

// Client is a client of a cluster under test. All methods are safe for concurrent use.
type Client interface {
	// Get returns the value of a key; empty if there is none.
	Get(ctx context.Context, key string) (string, error)
	Set(ctx context.Context, key, value string) error
	Incr(ctx context.Context, key string) (int64, error)
	// Pipeline sends commands of any slots as one batch, and returns a result for each.
	Pipeline(ctx context.Context, commands []Command) []Result
	// Multi increments keys of one slot in one transaction.
	Multi(ctx context.Context, keys ...string) ([]int64, error)
	// WatchIncr reads a number under WATCH and writes its successor in a transaction. It returns
	// ErrConflict if the transaction was not executed.
	WatchIncr(ctx context.Context, key string) (int64, error)
	Push(ctx context.Context, key, value string) error
	// Pop waits for an element with BLPOP. It returns ErrNothing if none arrived in time.
	Pop(ctx context.Context, key string, wait time.Duration) (string, error)
	Range(ctx context.Context, key string) ([]string, error)
	// CreateGroup creates a stream with the group "g".
	CreateGroup(ctx context.Context, key string) error
	Add(ctx context.Context, key, value string) error
	// ReadGroup waits for the next entries of a stream with XREADGROUP, and returns their values. It
	// returns ErrNothing if none arrived in time.
	ReadGroup(ctx context.Context, key string, wait time.Duration) ([]string, error)
	// Load loads a script, and Eval runs it with EVALSHA.
	Load(ctx context.Context, source string) error
	Eval(ctx context.Context, keys ...string) (int64, error)
	Publish(ctx context.Context, channel, payload string) error
	// Subscribe subscribes to shard channels of any slots. It passes messages to deliver, and calls gap
	// where messages may be missing, if the client reports that. Both run on any goroutine, one
	// call at a time for each channel. stop returns when none of them runs.
	Subscribe(ctx context.Context, channels []string, deliver func(channel, payload string), gap func()) (stop func(), err error)
	Close()
}

var (
	// ErrConflict is the error of a transaction that was not executed because of WATCH.
	ErrConflict = errors.New("a watched key changed")
	// ErrNothing is the error of a wait that found nothing.
	ErrNothing = errors.New("nothing arrived in time")
)

// Command is a command of a pipeline: INCR without a value, RPUSH with one.
type Command struct{ Key, Value string }

// Result is the reply to a command of a pipeline.
type Result struct {
	N   int64
	Err error
}

// script increments all its keys, and returns the last number.
const script = "local n = 0 for _, k in ipairs(KEYS) do n = redis.call('INCR', k) end return n"
