package session_test

import (
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
)

func TestASessionDescribesItsClient(t *testing.T) {
	s := session.New(&session.Config{Cluster: true, ClusterFace: true}, 7, "10.0.0.1:5000")
	for _, words := range [][]string{{"CLIENT", "SETNAME", "me"}, {"READONLY"}, {"HELLO", "3"}} {
		s.Next(request(words...))
	}
	if s.ID() != 7 || s.Addr() != "10.0.0.1:5000" || s.Name() != "me" || s.Type() != "normal" {
		t.Errorf("%v", s)
	}
	line := s.AppendInfo(nil, session.ConnInfo{Blocked: true, Age: time.Minute})
	if text := string(s.Text([]byte("a\n"))); text != "=6\r\ntxt:a\n\r\n" {
		t.Errorf("%q", text)
	}
	const want = "id=7 addr=10.0.0.1:5000 laddr= fd=0 name=me age=60 idle=0 flags=br db=0"
	if got := string(line[:len(want)]); got != want {
		t.Error(got)
	}
	step := s.Next(request("SUBSCRIBE", "c"))
	s.Done(&step, nil, nil)
	if s.Type() != "pubsub" {
		t.Errorf("%v", s)
	}
	s.Next(request("HELLO", "2"))
	if text := string(s.Text([]byte("a\n"))); text != "$2\r\na\n\r\n" {
		t.Errorf("%q", text)
	}
}

func TestAnEmptyRequestGetsNoReply(t *testing.T) {
	s := session.New(&session.Config{}, 1, "")
	if step := s.Next([]byte("*0\r\n"), nil); step.Kind != session.Answer || step.Reply != nil || step.Barrier {
		t.Errorf("%v", &step)
	}
}

func TestARequestIsNotKept(t *testing.T) {
	s := session.New(&session.Config{}, 1, "")
	for _, words := range [][]string{{"CLIENT", "SETNAME", "me"}, {"MULTI"}, {"SET", "key", "value"}, {"CLIENT", "SETNAME", "you"}} {
		raw, args := request(words...)
		s.Next(raw, args)
		clear(raw)
		for _, arg := range args {
			clear(arg)
		}
	}
	step := s.Next(request("EXEC"))
	if got, want := show(step.Raw), "{MULTI | SET key value | PING | EXEC}"; got != want || s.Name() != "me" {
		t.Errorf("%s, %q", got, s.Name())
	}
	ok, queued := []byte("+OK\r\n"), []byte("+QUEUED\r\n")
	s.Done(&step, [][]byte{ok, queued, queued, []byte("*2\r\n+OK\r\n+PONG\r\n")}, nil)
	if s.Name() != "you" {
		t.Errorf("the name is %q", s.Name())
	}
}
