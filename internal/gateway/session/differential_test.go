package session_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
	"pgregory.net/rapid"
)

const version = "7.0.15"

// compares leaves out what differs on purpose: what no transaction may queue here, and
// the order in which a server lists the topics of an unsubscription from all.
func compares(s *session.Session, words []string) bool {
	switch name := strings.ToUpper(words[0]); name {
	case "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		channels, patterns, shards := s.Subscriptions()
		if len(words) == 1 && max(channels, patterns, shards) > 1 {
			return false
		}
		return !inMulti(s)
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "AUTH", "SCRIPT":
		return !inMulti(s)
	case "HELLO":
		return (!inMulti(s) || len(words) == 1) && (!s.Pinned() || len(words) < 4)
	case "CLIENT":
		if len(words) < 2 {
			return true
		}
		switch words[1] {
		case "REPLY", "TRACKING", "CACHING":
			return !inMulti(s)
		}
	}
	return true
}

func inMulti(s *session.Session) bool {
	return !bytes.Contains(s.AppendInfo(nil, session.Facts{}), []byte(" multi=-1 "))
}

func TestSessionsAnswerAsTheServerDoes(t *testing.T) {
	compare(t, redistest.Start(t, redistest.Config{}), "", []string{"PING"})
}

func TestSessionsThatNeedAPasswordAnswerAsTheServerDoes(t *testing.T) {
	server := redistest.Start(t, redistest.Config{Password: "secret", Args: []string{"--enable-debug-command", "yes"}})
	// A server closes who has not named himself and takes no replies. It counts them where its first buffer is full, which
	// it makes smaller while a connection rests.
	server.Do("DEBUG", "REPLYBUFFER", "RESIZING", "0")
	compare(t, server, "secret", []string{"AUTH", "secret"})
}

// compare runs random requests on one connection to a server, and through a session whose
// steps are carried out on others.
func compare(t *testing.T, server *redistest.Server, password string, tail []string) {
	if !strings.Contains(server.Do("INFO", "server"), "redis_version:"+version+"\r\n") {
		t.Skip("the server is not Redis " + version)
	}
	exec := newExecutor(t, server, password)
	cfg := &session.Config{ServerVersion: version, Databases: 16, NeedAuth: password != ""}
	rapid.Check(t, func(t *rapid.T) {
		w, err := dialServer(server)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		id, err := clientID(w, password)
		if err != nil {
			t.Fatal(err)
		}
		server.Do("FLUSHALL")
		exec.topics = map[session.Topic]bool{}
		s := session.New(cfg, id, w.LocalAddr().String())
		sent, got, closed := runSession(t, exec, s)
		server.Do("FLUSHALL")
		want, err := straight(w, sent, tail)
		if err != nil {
			t.Fatalf("%q: %v\nafter %q", sent, err, want)
		}
		got = finish(t, exec, s, got, closed, tail)
		if !bytes.Equal(got, want) {
			same := 0
			for same < min(len(got), len(want)) && got[same] == want[same] {
				same++
			}
			t.Fatalf("%s\nafter the same %q\nstraight: %q\nsession:  %q", lines(sent), want[max(0, same-100):same], want[same:], got[same:])
		}
	})
}

// runSession draws requests and gives them to a session, until it closes.
func runSession(t *rapid.T, exec *executor, s *session.Session) (sent [][]string, got []byte, closed bool) {
	turn := drawTurn(t)
	for range rapid.IntRange(1, 40).Draw(t, "length") {
		words := drawRequest(t, turn)
		if !compares(s, words) || strings.EqualFold(words[0], "QUIT") && silenced(sent) {
			continue
		}
		sent = append(sent, words)
		raw, args := request(words...)
		reply, last, err := exec.do(s, raw, args)
		if err != nil {
			t.Fatalf("%s\n%v", lines(sent), err)
		}
		if got = append(got, reply...); last {
			return sent, got, true
		}
	}
	return sent, got, false
}

// silenced is whether the client may have asked for no reply. A server never closes the
// connection of one that quits so.
func silenced(sent [][]string) bool {
	return slices.ContainsFunc(sent, func(words []string) bool {
		return len(words) == 3 && strings.EqualFold(words[1], "REPLY") && words[2] != "ON"
	})
}

// finish ends a session with RESET, as straight does, and checks that it is as a new one.
func finish(t *rapid.T, exec *executor, s *session.Session, got []byte, closed bool, tail []string) []byte {
	if closed {
		if err := exec.release(s.Ended()); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, words := range [][]string{{"RESET"}, tail, {"ECHO", "the very end"}} {
		raw, args := request(words...)
		reply, _, err := exec.do(s, raw, args)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, reply...)
	}
	if exec.pin != nil || len(exec.topics) > 0 {
		t.Fatalf("after RESET the session holds %v and %v", exec.pin, exec.topics)
	}
	return got
}

func TestAWatchedKeyThatAnotherClientChangesFailsExec(t *testing.T) {
	server := redistest.Start(t, redistest.Config{})
	exec := newExecutor(t, server, "")
	exec.topics = map[session.Topic]bool{}
	s := session.New(&session.Config{Databases: 16}, 1, "")
	talk := func(want string, words ...string) {
		t.Helper()
		raw, args := request(words...)
		reply, _, err := exec.do(s, raw, args)
		if err != nil || string(reply) != want+"\r\n" {
			t.Fatalf("%q: %q, %v", words, reply, err)
		}
	}
	for _, changed := range []bool{true, false, true} {
		talk("+OK", "WATCH", "key")
		if changed {
			server.Do("SET", "key", "theirs")
		}
		talk("+OK", "MULTI")
		talk("+QUEUED", "SET", "key", "ours")
		if changed {
			talk("*-1", "EXEC")
		} else {
			talk("*1\r\n+OK", "EXEC")
		}
	}
	talk("$6\r\ntheirs", "GET", "key")
	if n := len(exec.idle[s.Key()]); n != 1 || exec.pin != nil {
		t.Errorf("%d conns are idle and %v is pinned", n, exec.pin)
	}
}

func clientID(w *wire, password string) (int64, error) {
	var raw []byte
	ask := [][]string{{"CLIENT", "ID"}, {"RESET"}}
	if password != "" {
		ask = append([][]string{{"AUTH", password}}, ask...)
	}
	for _, words := range ask {
		b, _ := request(words...)
		raw = append(raw, b...)
	}
	frames, err := w.frames(raw, len(ask))
	if err != nil {
		return 0, err
	}
	h, err := resp.ReadHead(frames[len(ask)-2])
	return h.Int, err
}

func lines(all [][]string) string {
	var b strings.Builder
	for _, words := range all {
		for i, word := range words {
			words[i] = strconv.Quote(word)
		}
		fmt.Fprintf(&b, "%s\n", strings.Join(words, " "))
	}
	return b.String()
}
