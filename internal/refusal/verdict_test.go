package refusal

import (
	"errors"
	"fmt"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/internal/wire"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestTheAnswerAboutTheState(t *testing.T) {
	for _, x := range []struct {
		kind  topology.Evidence
		reply string
		want  Verdict
	}{
		{topology.ReadOnly, "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:1\r\n", Confirmed},
		{topology.MasterDown, "*1\r\n$7\r\nreplica\r\n", Confirmed},
		{topology.ReadOnly, "*3\r\n$6\r\nmaster\r\n:1\r\n*0\r\n", Denied},
		{topology.ReadOnly, "*1\r\n$7\r\nprimary\r\n", Denied},
		{topology.ReadOnly, "*1\r\n$8\r\nsentinel\r\n", Unsure},
		{topology.ReadOnly, "*0\r\n", Unsure},
		{topology.ReadOnly, "+OK\r\n", Unsure},
		{topology.ReadOnly, "-NOPERM no permissions to run the 'role' command\r\n", Unsure},
		{topology.Loading, "+PONG\r\n", Denied},
		{topology.Loading, "-LOADING Redis is loading the dataset in memory\r\n", Confirmed},
		{topology.Loading, "-MASTERDOWN Link with MASTER is down\r\n", Confirmed},
		{topology.Loading, "-NOPERM no permissions to run the 'ping' command\r\n", Unsure},
	} {
		if got := VerdictOf([]byte(x.reply), x.kind); got != x.want {
			t.Errorf("%v, %s answered %q: verdict %d, want %d", x.kind, Question(x.kind), x.reply, got, x.want)
		}
	}
}

// A script returns any reply that it likes, so its refusal proves nothing.
func TestWhichCommandsMayRunScripts(t *testing.T) {
	encode := func(args ...any) string {
		raw, err := resp.AppendCommand(nil, args)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	set := encode("SET", "k", "v")
	for raw, want := range map[string]bool{
		"":                                  false,
		set:                                 false,
		set + set:                           false,
		encode("eval", "return 1", 0):       true,
		set + encode("EVALSHA", "abc", 0):   true,
		encode("FCALL", "f", 0):             true,
		encode("EVAL_RO", "return 1", 0):    false, // it cannot have written
		set + encode("MODULE.COMMAND", "k"): true,
		set + "*1\r\n$4\r\nPI":              true, // unreadable: assume the worst case
		set + "+OK\r\n":                     true,
	} {
		if got := RunsScripts([]byte(raw)); got != want {
			t.Errorf("%q: %v, want %v", raw, got, want)
		}
	}
}

func TestADialThatTheServerRefusesInItsState(t *testing.T) {
	for text, want := range map[string]bool{
		"LOADING Redis is loading the dataset in memory": true,
		"MASTERDOWN Link with MASTER is down":            true,
		"WRONGPASS invalid username-password pair":       false,
	} {
		err := fmt.Errorf("open: %w", &wire.Error{Op: wire.OpHandshake, Err: resp.NewServerError(text)})
		if got := OfDial(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	if OfDial(errors.New("connection refused")) {
		t.Error("a failure without an answer counts as a refusal")
	}
}
