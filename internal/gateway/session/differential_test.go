package session_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
	"pgregory.net/rapid"
)

// compares reports whether the session and the server may be compared for a request. It omits intended differences:
// commands that the session does not queue in a transaction, and the order of topics in an unsubscription from all. For
// older servers it omits commands that they lack or execute differently.
func compares(v redistest.Version, s *session.Session, words []string) bool {
	if lacking(v, s, words) {
		return false
	}
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

// lacking reports whether the version lacks a command or executes it differently.
func lacking(v redistest.Version, s *session.Session, words []string) bool {
	name := strings.ToUpper(words[0])
	channels, patterns, shards := s.Subscriptions()
	subscribed := channels+patterns+shards > 0
	switch {
	case !v.Since(7, 2) && name == "HELLO" && (len(words) > 4 || len(words) > 3 && !s.Authenticated()):
		return true // the server executes the options before the invalid one, and the name before the login
	case v.Valkey() && strings.HasSuffix(name, "UNSUBSCRIBE"):
		return !subscribed // 8.0.0 and 8.0.1 refuse it
	case v.Since(7, 0):
		return false
	}
	switch name {
	case "SSUBSCRIBE", "SUNSUBSCRIBE":
		return true
	case "RESET":
		return !s.Authenticated()
	case "CLIENT", "XGROUP":
		return len(words) > 1 && words[1] == "NO-EVICT" || inMulti(s) || subscribed || !s.Authenticated() // the server checks the subcommand last
	}
	return false
}

func inMulti(s *session.Session) bool {
	return !bytes.Contains(s.AppendInfo(nil, session.ConnInfo{}), []byte(" multi=-1 "))
}

func TestSessionsReplyLikeTheServer(t *testing.T) {
	compare(t, redistest.Start(t, redistest.Config{}), "", []string{"RESET"}, []string{"PING"})
}

func TestSessionsWithAPasswordReplyLikeTheServer(t *testing.T) {
	server := redistest.Start(t, redistest.Config{Password: "secret"})
	// A server closes a client that has not authenticated and reads no replies. It counts the replies beyond the first
	// buffer, which it shrinks while a connection is idle.
	if server.Version().Since(7, 0) { // before, a buffer keeps its size
		server.Do("DEBUG", "REPLYBUFFER", "RESIZING", "0")
	}
	compare(t, server, "secret", []string{"RESET"}, []string{"AUTH", "secret"})
}

// compare runs random requests directly on one connection to a server, and through a session whose steps run on other
// connections.
func compare(t *testing.T, server *redistest.Server, password string, tail ...[]string) {
	exec := newExecutor(t, server, password)
	greeting := greetingOf(t, server, password)
	cfg := &session.Config{Greeting: func() *session.Greeting { return greeting }, Databases: 16, NeedAuth: password != ""}
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
		tail := slices.Concat(tail, [][]string{{"ECHO", "the very end"}})
		if !server.Version().Since(7, 0) && !s.Authenticated() {
			tail = tail[1:] // RESET needs a password there
		}
		want, err := direct(w, slices.Concat(sent, tail))
		if err != nil {
			t.Fatalf("%q: %v\nafter %q", sent, err, want)
		}
		got = finish(t, exec, s, got, closed, tail)
		got, want = comparable(server.Version(), got), comparable(server.Version(), want)
		if !bytes.Equal(got, want) {
			same := 0
			for same < min(len(got), len(want)) && got[same] == want[same] {
				same++
			}
			t.Fatalf("%s\nafter the same %q\nstraight: %q\nsession:  %q", lines(sent), want[max(0, same-100):same], want[same:], got[same:])
		}
	})
}

// greetingOf queries the server's greeting.
func greetingOf(t *testing.T, server *redistest.Server, password string) *session.Greeting {
	w, err := dialServer(server)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	words := []string{"HELLO", "3"}
	if password != "" {
		words = append(words, "AUTH", "default", password)
	}
	raw, _ := request(words...)
	frames, err := w.frames(raw, 1)
	if err != nil {
		t.Fatal(err)
	}
	v, _, err := resp.Decode(frames[0])
	if err != nil {
		t.Fatal(err)
	}
	return session.ReadGreeting(&v)
}

// comparable replaces texts that differ between versions, and removes the reply that a server since 7.2 may omit.
func comparable(v redistest.Version, replies []byte) []byte {
	for text, same := range sameWords {
		replies = text.ReplaceAll(replies, []byte(same))
	}
	if !v.Since(7, 0) {
		for text, same := range olderWords {
			replies = text.ReplaceAll(replies, []byte(same))
		}
	}
	if v.DropsRefusedAuth() {
		replies = bytes.ReplaceAll(replies, []byte(wrongPass), nil)
	}
	return replies
}

const wrongPass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"

// sameWords maps texts that differ between servers to a common text.
var sameWords = map[*regexp.Regexp]string{
	regexp.MustCompile("HELLO (<proto> )?AUTH <user> <pass>"): "HELLO AUTH",
	regexp.MustCompile(", with args beginning with: \r\n"):    "\r\n",
}

// olderWords maps texts that differ in 6.2 to a common text.
var olderWords = map[*regexp.Regexp]string{
	regexp.MustCompile("-ERR (Unknown subcommand or wrong number of arguments for '[^']*'|unknown subcommand '[^']*'|" +
		`wrong number of arguments for '[a-z-]+\|[a-z-]+' command)(\. Try [A-Z]+ HELP\.)?\r\n`): "-ERR no such subcommand\r\n",
	regexp.MustCompile("unknown command [`']([^`'\r]*)[`'].*\r\n"):                                  "unknown command '$1'\r\n",
	regexp.MustCompile(`Can't execute '([a-z]+)[|a-z-]*': only \(P(\|S)?\)SUBSCRIBE / \(P(\|S)?\)`): "Can't execute '$1': only (P",
}

// runSession draws requests and passes them to a session until it closes.
func runSession(t *rapid.T, exec *executor, s *session.Session) (sent [][]string, got []byte, closed bool) {
	turn := drawTurn(t)
	for range rapid.IntRange(1, 40).Draw(t, "length") {
		words := drawRequest(t, turn)
		if !compares(exec.server.Version(), s, words) || strings.EqualFold(words[0], "QUIT") && silenced(sent) {
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

// silenced reports whether the client may have disabled replies. A server does not close such a client on QUIT.
func silenced(sent [][]string) bool {
	return slices.ContainsFunc(sent, func(words []string) bool {
		return len(words) == 3 && strings.EqualFold(words[1], "REPLY") && words[2] != "ON"
	})
}

// finish ends a session with tail, as direct does, and checks that it equals a new one.
func finish(t *rapid.T, exec *executor, s *session.Session, got []byte, closed bool, tail [][]string) []byte {
	if closed {
		if err := exec.release(s.End()); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, words := range tail {
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

func TestExecFailsIfAnotherClientChangesAWatchedKey(t *testing.T) {
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
	if n := len(exec.idle[s.Identity()]); n != 1 || exec.pin != nil {
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
