package command_test

import (
	"math"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

type millis int

func TestBlockFor(t *testing.T) {
	const (
		no      = time.Duration(-1)
		forever = time.Duration(0)
		longest = time.Duration(math.MaxInt64)
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
		{[]any{"BLPOP", "a", math.NaN()}, no},
		{[]any{"BLPOP", "a", math.Inf(1)}, no},
		{[]any{"BLPOP", "a", "inf"}, no},
		{[]any{"BLPOP", "a", -1}, no},
		{[]any{"BLPOP", "a", "-0.5"}, no},
		{[]any{"BLPOP", "a", "soon"}, no},
		{[]any{"BLPOP", "a", ""}, no},
		{[]any{"BLPOP", "a", nil}, no},
		{[]any{"BLPOP", "a", true}, no},
		{[]any{"BLPOP"}, no},

		{[]any{"XREAD", "BLOCK", 1500, "STREAMS", "a", "$"}, 1500 * time.Millisecond},
		{[]any{"XREAD", "BLOCK", millis(20), "STREAMS", "a", "$"}, 20 * time.Millisecond},
		{[]any{"XREAD", "BLOCK", 30.0, "STREAMS", "a", "$"}, 30 * time.Millisecond},
		{[]any{"XREAD", "block", "0", "STREAMS", "a", "$"}, forever},
		{[]any{"XREAD", "BLOCK", 1, "BLOCK", 2, "STREAMS", "a", "$"}, 2 * time.Millisecond},
		{[]any{"XREAD", "BLOCK", math.MaxInt64, "STREAMS", "a", "$"}, longest},
		{[]any{"XREAD", "BLOCK", uint64(math.MaxUint64), "STREAMS", "a", "$"}, longest},
		{[]any{"XREAD", "BLOCK", 0.5, "STREAMS", "a", "$"}, no},
		{[]any{"XREAD", "BLOCK", "1.5", "STREAMS", "a", "$"}, no},
		{[]any{"XREAD", "BLOCK", -1, "STREAMS", "a", "$"}, no},
		{[]any{"XREAD", "BLOCK", nil, "STREAMS", "a", "$"}, no},
		{[]any{"XREAD", "STREAMS", "BLOCK", "5"}, no},
		{[]any{"XREADGROUP", "GROUP", "g", "BLOCK", "BLOCK", []byte("7"), "STREAMS", "a", ">"}, 7 * time.Millisecond},

		{[]any{"WAIT", 1, 100}, 100 * time.Millisecond},
		{[]any{"WAIT", 1, "0"}, forever},
		{[]any{"WAITAOF", 1, 1, 250}, 250 * time.Millisecond},

		{[]any{"GET", "5"}, no},
		{[]any{"FROBNICATE", "5"}, no},
	} {
		info, _ := command.Classify(c.args)
		d, isForever, ok := command.BlockFor(info, c.args)
		if got := outcome(d, isForever, ok); got != c.want {
			t.Errorf("%v: %v, want %v", c.args, got, c.want)
		}
		if raw, isRaw := toBytes(c.args); isRaw {
			if got := outcome(command.BlockForBytes(info, raw)); got != c.want {
				t.Errorf("%q: %v, want %v", raw, got, c.want)
			}
		}
	}
}

// outcome is -1 for a command that does not block and 0 for one that blocks forever.
func outcome(d time.Duration, forever, ok bool) time.Duration {
	switch {
	case !ok:
		return -1
	case forever != (d == 0):
		return -2
	}
	return d
}
