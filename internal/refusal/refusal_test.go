package refusal

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/topology"
)

func TestRepliesThatRefuseBecauseOfTheRole(t *testing.T) {
	const (
		readOnly   = "-READONLY You can't write against a read only replica.\r\n"
		down       = "-MASTERDOWN Link with MASTER is down\r\n"
		loading    = "-LOADING Redis is loading the dataset in memory\r\n"
		queued     = "+QUEUED\r\n"
		ok         = "+OK\r\n"
		multi      = "*1\r\n$5\r\nMULTI\r\n"
		set        = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
		exec       = "*1\r\n$4\r\nEXEC\r\n"
		oldRefusal = "-ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica.\r\n"
	)
	toPrimary, toReplica := Reader{WantsPrimary: true}, Reader{}
	for name, x := range map[string]struct {
		by     Reader
		raw    string
		frames []string
		kind   topology.Evidence
		how    How
	}{
		"no reply":                       {by: toPrimary, raw: set},
		"a usual reply":                  {by: toPrimary, raw: set, frames: []string{ok}},
		"another error":                  {by: toPrimary, raw: set, frames: []string{"-WRONGTYPE no\r\n"}},
		"a write at a replica":           {toPrimary, set, []string{readOnly}, topology.ReadOnly, Replies},
		"a write at a replica as wanted": {by: toReplica, raw: set, frames: []string{readOnly}},
		"a script before Redis 7":        {toPrimary, set, []string{oldRefusal}, topology.ReadOnly, Replies},
		"no primary":                     {toReplica, set, []string{down}, topology.MasterDown, Replies},
		"all of several":                 {toPrimary, set + set, []string{loading, loading}, topology.Loading, Replies},
		"one of several":                 {by: toPrimary, raw: set + set, frames: []string{ok, loading}},
		"a blocked command":              {toReplica, set, []string{"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n"}, topology.ReadOnly, Replies},
		"CLIENT UNBLOCK":                 {by: toReplica, raw: set, frames: []string{"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"}},
		"EXEC":                           {toPrimary, multi + set + exec, []string{ok, queued, "-EXECABORT Transaction discarded because of: " + readOnly[1:]}, topology.ReadOnly, Aborted},
		"a queued command":               {toPrimary, multi + set + exec, []string{ok, readOnly, "-EXECABORT Transaction discarded because of previous errors.\r\n"}, topology.ReadOnly, Aborted},
		"an abort for another reason":    {by: toPrimary, raw: multi + set + exec, frames: []string{ok, "-ERR syntax error\r\n", "-EXECABORT Transaction discarded because of previous errors.\r\n"}},
		"a script in EXEC":               {toPrimary, multi + set + exec, []string{ok, queued, "*1\r\n" + readOnly}, topology.ReadOnly, Perhaps},
		"an error in EXEC":               {by: toPrimary, raw: multi + set + exec, frames: []string{ok, queued, "*1\r\n-ERR no\r\n"}},
	} {
		var frames [][]byte
		for _, f := range x.frames {
			frames = append(frames, []byte(f))
		}
		if kind, how := x.by.Read([]byte(x.raw), frames); kind != x.kind || how != x.how {
			t.Errorf("%s: %v, %d: want %v, %d", name, kind, how, x.kind, x.how)
		}
	}
}
