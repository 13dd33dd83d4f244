package observe

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func args(line string) (list [][]byte) {
	for _, word := range strings.Fields(line) {
		list = append(list, []byte(word))
	}
	return list
}

func TestADescriptionShowsOnlyKeys(t *testing.T) {
	for line, want := range map[string]string{
		"set k secret":                  "SET k",
		"MSET a secret b secret":        "MSET a b",
		"DEL a b c d e":                 "DEL a b c (and 2 keys)",
		"AUTH secret":                   "AUTH",
		"AUTH user secret":              "AUTH",
		"HELLO 3 AUTH user secret":      "HELLO",
		"CONFIG SET requirepass secret": "CONFIG SET",
		"EVAL secret 1 k secret":        "EVAL k",
		"EVAL secret nonsense":          "EVAL",
		"PUBLISH secret secret":         "PUBLISH",
		"XADD s * field secret":         "XADD s",
		"MIGRATE h 1 k 0 1 AUTH secret": "MIGRATE",
		"secret secret":                 "an unknown command",
		"GET a\x1b\"":                   `GET a\x1b\"`,
	} {
		if got := Describe(args(line)); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	long := strings.Repeat("k", 1000)
	if got := Describe(args("GET " + long)); got != "GET "+long[:longestKey]+"..." {
		t.Error(got)
	}
}

// No command shows an argument that is not a key, whatever its arguments are: passwords are among them.
func TestNoCommandShowsASecret(t *testing.T) {
	for _, line := range []string{"AUTH S", "AUTH u S", "AUTH a b c S", "HELLO 3 AUTH u S SETNAME S", "ACL SETUSER u >S", "ACL SETUSER S #S", "CONFIG SET requirepass S",
		"CONFIG SET masterauth S save S", "CONFIG S S", "MIGRATE h 1 k 0 1 AUTH S", "MIGRATE h 1 E 0 1 AUTH2 u S KEYS a", "MIGRATE h 1 E 0 1 KEYS a AUTH S",
		"MIGRATE h 1 E 0 1 COPY AUTH KEYS KEYS S", "SENTINEL SET m auth-pass S", "MODULE LOADEX p CONFIG a S ARGS S", "CLIENT SETNAME S", "REPLICAOF S 1", "S S", "RESPOOL S S",
		"EVAL S 0 S", "EVAL S 99 S", "SCRIPT LOAD S", "FUNCTION LOAD S", "ECHO S", "PUBLISH S S", "SORT k BY S GET S", "SET k S EX S", "RESTORE k 0 S"} {
		var l HotList
		request := args(strings.NewReplacer("S", "hushhush", "E", "\x00").Replace(line))
		for i := range request {
			request[i] = bytes.ReplaceAll(request[i], []byte{0}, nil)
		}
		l.Observe(request)
		hot, _, _ := l.Top(9)
		if text := fmt.Sprint(Describe(request), hot); strings.Contains(text, "hushhush") {
			t.Errorf("%s: %s", line, text)
		}
	}
}

// The counts follow the bounds of Space-Saving.
func TestHotKeysHaveBoundedErrors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l HotList
		uses := map[string]uint64{}
		keys := rapid.IntRange(1, 4*HotKeys).Draw(t, "keys")
		seed := rapid.Uint64().Draw(t, "seed")
		const n = 8 * HotKeys
		for i := range uint64(n) {
			seed = seed*6364136223846793005 + 1442695040888963407
			key := fmt.Sprint("k", (seed>>33)%uint64(keys))
			if seed>>60 < 4 || i%8 == 0 {
				key = fmt.Sprint("hot", seed>>62)
			}
			uses[key]++
			l.Observe(args("GET " + key))
		}
		list, total, _ := l.Top(10 * HotKeys)
		if total != n || len(list) > HotKeys {
			t.Fatalf("%d uses, %d keys", total, len(list))
		}
		seen := map[string]bool{}
		for _, k := range list {
			seen[k.Key] = true
			if k.Count < uses[k.Key] || k.Count-k.Error > uses[k.Key] {
				t.Errorf("%+v: the key has %d uses", k, uses[k.Key])
			}
		}
		for key, used := range uses {
			if used > n/HotKeys && !seen[key] {
				t.Errorf("%s with %d of %d uses is missing", key, used, n)
			}
		}
	})
}

func TestTheSampleIsOneIn64OfAnyPattern(t *testing.T) {
	for _, step := range []uint64{1, 2, 3, 64, 1000} {
		n := 0
		for i := range uint64(64_000) {
			if Sampled(i*step, 7) {
				n++
			}
		}
		if n < 800 || n > 1200 {
			t.Errorf("%d of 64,000 requests, every %dth: want about 1,000", n, step)
		}
	}
}

func TestTheSlowLogKeepsTheNewest(t *testing.T) {
	var l SlowLog
	for i := range 3 * SlowEntries {
		l.Add(SlowEntry{Client: int64(i)})
	}
	all := l.Newest(10 * SlowEntries)
	if len(all) != SlowEntries || all[0].ID != 3*SlowEntries || all[0].Client != 3*SlowEntries-1 || all[SlowEntries-1].ID != 2*SlowEntries+1 {
		t.Errorf("%d entries from %d to %d", len(all), all[0].ID, all[len(all)-1].ID)
	}
	l.Reset()
	if l.Add(SlowEntry{Queue: 1, Server: 2, Write: 3}); len(l.Newest(9)) != 1 || l.Newest(9)[0].ID != 3*SlowEntries+1 || l.Newest(9)[0].Total() != 6 {
		t.Errorf("%+v", l.Newest(9))
	}
}

func TestTheSlowLogAdmitsSoManyInASecond(t *testing.T) {
	var l SlowLog
	for second := range int64(3) {
		for i := range 2 * SlowEntries {
			if got, want := l.Admit((second+10)*int64(time.Second)+int64(i)), i < SlowEntries; got != want {
				t.Fatalf("second %d, entry %d: %v", second, i, got)
			}
		}
	}
	l.Miss()
	if l.Add(SlowEntry{}); l.Count() != 2 {
		t.Errorf("%d slow commands: want 2", l.Count())
	}
}

func TestTheLargestRepliesStay(t *testing.T) {
	var l BigList
	for i := range 10 * BigReplies {
		l.Observe(LeastBig+i*7919%10_007, fmt.Sprint("GET ", i))
		l.Observe(LeastBig+20_000, "GET largest")
	}
	list := l.Top(10 * BigReplies)
	if len(list) != BigReplies || list[0].Command != "GET largest" || list[0].Count != 10*BigReplies || time.Since(list[0].Last) > time.Hour {
		t.Fatalf("%d entries, first %+v", len(list), list[0])
	}
	for i := range list[1:] {
		if list[i+1].Largest > list[i].Largest {
			t.Fatalf("%+v is after %+v", list[i+1], list[i])
		}
	}
	if least := LeastBig + 10_007*8/10; list[BigReplies-1].Largest < least {
		t.Errorf("%+v: want at least %d", list[BigReplies-1], least)
	}
}
