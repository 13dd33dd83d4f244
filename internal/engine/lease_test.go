package engine

import (
	"strings"
	"testing"
	"time"
)

func TestRemainder(t *testing.T) {
	for _, c := range []struct {
		command string // words
		passed  time.Duration
		want    string
	}{
		{"BLPOP a b 3", 1200 * time.Millisecond, "BLPOP a b 1.800"},
		{"BLPOP a 0.5", time.Second, "BLPOP a 0.001"},
		{"BLPOP a 0", time.Hour, "BLPOP a 0"},
		{"BLPOP a soon", time.Hour, "BLPOP a soon"},
		{"BLMPOP 2.5 1 a LEFT", time.Second, "BLMPOP 1.500 1 a LEFT"},
		{"XREADGROUP GROUP g c BLOCK 5000 STREAMS s >", time.Second, "XREADGROUP GROUP g c BLOCK 4000 STREAMS s >"},
		{"XREAD STREAMS s 0", time.Second, "XREAD STREAMS s 0"},
		{"SET a 3", time.Second, "SET a 3"},
	} {
		if got := string(remainder(commandOf(c.command), c.passed)); got != string(commandOf(c.want)) {
			t.Errorf("%s after %v: %q: want %s", c.command, c.passed, got, c.want)
		}
	}
	two := append(commandOf("BLPOP a 3"), commandOf("PING")...)
	if got := remainder(two, time.Second); string(got) != string(two) {
		t.Errorf("several commands: %q", got)
	}
}

// commandOf returns an encoded command of words.
func commandOf(words string) []byte {
	var args [][]byte
	for _, word := range strings.Fields(words) {
		args = append(args, []byte(word))
	}
	return encodeBytes(args)
}
