package session_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
	scan "github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// FuzzSession passes any requests and any outcomes to a session. It must not panic, every reply must consist of
// complete frames, and the steps must keep their contract.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"SELECT 1\r\nMULTI\r\nGET a\r\nEXEC\r\n",
		"WATCH a\r\nMULTI\r\nSELECT 2\r\nEXEC\r\nUNWATCH\r\n",
		"HELLO 3 AUTH a b SETNAME c\r\nSUBSCRIBE a b\r\nUNSUBSCRIBE\r\nRESET\r\n",
		"CLIENT REPLY OFF\r\nCLIENT TRACKING ON\r\nCLIENT REPLY ON\r\nBLPOP a 0\r\nWAIT 1 1\r\n",
		"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\nMONITOR\r\nCLIENT KILL ID 3\r\nRESPOOL HELP\r\nQUIT\r\n",
		"EVAL return 0\r\nNOSUCH x\r\nCONFIG GET *\r\nSCRIPT DEBUG YES\r\nXREAD BLOCK 5 STREAMS a 0\r\n",
	} {
		f.Add([]byte(seed), []byte{0, 1, 2, 3})
		f.Add([]byte(seed), []byte{1})
	}
	f.Fuzz(func(t *testing.T, in, fates []byte) {
		cfg := session.Config{Admin: len(fates)%2 == 0, NeedAuth: len(fates)%3 == 0, Databases: 16 * (len(fates) % 2), QueueLimit: 1000, MaxTopics: 10}
		cfg.Lookup = func(args [][]byte) (*command.Info, command.Known) {
			if known := command.Known(len(args[0]) % 4); known != command.Learned {
				return nil, known
			}
			return command.FromFlags("LEARNED", [][]string{{"write"}, {"readonly", "blocking"}, {"admin"}}[len(args)%3], nil), command.Learned
		}
		s := session.New(&cfg, 1, "127.0.0.1:1")
		var scanner scan.Scanner
		fate := func() byte {
			if len(fates) == 0 {
				return 0
			}
			b := fates[0]
			fates = append(fates[1:], b)
			return b
		}
		for {
			req, n, err := scanner.Next(in)
			in = in[n:]
			if err != nil || req.Raw == nil {
				break
			}
			step := s.Next(req.Raw, req.Args)
			if step.Kind == session.Learn {
				step = s.NextLearned(req.Raw, req.Args)
			}
			whole(t, step.Reply)
			if step.Kind.Upstream() && (len(step.Raw) == 0 || step.Replies < 1) {
				t.Fatalf("%v sends nothing", &step)
			}
			if step.Kind == session.Close {
				break
			}
			if !step.NeedsDone() {
				continue
			}
			out := s.Done(&step, frames(&step, fate()), failure(fate()))
			whole(t, out.Reply)
			if out.Close {
				break
			}
			if fate() == 77 && s.Pinned() {
				if s.PinLost(); s.Pinned() {
					t.Fatal("the lost connection is still held")
				}
			}
		}
		_ = s.String()
		whole(t, s.Text(s.AppendInfo(nil, session.ConnInfo{})))
		s.End()
		if s.Pinned() {
			t.Fatal("the session holds a connection after its end")
		}
	})
}

// frames returns possible replies of a server to a step.
func frames(step *session.Step, fate byte) [][]byte {
	if step.Kind == session.Identify && fate%2 == 0 {
		return nil
	}
	reply := []string{"+OK\r\n", "-ERR no\r\n", ":1\r\n", "*0\r\n", "$-1\r\n", "*-1\r\n", "_\r\n"}[int(fate)%7]
	all := make([][]byte, max(1, step.Replies))
	for i := range all {
		all[i] = []byte(reply)
	}
	if step.Kind == session.Transaction && fate >= 7 {
		all[len(all)-1] = []byte("*" + "0\r\n")
		if n := step.Replies - 2; n > 0 && n < 10 {
			all[len(all)-1] = []byte("*" + string(rune('0'+n)) + "\r\n" + strings.Repeat("+OK\r\n", n))
		}
	}
	return all
}

func failure(fate byte) error {
	switch fate % 8 {
	case 6:
		return errors.New("the connection is lost")
	case 7:
		return session.ErrWrongPassword
	}
	return nil
}

// whole checks that a reply consists of complete frames.
func whole(t *testing.T, reply []byte) {
	t.Helper()
	for len(reply) > 0 {
		var s resp.Scanner
		n, done, err := s.Scan(reply)
		if err != nil || !done {
			t.Fatalf("%q is no frame: %v", reply, err)
		}
		reply = reply[n:]
	}
}
