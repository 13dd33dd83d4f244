package respool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// scripted is a fake cluster of three primaries whose replies a test sets, and its client.
type scripted struct {
	*fakeserver.Cluster
	client *respool.Client

	mu      sync.Mutex
	replies map[string][]string // by node and command name: the next replies; the last one stays
	seen    []string            // the commands that were answered so, with their node
}

func startScripted(t *testing.T, cross respool.CrossSlot) *scripted {
	t.Helper()
	s := &scripted{replies: map[string][]string{}}
	s.Cluster = fakeserver.StartCluster(t, fakeserver.ClusterConfig{Node: fakeserver.Config{Memory: true}, Answer: s.answer})
	var err error
	s.client, err = respool.New(respool.Options{
		Cluster: &respool.ClusterOptions{Addrs: s.Addrs()[:1], CrossSlot: cross}, Dialer: s.Dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.client.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// reply sets what a node replies to a command.
func (s *scripted) reply(node int, name string, replies ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies[fmt.Sprint(node, name)] = replies
}

// all sets what all nodes reply to a command.
func (s *scripted) all(name string, replies ...string) {
	for node := range s.Nodes() {
		s.reply(node, name, replies...)
	}
}

func (s *scripted) answer(node int, _ *fakeserver.Conn, args []string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := fmt.Sprint(node, args[0])
	list := s.replies[at]
	if len(list) == 0 {
		return "", false
	}
	s.seen = append(s.seen, fmt.Sprint(node, ":", strings.Join(args, " ")))
	if len(list) > 1 {
		s.replies[at] = list[1:]
	}
	return list[0], true
}

// took returns the scripted commands so far, sorted.
func (s *scripted) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.seen)
	s.seen = nil
	slices.Sort(list)
	return list
}

// keyOf returns a key of a node.
func (s *scripted) keyOf(node int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("key:", i); s.Owner(testkit.KeySlot(key)) == node {
			return key
		}
	}
}

// wantError checks that an error contains a text.
func wantError(t *testing.T, what string, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: got %v, want %q", what, err, text)
	}
}

const errFull = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

func TestAPartOfADividedCommandThatFails(t *testing.T) {
	s := startScripted(t, respool.CrossSlotSplit)
	ctx := t.Context()
	a, b := s.keyOf(0), s.keyOf(1)
	s.reply(0, "MSET", "+OK\r\n")
	s.reply(1, "MSET", errFull)
	err := s.client.Do(ctx, "MSET", a, 1, b, 2).Err()
	var partial *respool.PartialError
	if !errors.As(err, &partial) || !slices.Equal(partial.Done, []string{a}) || partial.Command != "MSET" {
		t.Errorf("got %v, want the key %s in a PartialError", err, a)
	}
	wantError(t, "MSET", err, "OOM")
	replies, err := s.client.Pipeline().Do("SET", a, 1).Do("MSET", a, 1, b, 2).Do("GET", a).Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, "MSET in a pipeline", replies[1].Err(), "took effect only on the keys")
	if got, err := replies[2].Text(); got != "1" {
		t.Errorf("the command behind it: got %q, %v", got, err)
	}

	s.reply(0, "MSET", errFull)
	var se *respool.ServerError
	if err := s.client.Do(ctx, "MSET", a, 1, b, 2).Err(); !errors.As(err, &se) || se.Code != "OOM" {
		t.Errorf("all parts failed: got %v, want the node's error", err)
	}
	s.reply(0, "MGET", "*1\r\n$1\r\nx\r\n")
	s.reply(1, "MGET", "-WRONGTYPE no\r\n")
	if err := s.client.Do(ctx, "MGET", a, b).Err(); !errors.As(err, &se) || se.Code != "WRONGTYPE" {
		t.Errorf("a read: got %v, want the node's error", err)
	}
}

func TestPartialErrorsNameEightKeys(t *testing.T) {
	err := &respool.PartialError{Command: "DEL", Err: errors.New("no")}
	for i := range 11 {
		err.Done = append(err.Done, fmt.Sprint("k", i))
	}
	if text := err.Error(); !strings.Contains(text, `"k7", 3 more: no`) || strings.Contains(text, "k8") {
		t.Errorf("got %s", text)
	}
}

func TestCrossSlotOptionsRefuseWhatTheyShould(t *testing.T) {
	for cross, reads := range map[respool.CrossSlot]bool{respool.CrossSlotReads: true, respool.CrossSlotRefuse: false} {
		t.Run(cross.String(), func(t *testing.T) {
			s := startScripted(t, cross)
			ctx := t.Context()
			a, b := s.keyOf(0), s.keyOf(1)
			s.all("MGET", "*1\r\n$1\r\nx\r\n")
			s.all("MSET", "+OK\r\n")
			wantError(t, "MSET", s.client.Do(ctx, "MSET", a, 1, b, 2).Err(), "different slots")
			replies, err := s.client.Pipeline().Do("MSET", a, 1, b, 2).Do("MGET", a, b).Do("SET", a, 1).Exec(ctx)
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, "MSET in a pipeline", replies[0].Err(), "CROSSSLOT")
			direct := s.client.Do(ctx, "MGET", a, b)
			for what, r := range map[string]respool.Reply{"MGET": direct, "MGET in a pipeline": replies[1]} {
				if got, err := r.Texts(); reads != (err == nil) || reads && !slices.Equal(got, []string{"x", "x"}) {
					t.Errorf("%s: got %v, %v", what, got, err)
				}
			}
			if err := replies[2].Err(); err != nil {
				t.Errorf("the command behind them: %v", err)
			}
		})
	}
}

func TestRepliesOfAllPrimaries(t *testing.T) {
	s := startScripted(t, respool.CrossSlotSplit)
	ctx := t.Context()
	s.all("DBSIZE", ":5\r\n")
	if n, err := s.client.Do(ctx, "DBSIZE").Int64(); n != 15 {
		t.Errorf("DBSIZE: got %d, %v", n, err)
	}
	s.reply(2, "DBSIZE", "-NOPERM no\r\n")
	wantError(t, "DBSIZE with a refusal", s.client.Do(ctx, "DBSIZE").Err(), "NOPERM")

	s.all("SCRIPT", "-NOTBUSY No scripts in execution right now.\r\n")
	wantError(t, "SCRIPT KILL without a script", s.client.Do(ctx, "SCRIPT", "KILL").Err(), "NOTBUSY")
	s.reply(1, "SCRIPT", "+OK\r\n")
	if got, err := s.client.Do(ctx, "SCRIPT", "KILL").Text(); got != "OK" {
		t.Errorf("SCRIPT KILL: got %q, %v: one success suffices", got, err)
	}

	s.all("FLUSHALL", "+OK\r\n")
	s.took()
	a := s.keyOf(0)
	replies, err := s.client.Pipeline().Do("SET", a, 1).Do("FLUSHALL").Do("DBSIZE").Do("GET", a).Exec(ctx)
	if err != nil || replies[1].Err() != nil || replies[3].Err() != nil {
		t.Errorf("a pipeline with a command for all nodes: %v, %v", replies, err)
	}
	wantError(t, "DBSIZE in a pipeline", replies[2].Err(), "NOPERM")
	if got := s.took(); len(got) != 6 {
		t.Errorf("the nodes took %q: want each of 2 commands 3 times", got)
	}
}

func TestRandomKeyOfTheNodesWithKeys(t *testing.T) {
	s := startScripted(t, respool.CrossSlotSplit)
	ctx := t.Context()
	s.all("DBSIZE", ":0\r\n")
	s.all("RANDOMKEY", "_\r\n")
	if r := s.client.Do(ctx, "RANDOMKEY"); !r.IsNil() {
		t.Errorf("an empty cluster: got %v, want null", r)
	}
	s.reply(1, "DBSIZE", ":7\r\n")
	s.reply(1, "RANDOMKEY", "$1\r\nk\r\n")
	for range 10 {
		if got, err := s.client.Do(ctx, "RANDOMKEY").Text(); got != "k" {
			t.Fatalf("got %q, %v: want the key of the only node that has one", got, err)
		}
	}
	s.reply(0, "DBSIZE", ":1000000\r\n") // its keys expire before it takes RANDOMKEY
	for range 10 {
		if got, err := s.client.Do(ctx, "RANDOMKEY").Text(); got != "k" {
			t.Fatalf("got %q, %v: want the key of another node", got, err)
		}
	}
	s.reply(2, "DBSIZE", "-NOPERM no\r\n")
	wantError(t, "RANDOMKEY", s.client.Do(ctx, "RANDOMKEY").Err(), "NOPERM")
}

func scanReply(cursor string, keys ...string) string {
	text := "*2\r\n" + fakeserver.Bulk(cursor) + fmt.Sprintf("*%d\r\n", len(keys))
	for _, k := range keys {
		text += fakeserver.Bulk(k)
	}
	return text
}

func TestScanCursorsLeadThroughAllPrimaries(t *testing.T) {
	s := startScripted(t, respool.CrossSlotSplit)
	ctx := t.Context()
	s.reply(0, "SCAN", scanReply("17", "a"), scanReply("0", "b"))
	s.reply(1, "SCAN", scanReply("0"))
	s.reply(2, "SCAN", scanReply("0", "c"))
	var keys []string
	cursor := "0"
	for first := true; first || cursor != "0"; first = false {
		r := s.client.Do(ctx, "SCAN", cursor, "COUNT", 10)
		parts, err := r.Array()
		if err != nil || len(parts) != 2 {
			t.Fatalf("got %v, %v", r, err)
		}
		cursor, _ = parts[0].Text()
		some, _ := parts[1].Texts()
		keys = append(keys, some...)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"a", "b", "c"}) {
		t.Errorf("got %q", keys)
	}
	if got := s.took(); !slices.Contains(got, "0:SCAN 17 COUNT 10") {
		t.Errorf("the nodes took %q: want the node's own cursor", got)
	}
	wantError(t, "a bad cursor", s.client.Do(ctx, "SCAN", "x").Err(), "cursor")
	wantError(t, "no cursor", s.client.Do(ctx, "SCAN").Err(), "wrong number of arguments")
	if got, err := s.client.Do(ctx, "SCAN", "1023").Array(); err != nil || len(got) != 2 {
		t.Errorf("a cursor of a node that does not exist: got %v, %v: want the end", got, err)
	}
	s.all("SCAN", "-NOPERM no\r\n")
	wantError(t, "a refused SCAN", s.client.Do(ctx, "SCAN", 0).Err(), "NOPERM")
	s.all("SCAN", "*1\r\n:1\r\n")
	if got, err := s.client.Do(ctx, "SCAN", 0).Array(); err != nil || len(got) != 1 {
		t.Errorf("another reply: got %v, %v: want the node's own", got, err)
	}
}

func TestScanEndsAtAnError(t *testing.T) {
	s := startScripted(t, respool.CrossSlotSplit)
	s.all("SCAN", scanReply("0", "k"))
	s.reply(1, "SCAN", "-NOPERM no\r\n")
	var failed error
	for _, err := range s.client.Scan(t.Context(), respool.ScanOptions{}) {
		failed = err
	}
	wantError(t, "Scan", failed, "NOPERM")
	s.all("SCAN", scanReply("0", "k"))
	n := 0
	for key, err := range s.client.Scan(t.Context(), respool.ScanOptions{}) {
		if n++; err != nil || key != "k" {
			t.Errorf("got %q, %v", key, err)
		}
	}
	if n != 3 {
		t.Errorf("got %d keys: want one of each node", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.client.Scan(ctx, respool.ScanOptions{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of ctx: %v", err)
		}
	}
}

func TestAScriptThatANodeLacksIsLoadedAgain(t *testing.T) {
	s := startScripted(t, respool.CrossSlotSplit)
	ctx := t.Context()
	const source, digest = "return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
	s.all("SCRIPT", fakeserver.Bulk(digest))
	s.all("EVALSHA", "-NOSCRIPT No matching script.\r\n")
	a := s.keyOf(1)
	wantError(t, "an unknown script", s.client.Do(ctx, "EVALSHA", digest, 1, a).Err(), "NOSCRIPT")
	if err := s.client.Do(ctx, "SCRIPT", "LOAD", source).Err(); err != nil {
		t.Fatal(err)
	}
	s.reply(1, "EVALSHA", "-NOSCRIPT No matching script.\r\n", ":1\r\n")
	s.took()
	if n, err := s.client.Do(ctx, "EVALSHA", digest, 1, a).Int64(); n != 1 {
		t.Errorf("got %d, %v", n, err)
	}
	evalsha := fmt.Sprintf("1:EVALSHA %s 1 %s", digest, a)
	load := "SCRIPT LOAD " + source
	if got := s.took(); !slices.Equal(got, []string{"0:" + load, evalsha, evalsha, "1:" + load, "2:" + load}) {
		t.Errorf("the nodes took %q", got)
	}
	if err := s.client.Do(ctx, "SCRIPT", "FLUSH").Err(); err != nil {
		t.Fatal(err)
	}
	s.reply(1, "EVALSHA", "-NOSCRIPT No matching script.\r\n")
	wantError(t, "after SCRIPT FLUSH", s.client.Do(ctx, "EVALSHA", digest, 1, a).Err(), "NOSCRIPT")
}

func TestAPipelineWithoutItsMapEndsWithItsCtx(t *testing.T) {
	s := startScripted(t, respool.CrossSlotSplit)
	s.all("CLUSTER", "-LOADING Redis is loading the dataset in memory\r\n")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		testkit.Await(t, "a query", func() int { return len(s.took()) }, testkit.AtLeast(1))
		cancel()
	}()
	a, b := s.keyOf(0), s.keyOf(1)
	replies, err := s.client.Pipeline().Do("SET", a, 1).Do("SET", b, 1).Exec(ctx)
	var ce *respool.ConnError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &ce) || ce.Sent || len(replies) != 2 || replies[0].Err() == nil {
		t.Errorf("got %v, %v", replies, err)
	}
	for _, do := range [][]any{{"DBSIZE"}, {"RANDOMKEY"}, {"SCAN", 0}, {"MGET", a, b}, {"GET", a}} {
		if err := s.client.Do(ctx, do...).Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", do, err)
		}
	}
}
