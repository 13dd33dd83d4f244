package respool_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// answering returns a client of a fake server with the replies of a function. An empty reply is left to the server.
func answering(t *testing.T, reply func(name string) string) *respool.Client {
	t.Helper()
	s := fakeserver.Start(t, fakeserver.Config{Answer: func(_ *fakeserver.Conn, args []string) (string, bool) {
		text := reply(strings.ToUpper(args[0]))
		return text, text != ""
	}})
	c, err := respool.New(respool.Options{Addr: s.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// last returns the last error of a range, and the number of elements before it.
func last[T any](seq iter.Seq2[T, error]) (n int, err error) {
	for _, err = range seq {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// A proxy or a module may answer in another form than a server. The range ends with an error, and the connection stays.
func TestScansOfOddReplies(t *testing.T) {
	array, bulk := fakeserver.Array, fakeserver.Bulk
	const null = "_\r\n"
	for name, x := range map[string]struct {
		reply string
		whole int    // elements before the error
		want  string // of the error
	}{
		"no array":            {"+OK\r\n", 0, "want an array"},
		"one part":            {array(bulk("0")), 0, "returned 1 parts: want a cursor and elements"},
		"no cursor":           {array(null, array()), 0, "nil"},
		"no elements":         {array(bulk("0"), bulk("a")), 0, "want an array"},
		"an error":            {"-WRONGTYPE Operation against a key\r\n", 0, "WRONGTYPE"},
		"an element of null":  {array(bulk("0"), array(bulk("1"), bulk("1"), null, null)), 1, "nil"},
		"a value of no score": {array(bulk("0"), array(bulk("1"), bulk("1"), bulk("m"), array())), 1, "want a"},
	} {
		t.Run(name, func(t *testing.T) {
			c, ctx := answering(t, func(command string) string {
				if strings.HasSuffix(command, "SCAN") {
					return x.reply
				}
				return ""
			}), t.Context()
			opt := respool.ScanOptions{}
			scored, zerr := last(c.ZScan(ctx, "k", opt))
			fields, herr := last(c.HScan(ctx, "k", opt))
			members, serr := last(c.SScan(ctx, "k", opt))
			if scored != x.whole || fields != x.whole || members < x.whole {
				t.Errorf("%d, %d and %d elements before the error: want %d", scored, fields, members, x.whole)
			}
			for _, err := range []error{zerr, herr, serr} {
				if err == nil || !strings.Contains(err.Error(), x.want) {
					t.Errorf("the error is %v: want %q", err, x.want)
				}
			}
			if err := c.Do(ctx, "PING").Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTransactionsOfOddReplies(t *testing.T) {
	var exec, multi atomic.Value
	multi.Store("+OK\r\n")
	c := answering(t, func(name string) string {
		switch name {
		case "MULTI":
			return multi.Load().(string)
		case "EXEC":
			return exec.Load().(string)
		case "SET":
			return "+QUEUED\r\n"
		}
		return ""
	})
	run := func() error {
		_, err := c.Transaction().Do("SET", "k", "v").Exec(t.Context())
		return err
	}
	for _, x := range []struct{ multi, exec, want string }{
		{"+OK\r\n", "*1\r\n+OK\r\n", ""},
		{"+OK\r\n", "*2\r\n+OK\r\n+OK\r\n", "EXEC returned 2 replies to 1 commands"},
		{"+OK\r\n", "+OK\r\n", "the transaction was not executed: respool: the reply is of kind"},
		{"-NOPERM no permissions to run the 'multi' command\r\n", "-ERR EXEC without MULTI\r\n", "MULTI was refused, so the commands did not run as one transaction: NOPERM"},
		{"-NOPERM no permissions to run the 'multi' command\r\n", "-ERR EXEC without MULTI\r\n", "the transaction was not executed: NOPERM"}, // now MULTI is sent alone
	} {
		multi.Store(x.multi)
		exec.Store(x.exec)
		if err := run(); x.want == "" && err != nil || x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("MULTI %q, EXEC %q: %v, want %q", x.multi, x.exec, err, x.want)
		}
	}
}

// A pause between two attempts ends with the caller's ctx.
func TestWatchRetryEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	execs := atomic.Int32{}
	c := answering(t, func(name string) string {
		switch name {
		case "EXEC":
			if execs.Add(1) == 3 {
				cancel()
			}
			return "*-1\r\n"
		case "SET":
			return "+QUEUED\r\n"
		case "WATCH", "MULTI":
			return "+OK\r\n"
		}
		return ""
	})
	_, err := c.WatchRetry(ctx, 1_000_000, []string{"k"}, func(w *respool.Watched) error {
		w.Queue("SET", "k", "v")
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after %d attempts the error is %v", execs.Load(), err)
	}
}

func TestAScriptOfAnotherDigestIsNotLoaded(t *testing.T) {
	c := answering(t, func(name string) string {
		if name == "SCRIPT" {
			return fakeserver.Bulk("0123")
		}
		return ""
	})
	err := respool.NewScript("return 1").Load(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "returned digest 0123") {
		t.Errorf("the error is %v", err)
	}
}

// DoTo writes nothing of a large reply that is no string, and reads it to its end.
func TestDoToOfOddReplies(t *testing.T) {
	const size = 64 << 10
	filler := strings.Repeat("x", size)
	for name, x := range map[string]struct {
		reply, want string
		written     int64
	}{
		"an array":          {"*1\r\n" + fakeserver.Bulk(filler), "want a string of known size", 0},
		"an error":          {"!65536\r\n" + filler + "\r\n", "an error that is too large", 0},
		"a verbatim string": {"=65540\r\ntxt:" + filler + "\r\n", "", size},
		"a streamed string": {"$?\r\n;65536\r\n" + filler + "\r\n;0\r\n", "want a string of known size", 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := answering(t, func(command string) string {
				if command == "GET" {
					return x.reply
				}
				return ""
			})
			var to bytes.Buffer
			n, err := c.DoTo(t.Context(), &to, "GET", "k")
			switch {
			case n != x.written || int64(to.Len()) != x.written:
				t.Errorf("%d bytes written, %d reported: want %d", to.Len(), n, x.written)
			case x.want == "" && err != nil, x.want != "" && (err == nil || !strings.Contains(err.Error(), x.want)):
				t.Errorf("the error is %v: want %q", err, x.want)
			}
			if err := c.Do(t.Context(), "PING").Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAMapWithAKeyOfNull(t *testing.T) {
	c := answering(t, func(name string) string {
		if name == "HGETALL" {
			return fakeserver.Array(fakeserver.Bulk("a"), fakeserver.Int(1), "_\r\n", fakeserver.Int(2))
		}
		return ""
	})
	if _, err := c.Do(t.Context(), "HGETALL", "k").Map(); !errors.Is(err, respool.ErrNil) || !strings.Contains(err.Error(), "key 1") {
		t.Errorf("the error is %v", err)
	}
}
