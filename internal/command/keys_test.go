package command_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func TestFirstKey(t *testing.T) {
	for _, c := range []struct {
		want int // 0 is none
		args []any
	}{
		{1, []any{"GET", "key"}},
		{1, []any{"GET", ""}},
		{1, []any{"GET", 5}},
		{0, []any{"GET"}},
		{0, []any{"PING", "hello"}},
		{0, []any{"FROBNICATE", "key"}},
		{1, []any{"MSET", "a", 1, "b", 2}},
		{2, []any{"BITOP", "AND", "to", "a", "b"}},
		{2, []any{"OBJECT", "ENCODING", "key"}},
		{2, []any{"MEMORY", "USAGE", "key"}},
		{0, []any{"MEMORY", "STATS"}},
		{2, []any{"XGROUP", "CREATE", "key", "g", "$"}},
		{1, []any{"BLPOP", "a", "b", 0}},
		{1, []any{"SORT", "key", "BY", "w_*", "STORE", "to"}},
		{1, []any{"GEORADIUS", "", 1, 2, 3, "km", "STORE", "to"}},
		{1, []any{"SSUBSCRIBE", "channel"}},
		{1, []any{"SPUBLISH", "channel", "message"}},

		{3, []any{"EVAL", "return 1", 1, "key", "arg"}},
		{3, []any{"EVAL", "return 1", "2", "a", "b"}},
		{3, []any{"evalsha_ro", "0123", []byte("1"), []byte("key")}},
		{3, []any{"FCALL", "f", text("1"), "key"}},
		{0, []any{"EVAL", "return 1", 0, "arg"}},
		{0, []any{"EVAL", "return 1", "-1", "arg"}},
		{0, []any{"EVAL", "return 1", "many", "arg"}},
		{0, []any{"EVAL", "return 1", 1}},
		{0, []any{"EVAL", "return 1"}},
		{2, []any{"ZUNION", 2, "a", "b"}},
		{2, []any{"LMPOP", 1, "a", "LEFT"}},
		{2, []any{"MSETEX", 2, "a", "1", "b", "2", "EX", 5}},
		{1, []any{"HSETEX", "h", "FIELDS", 1, "f", "v"}},
		{1, []any{"VADD", "v", "VALUES", 2, 1, 0, "a"}},
		{3, []any{"BLMPOP", 0, 1, "a", "LEFT"}},
		{1, []any{"ZUNIONSTORE", "to", 2, "a", "b"}},

		{2, []any{"XREAD", "STREAMS", "a", "b", "0", "0"}},
		{6, []any{"XREAD", "COUNT", 2, "BLOCK", 0, "streams", "a", "$"}[:7]},
		{0, []any{"XREAD", "COUNT", 2}},
		{0, []any{"XREAD", "STREAMS"}},
		{5, []any{"XREADGROUP", "GROUP", "STREAMS", "STREAMS", []byte("Streams"), "a", ">"}},

		{3, []any{"MIGRATE", "host", 6379, "key", 0, 5000}},
		{3, []any{"MIGRATE", "host", 6379, "key", 0, 5000, "COPY", "REPLACE"}},
		{7, []any{"MIGRATE", "host", 6379, "", 0, 5000, "KEYS", "a", "b"}},
		{10, []any{"MIGRATE", "host", 6379, []byte{}, 0, 5000, "COPY", "AUTH", "secret", "keys", "a", "b"}},
		{0, []any{"MIGRATE", "host", 6379, "", 0, 5000}},
		{0, []any{"MIGRATE"}},
	} {
		info, _ := command.Classify(c.args)
		index, ok := command.FirstKey(info, c.args)
		if index != c.want || ok != (c.want > 0) {
			t.Errorf("%v: %d, %t, want %d", c.args, index, ok, c.want)
		}
	}
}

func TestMovableKeysAreThoseThatArgumentsPlace(t *testing.T) {
	check(t, "movable", `BLMPOP, BZMPOP, EVAL, EVALSHA, EVALSHA_RO, EVAL_RO, FCALL, FCALL_RO, GEORADIUS, GEORADIUSBYMEMBER,
		LMPOP, MIGRATE, MSETEX, SINTERCARD, SORT, SORT_RO, XREAD, XREADGROUP, ZDIFF, ZDIFFSTORE, ZINTER, ZINTERCARD, ZINTERSTORE,
		ZMPOP, ZUNION, ZUNIONSTORE`, func(info *command.Info) bool { return info.Movable })
}
