package multislot_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/resp"
	"pgregory.net/rapid"
)

// request encodes a command.
func request(line string) []byte {
	words := strings.Fields(line)
	raw := resp.AppendArrayHeader(nil, len(words))
	for _, w := range words {
		raw = resp.AppendBulkString(raw, w)
	}
	return raw
}

// commandOf returns the command of a request.
func commandOf(raw []byte) *command.Info {
	args, _ := resp.Elements(raw)
	for i := range args {
		args[i], _ = resp.StringOf(args[i])
	}
	info, _ := command.ClassifyBytes(args)
	return info
}

// histogram is a command in a reply to LATENCY HISTOGRAM: pairs are the limits of buckets and the numbers of calls.
func histogram(name string, calls int, pairs ...int) string {
	s := fmt.Sprintf("%s\r\n*4\r\n$5\r\ncalls\r\n:%d\r\n$14\r\nhistogram_usec\r\n*%d\r\n", name, calls, len(pairs))
	for _, n := range pairs {
		s += fmt.Sprintf(":%d\r\n", n)
	}
	return s
}

// histogram3 is a reply with one command in RESP3.
func histogram3(name string, calls int, pairs ...int) string {
	s := histogram(fmt.Sprintf("$%d\r\n%s", len(name), name), calls, pairs...)
	s = strings.Replace(s, "*4", "%2", 1)
	return "%1\r\n" + strings.Replace(s, fmt.Sprintf("*%d", len(pairs)), fmt.Sprintf("%%%d", len(pairs)/2), 1)
}

// refused is a reply to ACL LOG with entries of a user that have ages.
func refused(user string, ages ...string) string {
	for i, age := range ages {
		ages[i] = user + " " + age
	}
	return refusedBy(ages...)
}

// refusedBy is a reply to ACL LOG. Each entry is a user and an age.
func refusedBy(entries ...string) string {
	s := fmt.Sprintf("*%d\r\n", len(entries))
	for _, e := range entries {
		user, age, _ := strings.Cut(e, " ")
		s += fmt.Sprintf("*4\r\n$8\r\nusername\r\n$%d\r\n%s\r\n$11\r\nage-seconds\r\n$%d\r\n%s\r\n", len(user), user, len(age), age)
	}
	return s
}

// refused3 is a reply with one entry in RESP3.
func refused3(age string) string {
	return fmt.Sprintf("*1\r\n%%2\r\n$5\r\ncount\r\n:1\r\n$11\r\nage-seconds\r\n,%s\r\n", age)
}

// The replies of all nodes become one that a single server could return.
func TestMergeWhole(t *testing.T) {
	entries := func(list ...string) string {
		var b strings.Builder
		b.WriteString("*" + string(rune('0'+len(list))) + "\r\n")
		for _, e := range list {
			name, at, _ := strings.Cut(e, "@")
			b.WriteString("*3\r\n:" + name + "\r\n:" + at + "\r\n:7\r\n")
		}
		return b.String()
	}
	idle := "*2\r\n+running_script\r\n$-1\r\n"
	busy := "%1\r\n+running_script\r\n%1\r\n+name\r\n+f\r\n"
	event := func(at, last, most string) string {
		return "*4\r\n+command\r\n:" + at + "\r\n:" + last + "\r\n:" + most + "\r\n"
	}
	other := "*4\r\n+fork\r\n:1\r\n:1\r\n:1\r\n"
	for _, c := range []struct {
		request string
		frames  []string
		want    string
	}{
		{"SLOWLOG GET", []string{entries("1@30", "2@10"), entries(), entries("3@40", "4@30", "5@20")}, entries("3@40", "1@30", "4@30", "5@20", "2@10")},
		{"SLOWLOG GET 2", []string{entries("1@30", "2@10"), entries("3@40", "4@20")}, entries("3@40", "1@30")},
		{"SLOWLOG GET -1", []string{entries("1@30"), entries("2@10")}, entries("1@30", "2@10")},
		{"SLOWLOG GET x", []string{"-ERR not an integer\r\n", "-ERR not an integer\r\n"}, "-ERR not an integer\r\n"},
		{"COMMANDLOG GET 1 slow", []string{entries("1@30"), entries("2@40")}, entries("2@40")},
		{"ACL LOG", []string{refused("a", "30.5", "9"), refused("b", "8.25"), "*0\r\n"}, refusedBy("b 8.25", "a 9", "a 30.5")},
		{"ACL LOG 2", []string{refused("a", "30.5", "9"), refused("b", "8.25")}, refusedBy("b 8.25", "a 9")},
		{"ACL LOG", []string{refused3("7.5"), refused3("-1.5")}, "*2\r\n" + refused3("-1.5")[4:] + refused3("7.5")[4:]},
		{"ACL LOG RESET", []string{"+OK\r\n", "+OK\r\n"}, "+OK\r\n"},
		{"ACL LOG x", []string{"-ERR no\r\n", "*0\r\n"}, "-ERR no\r\n"},
		{"FUNCTION STATS", []string{idle, idle}, idle},
		{"FUNCTION STATS", []string{idle, busy, idle}, busy},
		{"FUNCTION STATS", []string{idle, "-NOPERM no\r\n"}, "-NOPERM no\r\n"},
		{"MEMORY STATS", []string{"%1\r\n+a\r\n:1\r\n", "%1\r\n+a\r\n:2\r\n"}, "%1\r\n+a\r\n:1\r\n"},
		{"LATENCY HISTOGRAM", []string{"*2\r\n" + histogram("$3\r\nset", 5, 1, 2, 4, 5), "*0\r\n", "*4\r\n" + histogram("$3\r\nget", 1, 8, 1) + histogram("$3\r\nset", 4, 2, 1, 4, 2, 16, 4)},
			"*4\r\n" + histogram("$3\r\nset", 9, 1, 2, 2, 3, 4, 7, 16, 9) + histogram("$3\r\nget", 1, 8, 1)},
		{"LATENCY HISTOGRAM set", []string{"%0\r\n", histogram3("set", 1, 8, 1), histogram3("set", 1, 8, 1)}, histogram3("set", 2, 8, 2)},
		{"LATENCY HISTOGRAM set", []string{"*0\r\n", "-NOPERM no\r\n"}, "-NOPERM no\r\n"},
		{"LATENCY HISTORY command", []string{"*2\r\n*2\r\n:3\r\n:9\r\n*2\r\n:5\r\n:9\r\n", "*1\r\n*2\r\n:4\r\n:8\r\n"}, "*3\r\n*2\r\n:3\r\n:9\r\n*2\r\n:4\r\n:8\r\n*2\r\n:5\r\n:9\r\n"},
		{"LATENCY LATEST", []string{"*1\r\n" + event("3", "5", "8"), "*2\r\n" + other + event("4", "2", "6")}, "*2\r\n" + event("4", "2", "8") + other},
		{"PUBSUB CHANNELS", []string{"*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*0\r\n", "*1\r\n$1\r\na\r\n"}, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
		{"PUBSUB NUMSUB a b", []string{"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:0\r\n", "*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:3\r\n"}, "*4\r\n$1\r\na\r\n:3\r\n$1\r\nb\r\n:3\r\n"},
		{"PUBSUB SHARDNUMSUB", []string{"*0\r\n", "*0\r\n"}, "*0\r\n"},
		{"PUBSUB NUMPAT", []string{":1\r\n", ":2\r\n"}, ":3\r\n"},
		{"LATENCY RESET", []string{":1\r\n", ":2\r\n"}, ":3\r\n"},
		{"SCRIPT KILL", []string{"-NOTBUSY no\r\n", "+OK\r\n"}, "+OK\r\n"},
	} {
		raw := request(c.request)
		info := commandOf(raw)
		var frames [][]byte
		for _, f := range c.frames {
			frames = append(frames, []byte(f))
		}
		if got := string(multislot.MergeWhole(info, raw, frames)); got != c.want {
			t.Errorf("%s of %q: got %q, want %q", c.request, c.frames, got, c.want)
		}
	}
}

// Whatever nodes reply, MergeWhole returns one complete frame.
func TestUnexpectedRepliesOfAllNodesMakeOneFrame(t *testing.T) {
	lines := rapid.SampledFrom([]string{"SLOWLOG GET 1", "ACL LOG 1", "FUNCTION STATS", "MEMORY STATS", "LATENCY HISTORY e", "LATENCY LATEST", "LATENCY HISTOGRAM", "PUBSUB CHANNELS", "PUBSUB NUMSUB a", "PUBSUB NUMPAT", "INFO", "DBSIZE", "KEYS *"})
	rapid.Check(t, func(t *rapid.T) {
		raw := request(lines.Draw(t, "command"))
		info := commandOf(raw)
		frames := make([][]byte, rapid.IntRange(1, 3).Draw(t, "nodes"))
		for i := range frames {
			frames[i] = []byte(frameGen.Draw(t, "frame"))
		}
		valid(t, multislot.MergeWhole(info, raw, frames))
	})
}

func TestScanPages(t *testing.T) {
	page := func(cursor string, names ...string) []byte {
		b := resp.AppendArrayHeader(resp.AppendBulkString(resp.AppendArrayHeader(nil, 2), cursor), len(names))
		for _, n := range names {
			b = resp.AppendBulkString(b, n)
		}
		return b
	}
	p := multislot.NewScanPage([][]byte{[]byte("SCAN"), []byte("0"), []byte("MATCH"), []byte("count"), []byte("count"), []byte("3")})
	for _, c := range []struct {
		frame  []byte
		cursor string
		full   bool
	}{{page("0", "a"), "0", false}, {page("7"), "7", false}, {page("9", "b", "c", "d"), "9", true}} {
		if cursor, ok := p.Add(c.frame); cursor != c.cursor || !ok || p.Full() != c.full {
			t.Errorf("%q: cursor %q, %v, full %v", c.frame, cursor, ok, p.Full())
		}
	}
	if got, want := string(p.Reply("5")), string(page("5", "a", "b", "c", "d")); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, f := range []string{"-ERR invalid cursor\r\n", "*1\r\n*0\r\n", "*2\r\n$1\r\n0\r\n:1\r\n", "*2\r\n*0\r\n*0\r\n"} {
		if _, ok := p.Add([]byte(f)); ok {
			t.Errorf("%q was accepted", f)
		}
	}
}
