//go:build unix

package command_test

import (
	stdbytes "bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// commandsOf is a server's reply to COMMAND under a protocol.
func commandsOf(t *testing.T, s *redistest.Server, protocol string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", s.PlainAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "HELLO "+protocol+"\r\nCOMMAND\r\n"); err != nil {
		t.Fatal(err)
	}
	var in stdbytes.Buffer
	chunk := make([]byte, 64<<10)
	for {
		hello, err := resp.FrameLen(in.Bytes())
		if err == nil {
			n, err := resp.FrameLen(in.Bytes()[hello:])
			if err == nil {
				return in.Bytes()[hello : hello+n]
			}
		}
		n, err := conn.Read(chunk)
		in.Write(chunk[:n])
		if err != nil && !errors.Is(err, io.EOF) || n == 0 {
			t.Fatal(err)
		}
	}
}

// The table and the server agree on what both know. Of arities that differ between servers the table has the widest.
func TestTheTableAgreesWithTheServer(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	for _, protocol := range []string{"2", "3"} {
		reply := commandsOf(t, s, protocol)
		told := command.ReadEntries(reply)
		if len(told) < 200 {
			t.Fatalf("RESP%s: %d commands are read", protocol, len(told))
		}
		for name, theirs := range told {
			ours := find(name)
			if ours == nil || ours.Name != name || ours.Container() && !s.Version().Since(7, 0) {
				continue // older servers tell of a container what holds for its subcommands
			}
			switch {
			case !accepts(ours.Arity, theirs.Arity) && theirs.Arity != -1 && name != "PFDEBUG": // a module may look at the arity by itself
				t.Errorf("%s: its arity is %d, the table has %d", name, theirs.Arity, ours.Arity)
			case theirs.Write != ours.Write:
				t.Errorf("%s: Write is %t, in the table %t", name, theirs.Write, ours.Write)
			case theirs.ReadOnly && !ours.ReadOnly && !ours.Write:
				t.Errorf("%s is ReadOnly, and not in the table", name)
			case theirs.Admin && !ours.Admin && s.Version().Since(7, 0):
				t.Errorf("%s is Admin, and not in the table", name)
			case theirs.Class == command.Blocking && ours.Class != command.Blocking, // those without a flag are in the generator's rules
				theirs.Class == command.Multiplexed && ours.Class == command.Blocking:
				t.Errorf("%s is %s, in the table %s", name, theirs.Class, ours.Class)
			}
			if s.Version().Since(7, 2) && !ownPolicies[name] && (theirs.Request != ours.Request || theirs.Reply != ours.Reply) {
				t.Errorf("%s: its policies are %s and %s, in the table %s and %s", name, theirs.Request, theirs.Reply, ours.Request, ours.Reply)
			}
			if len(theirs.Keys) > 0 && !theirs.Movable && (len(ours.Keys) == 0 || theirs.Keys[0].Begin != ours.Keys[0].Begin) {
				t.Errorf("%s: its keys are %+v, in the table %+v", name, theirs.Keys, ours.Keys)
			}
		}
		v, err := command.ReadVocabulary(reply)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("RESP%s: %d commands, %d of them are not in the table", protocol, len(told), v.Len())
	}
}

// ownPolicies are the commands whose policies are not those of the server's tips.
var ownPolicies = map[string]bool{
	"CLIENT SETINFO": true, "CLIENT SETNAME": true, "PING": true, "RANDOMKEY": true, "SCRIPT LOAD": true, "WAIT": true, "WAITAOF": true,
	"XREAD": true,
}

// accepts is whether an arity takes every number of arguments that another one takes.
func accepts(ours, theirs int) bool {
	return ours == theirs || ours < 0 && max(theirs, -theirs) >= -ours
}
