package session_test

import (
	"strings"

	"pgregory.net/rapid"
)

// state is the vocabulary of the comparison. Words in braces are drawn.
var state = strings.Split(strings.TrimSpace(`
MULTI
MULTI
MULTI
MULTI x
EXEC
EXEC
EXEC
EXEC x
DISCARD
DISCARD x
WATCH {key}
WATCH {key}
WATCH {key} {key}
WATCH
UNWATCH
UNWATCH x
SELECT {db}
SELECT {db}
SELECT {number}
SELECT
SET {key} {value}
SET {key} {value}
SET {key}
GET {key}
GET {key}
GET
INCR {key}
LPUSH {key} {value}
LPOP {key}
BLPOP {key} 0.01
BLPOP {key} x
HGETALL {key}
XREAD BLOCK 1 STREAMS {key} $
DBSIZE
SUBSCRIBE {channel}
SUBSCRIBE {channel} {channel}
SUBSCRIBE
PSUBSCRIBE {channel}
SSUBSCRIBE {channel} {channel}
UNSUBSCRIBE
UNSUBSCRIBE {channel}
UNSUBSCRIBE {channel} {channel}
PUNSUBSCRIBE
PUNSUBSCRIBE {channel}
SUNSUBSCRIBE
SUNSUBSCRIBE {channel}
HELLO
HELLO 2
HELLO 3
HELLO 3
HELLO {number}
HELLO 3 SETNAME {name}
HELLO 2 SETNAME
HELLO 2 SETNAME {name} FOO
HELLO 2 AUTH default {password}
HELLO 3 AUTH default {password} SETNAME {name}
HELLO 3 AUTH default
AUTH {password}
AUTH default {password}
AUTH nobody {password}
AUTH a b c
AUTH
CLIENT SETNAME {name}
CLIENT SETNAME {name}
CLIENT SETNAME
CLIENT GETNAME
CLIENT GETNAME
CLIENT GETNAME x
CLIENT ID
CLIENT REPLY ON
CLIENT REPLY OFF
CLIENT REPLY SKIP
CLIENT REPLY SKIP
CLIENT REPLY x
CLIENT REPLY
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT TRACKING OFF
CLIENT TRACKING OFF NOLOOP
CLIENT TRACKING OFF x
CLIENT TRACKING x
CLIENT CACHING YES
CLIENT NO-EVICT ON
CLIENT NO-EVICT x
CLIENT UNPAUSE x
CLIENT NOPE
CLIENT NOPE x
CLIENT
READONLY
READWRITE x
ASKING
RESET
RESET
RESET x
PING
PING
PING {value}
PING {value} {value}
ECHO {value}
ECHO
NOPE
NOPE {value} {value}
XGROUP NOPE
XGROUP
QUIT
`), "\n")

var choices = map[string][]string{
	"{key}":      {"k1", "k2", "k3"},
	"{value}":    {"", "1", "two words", "a\r\nb", strings.Repeat("x", 300), "\x00\xff"},
	"{db}":       {"0", "0", "1", "1", "15", "16", "-1"},
	"{number}":   {"x", "03", "+3", "4", " 3", "99999999999", "99999999999999999999", ""},
	"{channel}":  {"c1", "c2", ""},
	"{name}":     {"me", "you", "", "a b", "a\n"},
	"{password}": {"secret", "wrong"},
}

// drawRequest draws from state. Entries near the front are drawn more often, so turn rotates another part to the front.
func drawRequest(t *rapid.T, turn int) []string {
	i := rapid.IntRange(0, len(state)-1).Draw(t, "request")
	words := strings.Fields(state[(i+turn)%len(state)])
	for i, word := range words {
		if from, ok := choices[word]; ok {
			words[i] = rapid.SampledFrom(from).Draw(t, word)
		}
	}
	if rapid.IntRange(0, 3).Draw(t, "case") == 0 {
		words[0] = strings.ToLower(words[0])
	}
	return words
}

func drawTurn(t *rapid.T) int {
	return rapid.SampledFrom([]int{0, 0, len(state) / 4, len(state) / 2, len(state) * 3 / 4}).Draw(t, "turn")
}
