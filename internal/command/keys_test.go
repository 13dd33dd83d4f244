package command_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func TestMovableKeysAreThoseThatArgumentsPlace(t *testing.T) {
	check(t, "movable", `BLMPOP, BZMPOP, EVAL, EVALSHA, EVALSHA_RO, EVAL_RO, FCALL, FCALL_RO, GEORADIUS, GEORADIUSBYMEMBER,
		LMPOP, MIGRATE, MSETEX, SINTERCARD, SORT, SORT_RO, XREAD, XREADGROUP, ZDIFF, ZDIFFSTORE, ZINTER, ZINTERCARD, ZINTERSTORE,
		ZMPOP, ZUNION, ZUNIONSTORE`, func(info *command.Info) bool { return info.Movable })
}
