package command_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

type millis int

func TestBlockFor(t *testing.T) {
	const (
		no      = time.Duration(command.NoBlock)
		forever = time.Duration(command.BlockForever)
		longest = forever // longer than anybody waits
		unread  = forever // the server may read it
	)
	for _, c := range []struct {
		args []any
		want time.Duration
	}{
		{[]any{"BLPOP", "a", "b", 5}, 5 * time.Second},
		{[]any{"BLPOP", "a", 0}, forever},
		{[]any{"BLPOP", "a", "0"}, forever},
		{[]any{"BLPOP", "a", "0.0"}, forever},
		{[]any{"BRPOP", "a", 0.25}, 250 * time.Millisecond},
		{[]any{"BRPOP", "a", float32(0.5)}, 500 * time.Millisecond},
		{[]any{"BZPOPMIN", "a", "1.5"}, 1500 * time.Millisecond},
		{[]any{"BZPOPMAX", "a", []byte("1e1")}, 10 * time.Second},
		{[]any{"BRPOPLPUSH", "a", "b", int8(2)}, 2 * time.Second},
		{[]any{"BLMOVE", "a", "b", "LEFT", "RIGHT", uint16(3)}, 3 * time.Second},
		{[]any{"BLMPOP", 4, 1, "a", "LEFT", "COUNT", 9}, 4 * time.Second},
		{[]any{"BZMPOP", text("0.001"), 1, "a", "MIN"}, time.Millisecond},
		{[]any{"BLPOP", "a", 0.0001}, time.Millisecond},
		{[]any{"BLPOP", "a", "1e-15"}, time.Millisecond},
		{[]any{"BLPOP", "a", 1e15}, longest},
		{[]any{"BLPOP", "a", uint64(math.MaxUint64)}, longest},
		{[]any{"BLPOP", "a", math.NaN()}, unread},
		{[]any{"BLPOP", "a", math.Inf(1)}, unread},
		{[]any{"BLPOP", "a", "inf"}, unread},
		{[]any{"BLPOP", "a", -1}, unread},
		{[]any{"BLPOP", "a", "-0.5"}, unread},
		{[]any{"BLPOP", "a", "soon"}, unread},
		{[]any{"BLPOP", "a", ""}, unread},
		{[]any{"BLPOP", "a", nil}, unread},
		{[]any{"BLPOP", "a", true}, unread},
		{[]any{"BLPOP"}, unread},

		{[]any{"XREAD", "BLOCK", 1500, "STREAMS", "a", "$"}, 1500 * time.Millisecond},
		{[]any{"XREAD", "BLOCK", millis(20), "STREAMS", "a", "$"}, 20 * time.Millisecond},
		{[]any{"XREAD", "BLOCK", 30.0, "STREAMS", "a", "$"}, 30 * time.Millisecond},
		{[]any{"XREAD", "block", "0", "STREAMS", "a", "$"}, forever},
		{[]any{"XREAD", "BLOCK", 1, "BLOCK", 2, "STREAMS", "a", "$"}, 2 * time.Millisecond},
		{[]any{"XREAD", "BLOCK", math.MaxInt64, "STREAMS", "a", "$"}, longest},
		{[]any{"XREAD", "BLOCK", uint64(math.MaxUint64), "STREAMS", "a", "$"}, longest},
		{[]any{"XREAD", "BLOCK", 0.5, "STREAMS", "a", "$"}, unread},
		{[]any{"XREAD", "BLOCK", "1.5", "STREAMS", "a", "$"}, unread},
		{[]any{"XREAD", "BLOCK", -1, "STREAMS", "a", "$"}, unread},
		{[]any{"XREAD", "BLOCK", nil, "STREAMS", "a", "$"}, unread},
		{[]any{"XREAD", "STREAMS", "BLOCK", "5"}, no},
		{[]any{"XREADGROUP", "GROUP", "g", "BLOCK", "BLOCK", []byte("7"), "STREAMS", "a", ">"}, 7 * time.Millisecond},

		{[]any{"WAIT", 1, 100}, 100 * time.Millisecond},
		{[]any{"WAIT", 1, "0"}, forever},
		{[]any{"WAITAOF", 1, 1, 250}, 250 * time.Millisecond},

		{[]any{"GET", "5"}, no},
		{[]any{"FROBNICATE", "5"}, no},
	} {
		info, _ := command.Classify(c.args)
		if got := command.BlockFor(info, c.args); got != command.Block(c.want) {
			t.Errorf("%v: %v, want %v", c.args, got, c.want)
		}
		if raw, isRaw := toBytes(c.args); isRaw {
			if got := command.BlockForBytes(info, raw); got != command.Block(c.want) {
				t.Errorf("%q: %v, want %v", raw, got, c.want)
			}
		}
	}
}

func TestBlockText(t *testing.T) {
	for b, want := range map[command.Block]string{
		command.NoBlock: "none", command.BlockForever: "forever", command.Block(1500 * time.Millisecond): "1.5s",
		command.Block(100 * 365 * 24 * time.Hour): "876000h0m0s", command.Block(100*365*24*time.Hour + 1): "forever",
	} {
		if got := b.String(); got != want {
			t.Errorf("%d: %q: want %q", b, got, want)
		}
	}
}

func TestWithBlock(t *testing.T) {
	for text, want := range map[string]string{
		"BLPOP a b 10":                          "BLPOP a b 1.250",
		"BLMPOP 10 1 a LEFT":                    "BLMPOP 1.250 1 a LEFT",
		"XREAD COUNT 1 BLOCK 10 STREAMS s $":    "XREAD COUNT 1 BLOCK 1250 STREAMS s $",
		"XREADGROUP GROUP g c BLOCK 9 STREAMS ": "XREADGROUP GROUP g c BLOCK 1250 STREAMS ",
		"XREAD STREAMS s $":                     "XREAD STREAMS s $",
		"WAIT 1 10":                             "WAIT 1 1250",
		"GET a":                                 "GET a",
	} {
		var args [][]byte
		for _, a := range strings.Split(text, " ") {
			args = append(args, []byte(a))
		}
		joined := func(args [][]byte) string {
			var all []string
			for _, a := range args {
				all = append(all, string(a))
			}
			return strings.Join(all, " ")
		}
		got := command.WithBlock(command.LookupBytes(args[0]), args, 1250*time.Millisecond)
		if s := joined(got); s != want {
			t.Errorf("%q became %q: want %q", text, s, want)
		}
		if s := joined(args); s != text {
			t.Errorf("the arguments of %q are %q now", text, s)
		}
	}
	if got := command.WithBlock(command.Lookup("BLPOP"), [][]byte{[]byte("BLPOP"), []byte("a"), []byte("1")}, 0); string(got[2]) != "0.001" {
		t.Errorf("no time left became %q", got[2])
	}
}
