package e2e_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

type (
	namedText  string
	namedBytes []byte
	namedInt   int16
	namedFloat float64
	namedBool  bool
)

func TestArgumentsOfAllTypes(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	for _, tt := range []struct {
		arg  any
		want string
	}{
		{"text", "text"}, {[]byte("bytes"), "bytes"}, {[]byte(nil), ""}, {"", ""},
		{int(-1), "-1"}, {int8(math.MinInt8), "-128"}, {int16(300), "300"}, {int32(-70000), "-70000"},
		{int64(math.MinInt64), "-9223372036854775808"}, {uint(7), "7"}, {uint8(255), "255"}, {uint16(65535), "65535"},
		{uint32(math.MaxUint32), "4294967295"}, {uint64(math.MaxUint64), "18446744073709551615"},
		{float32(0.1), "0.1"}, {1.0, "1"}, {1e6, "1000000"}, {0.1, "0.1"}, {1e300, "1e+300"}, {math.Inf(-1), "-inf"},
		{true, "1"}, {false, "0"},
		{namedText("n"), "n"}, {namedBytes("b"), "b"}, {namedInt(-5), "-5"}, {namedFloat(2.5), "2.5"}, {namedBool(true), "1"},
	} {
		wantText(t, mustDo(t, c, "ECHO", tt.arg), tt.want)
	}
	wantText(t, mustDo(t, c, namedText("echo"), "named"), "named")
	wantText(t, mustDo(t, c, namedBytes("Echo"), "named"), "named")
	wantText(t, mustDo(t, c, []byte("eChO"), "bytes"), "bytes")
}

// senders are the ways to send a command. Each returns the error.
func senders(ctx context.Context, c *respool.Client, conn *respool.Conn) map[string]func(args ...any) error {
	return map[string]func(args ...any) error{
		"Do":      func(args ...any) error { return c.Do(ctx, args...).Err() },
		"Conn.Do": func(args ...any) error { return conn.Do(ctx, args...).Err() },
		"Pipeline": func(args ...any) error {
			_, err := c.Pipeline().Do("SET", "a", 1).Do(args...).Do("SET", "b", 1).Exec(ctx)
			return err
		},
		"Conn.Pipeline": func(args ...any) error {
			_, err := conn.Pipeline().Do("SET", "a", 1).Do(args...).Do("SET", "b", 1).Exec(ctx)
			return err
		},
		"Transaction": func(args ...any) error {
			_, err := c.Transaction().Do("SET", "a", 1).Do(args...).Do("SET", "b", 1).Exec(ctx)
			return err
		},
		"Watch": func(args ...any) error {
			_, err := c.Watch(ctx, []string{"w"}, func(w *respool.Watched) error {
				w.Queue("SET", "a", 1).Queue(args...).Queue("SET", "b", 1)
				return nil
			})
			return err
		},
	}
}

// rejected are commands that the client cannot send, and words of the error.
var rejected = []struct {
	name  string
	args  []any
	words []string
}{
	{"nothing", nil, []string{"empty command"}},
	{"an empty name", []any{""}, []string{"empty command"}},
	{"an empty name in bytes", []any{[]byte{}}, []string{"empty command"}},
	{"nil", []any{"SET", "k", nil}, []string{"argument 2", "nil"}},
	{"nil as name", []any{nil}, []string{"argument 0"}},
	{"a number as name", []any{1}, []string{"argument 0"}},
	{"a struct", []any{"SET", "k", struct{ A int }{1}}, []string{"argument 2", "struct"}},
	{"a map", []any{"SET", "k", map[string]int{}}, []string{"argument 2", "map[string]int"}},
	{"strings", []any{"DEL", []string{"a", "b"}}, []string{"argument 1", "[]string"}},
	{"a pointer", []any{"SET", "k", new(int)}, []string{"argument 2", "*int"}},
	{"a complex number", []any{"SET", "k", 1i}, []string{"argument 2", "complex128"}},
	{"a duration", []any{"SET", "k", "v", "EX", time.Second}, []string{"argument 4", "time.Duration", "seconds or milliseconds"}},
	{"a duration that blocks", []any{"BLPOP", "q", time.Second}, []string{"argument 2", "time.Duration"}},
	{"a time", []any{"EXPIREAT", "k", time.Unix(1, 0)}, []string{"argument 2", "time.Time"}},
	{"a duration for an unknown command", []any{"NOSUCH", time.Second}, []string{"time.Duration"}},
}

func TestArgumentsThatCannotBeSentSendNothing(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections, o.Lanes = 3, 1 })
	mustDo(t, c, "PING")
	conn := acquire(t, c)
	for name, send := range senders(bounded(t), c, conn) {
		for _, tt := range rejected {
			t.Run(name+" of "+tt.name, func(t *testing.T) {
				err := send(tt.args...)
				if errors.As(err, new(*respool.ServerError)) {
					t.Errorf("it was sent: %v", err)
				} else if !(name == "Pipeline" && errors.Is(err, respool.ErrStateful)) { // also a right error
					wantWords(t, err, append([]string{"respool: "}, tt.words...)...)
				}
			})
		}
	}
	for _, name := range []string{"set", "blpop", "del", "expireat", "multi", "exec"} {
		if n := calls(s, name); n != 0 {
			t.Errorf("%s was executed %d times", name, n)
		}
	}
	wantKept(t, c, conn)
}

// The client reports wrong arguments at once, not after a wait for a connection.
func TestWrongArgumentsFailAtOnce(t *testing.T) {
	c := openClient(t, respool.Options{Addr: "127.0.0.1:1"})
	ctx := bounded(t)
	for _, args := range [][]any{{"SET", "k", nil}, {"BLPOP", "q", time.Second}, {"NOSUCH", struct{}{}}} {
		err := c.Do(ctx, args...).Err()
		var ae *resp.ArgumentError
		if !errors.As(err, &ae) {
			t.Errorf("%v: %v: want an *ArgumentError", args, err)
		}
	}
	if st := c.Stats(); st.DialFailures != 0 {
		t.Errorf("%d dials for commands that cannot be sent", st.DialFailures)
	}
}

// wantKept fails the test unless the released connection is clean and all connections are still open.
func wantKept(t *testing.T, c *respool.Client, conn *respool.Conn) {
	t.Helper()
	before := c.Stats().Dials
	conn.Release()
	acquire(t, c).Release()
	mustDo(t, c, "PING")
	if st := c.Stats(); st.Dials != before || st.Closed != 0 || st.Closing != 0 {
		t.Errorf("%d dials before, %d now, %v", before, st.Dials, st)
	}
}

// stateful are commands that shared connections refuse, and the advice in the error.
var stateful = []struct{ command, instead string }{
	{"SUBSCRIBE ch", "Client.Subscribe"}, {"PSUBSCRIBE p*", "Client.PSubscribe"}, {"SSUBSCRIBE ch", "Client.SSubscribe"},
	{"UNSUBSCRIBE", "Client.Subscribe"}, {"MONITOR", "redis-cli"}, {"SYNC", "redis-cli"}, {"PSYNC ? -1", "redis-cli"},
	{"SELECT 1", "db in Options"}, {"MULTI", "Client.Transaction"}, {"EXEC", "Client.Transaction"},
	{"DISCARD", "Client.Transaction"}, {"WATCH k", "Client.Watch"}, {"UNWATCH", "Client.Watch"},
	{"CLIENT REPLY OFF", "every reply"}, {"CLIENT SETNAME n", "client name in Options"}, {"CLIENT TRACKING ON", "Acquire"},
	{"CLIENT NO-EVICT ON", "Acquire"}, {"HELLO 3", "Options"}, {"AUTH secret", "Options"}, {"RESET", "Acquire"},
	{"QUIT", "Client.Close"}, {"READONLY", "Acquire"}, {"ASKING", "Acquire"}, {"SCRIPT DEBUG NO", "redis-cli"},
	{"WAIT 0 1", "Acquire"}, {"client reply off", "every reply"}, {"sElEcT 1", "db in Options"},
}

func TestStatefulCommandsAreRefused(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.MaxConnections = 3 })
	mustDo(t, c, "PING")
	ctx := bounded(t)
	conn := acquire(t, c)
	all := senders(ctx, c, conn)
	for _, tt := range stateful {
		args := fieldsOf(tt.command)
		for _, name := range []string{"Do", "Pipeline", "Transaction", "Watch"} {
			err := all[name](args...)
			if !errors.Is(err, respool.ErrStateful) {
				t.Errorf("%s in %s: %v: want ErrStateful", tt.command, name, err)
				continue
			}
			wantWords(t, err, tt.instead, strings.ToUpper(tt.command[:4]))
		}
	}
	for _, command := range []string{"SUBSCRIBE ch", "PSUBSCRIBE p*", "SSUBSCRIBE ch", "MONITOR", "SYNC"} {
		name, arg, _ := strings.Cut(command, " ")
		for _, by := range []string{"Conn.Do", "Conn.Pipeline"} {
			if err := all[by](name, arg); !errors.Is(err, respool.ErrStateful) {
				t.Errorf("%s in %s: %v: want ErrStateful", command, by, err)
			}
		}
	}
	for _, name := range []string{"set", "select", "multi", "subscribe", "auth", "hello"} {
		if n := calls(s, name); n > 0 && name != "hello" {
			t.Errorf("%s was executed %d times", name, n)
		}
	}
	wantKept(t, c, conn)
}
