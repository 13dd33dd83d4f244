package command_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// varying lists every command that a server may answer otherwise than once, whatever is due beside it.
var varying = map[command.Answers]string{
	command.OnceAlone: "AUTH, HELLO",
	command.Varying: `CLIENT, CLIENT REPLY, CLUSTER, DEBUG, MONITOR, PSUBSCRIBE, PSYNC, PUNSUBSCRIBE, REPLCONF, SCRIPT, SCRIPT DEBUG,
		SHUTDOWN, SSUBSCRIBE, SUBSCRIBE, SUNSUBSCRIBE, SYNC, UNSUBSCRIBE`,
}

func TestAnswersAreAsPinned(t *testing.T) {
	for answers, pinned := range varying {
		check(t, "answers", pinned, func(info *command.Info) bool { return info.Answers() == answers })
	}
}

// A lane matches replies to commands by their place, so it may carry nothing else.
func TestWhatSharesAConnectionIsAnsweredOnce(t *testing.T) {
	for info := range command.All() {
		if info.Class == command.Multiplexed && info.Answers() != command.Once {
			t.Errorf("%s shares connections, and may be answered otherwise than once", info.Name)
		}
		if info.Class != command.Refused && info.Answers() != command.Once && info.Effect != command.EffectTaint {
			t.Errorf("%s leaves its connection to others", info.Name)
		}
	}
}
