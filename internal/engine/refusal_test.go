package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
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
	toPrimary, toReplica := refusalReader{wantsPrimary: true}, refusalReader{}
	for name, x := range map[string]struct {
		by     refusalReader
		raw    string
		frames []string
		kind   topology.Evidence
		how    how
	}{
		"no reply":                       {by: toPrimary, raw: set},
		"a usual reply":                  {by: toPrimary, raw: set, frames: []string{ok}},
		"another error":                  {by: toPrimary, raw: set, frames: []string{"-WRONGTYPE no\r\n"}},
		"a write at a replica":           {toPrimary, set, []string{readOnly}, topology.ReadOnly, repliesRefused},
		"a write at a replica as wanted": {by: toReplica, raw: set, frames: []string{readOnly}},
		"a script before Redis 7":        {toPrimary, set, []string{oldRefusal}, topology.ReadOnly, repliesRefused},
		"no primary":                     {toReplica, set, []string{down}, topology.MasterDown, repliesRefused},
		"all of several":                 {toPrimary, set + set, []string{loading, loading}, topology.Loading, repliesRefused},
		"one of several":                 {by: toPrimary, raw: set + set, frames: []string{ok, loading}},
		"a blocked command":              {toReplica, set, []string{"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n"}, topology.ReadOnly, repliesRefused},
		"CLIENT UNBLOCK":                 {by: toReplica, raw: set, frames: []string{"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"}},
		"EXEC":                           {toPrimary, multi + set + exec, []string{ok, queued, "-EXECABORT Transaction discarded because of: " + readOnly[1:]}, topology.ReadOnly, abortRefused},
		"a queued command":               {toPrimary, multi + set + exec, []string{ok, readOnly, "-EXECABORT Transaction discarded because of previous errors.\r\n"}, topology.ReadOnly, abortRefused},
		"an abort for another reason":    {by: toPrimary, raw: multi + set + exec, frames: []string{ok, "-ERR syntax error\r\n", "-EXECABORT Transaction discarded because of previous errors.\r\n"}},
		"a script in EXEC":               {toPrimary, multi + set + exec, []string{ok, queued, "*1\r\n" + readOnly}, topology.ReadOnly, perhapsRefused},
		"an error in EXEC":               {by: toPrimary, raw: multi + set + exec, frames: []string{ok, queued, "*1\r\n-ERR no\r\n"}},
	} {
		var frames [][]byte
		for _, f := range x.frames {
			frames = append(frames, []byte(f))
		}
		if kind, how := x.by.read([]byte(x.raw), frames); kind != x.kind || how != x.how {
			t.Errorf("%s: %v, %d: want %v, %d", name, kind, how, x.kind, x.how)
		}
	}
}

// A refused password of the engine's own user counts for a while, or until a login succeeds. Other failures do not
// concern the user.
func TestARefusedOwnUserIsSkippedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var own ownLogin
		wrong := &wire.Error{Op: wire.OpHandshake, Err: resp.NewServerError("WRONGPASS no")}
		for _, err := range []error{nil, errors.New("connection refused"), resp.NewServerError("LOADING wait")} {
			if own.note(err); own.refused() {
				t.Errorf("%v counts as a refusal", err)
			}
		}
		if own.note(wrong); !own.refused() {
			t.Error("a refused password does not count")
		}
		if own.note(errors.New("connection refused")); !own.refused() {
			t.Error("a failed dial ends the refusal")
		}
		time.Sleep(ownRefusedFor)
		if own.refused() {
			t.Error("the user is skipped for ever")
		}
		own.note(wrong)
		if own.note(nil); own.refused() {
			t.Error("a login does not end the refusal")
		}
	})
}
