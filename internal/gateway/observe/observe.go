// Package observe keeps what hurts a gateway, in bounded memory: its slow commands, the keys that are used most and the
// largest replies. It keeps names of commands, keys and sizes. It never keeps values, passwords or other arguments. It is
// not for counters, which the gateway has, and starts no goroutine.
package observe

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Report is what hurts a gateway at one moment.
type Report struct {
	SlowThreshold time.Duration // 0: there is no slow log
	SlowCount     uint64        // commands since the start, including those that are not kept
	Slow          []SlowEntry   // the newest first
	HotKeys       bool          // false: neither hot keys nor large replies are noted
	Hot           []HotKey      // those with the highest counts first
	HotUses       uint64        // all counted uses
	HotSince      time.Time     // when the counts began; zero: there are none
	Big           []BigReply    // the largest first
}

const (
	// longestKey bounds a kept key in bytes. Longer keys with the same beginning count as one.
	longestKey = 128
	// mostKeys bounds the keys that one description shows.
	mostKeys = 3
)

// Describe returns a command with its keys, such as "MGET a b (and 3 keys)". It shows no other argument. Unknown
// commands have no keys.
func Describe(args [][]byte) string {
	if len(args) == 0 {
		return ""
	}
	info, _ := command.ClassifyBytes(args)
	if info == nil {
		return "an unknown command"
	}
	var room [8]int
	keys := keysOf(info, args, room[:0])
	var b strings.Builder
	b.WriteString(info.Name)
	for i, at := range keys {
		if i == mostKeys {
			fmt.Fprintf(&b, " (and %d keys)", len(keys)-i)
			break
		}
		b.WriteByte(' ')
		b.WriteString(printable(args[at]))
	}
	return b.String()
}

// DescribeRaw is Describe for a request in canonical form. It describes several requests by the first one.
func DescribeRaw(raw []byte, requests int) string {
	if requests > 1 {
		return fmt.Sprintf("a transaction of %d commands", requests-2) // without MULTI and EXEC
	}
	args, err := resp.Elements(raw)
	if err != nil {
		return ""
	}
	for i := range args {
		args[i], _ = resp.StringOf(args[i])
	}
	return Describe(args)
}

// migrate has a password among its arguments, which a client may place after KEYS by mistake: its keys are not kept.
const migrate = "MIGRATE"

// keysOf appends the indexes of the keys that may be kept.
func keysOf(info *command.Info, args [][]byte, dst []int) []int {
	if info.Name == migrate {
		return dst
	}
	keys, _ := command.KeysOfBytes(info, args, dst)
	return keys
}

// shorten returns the part of a key that is kept.
func shorten(key []byte) []byte { return key[:min(len(key), longestKey)] }

// printable escapes and shortens a key.
func printable(key []byte) string {
	text := strconv.QuoteToASCII(string(shorten(key)))
	text = text[1 : len(text)-1]
	if len(key) > longestKey {
		text += "..."
	}
	return text
}
