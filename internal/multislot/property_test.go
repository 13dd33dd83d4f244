package multislot_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/resp"
	"pgregory.net/rapid"
)

// divided are the commands that the tests divide, with what each takes for a key.
var divided = map[string]string{"MGET": "", "MSET": "value", "DEL": "", "UNLINK": "", "EXISTS": "", "TOUCH": "", "XREAD": "id"}

func TestEveryCommandThatCanBeDividedIsTested(t *testing.T) {
	names := map[string]bool{}
	for info := range command.All() {
		if info.Request == command.MultiShard {
			names[info.Name] = true
		}
	}
	for name := range names {
		if _, ok := divided[name]; !ok {
			t.Errorf("%s can be divided, but no test divides it", name)
		}
	}
	if len(names) != len(divided) {
		t.Errorf("%d commands can be divided: want %d", len(names), len(divided))
	}
}

var keys = rapid.SampledFrom([]string{"a", "b", "c", "d", "{a}1", "{a}2", "{b}1", ""})

// draw returns a command and whether it names a key twice.
func draw(t *rapid.T) (args [][]byte, twice bool) {
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(divided))).Draw(t, "name")
	of := rapid.SliceOfN(keys, 1, 8).Draw(t, "keys")
	args = [][]byte{[]byte(name)}
	if divided[name] == "id" {
		if count := rapid.IntRange(0, 3).Draw(t, "count"); count > 0 {
			args = append(args, []byte("COUNT"), fmt.Append(nil, count))
		}
		args = append(args, []byte("STREAMS"))
	}
	seen := map[string]bool{}
	var ids [][]byte
	for i, k := range of {
		twice, seen[k] = twice || seen[k], true
		args = append(args, []byte(k))
		switch divided[name] {
		case "value":
			args = append(args, fmt.Append(nil, "v", i))
		case "id":
			ids = append(ids, fmt.Appendf(nil, "%d-0", rapid.IntRange(0, 5).Draw(t, "id")))
		}
	}
	return append(args, ids...), twice
}

// newInterpreter returns an interpreter with some of the keys.
func newInterpreter(t *rapid.T) *interpreter {
	m := &interpreter{proto: rapid.SampledFrom([]int{2, 3}).Draw(t, "proto"), strings: map[string]string{}, streams: map[string][]int{}}
	for _, k := range rapid.SliceOf(keys).Draw(t, "existing") {
		m.strings[k] = "old " + k
		m.streams[k] = append(m.streams[k], len(m.streams[k])+1)
	}
	return m
}

// The parts of a command, executed in any order, leave the same keys and make the same reply as the whole command.
func TestPartsDoWhatTheWholeDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := newInterpreter(t)
		parts := &interpreter{whole.proto, maps.Clone(whole.strings), whole.streams}
		args, twice := draw(t)
		info, _ := command.ClassifyBytes(args)
		cut := multislot.Divide(info, args)
		if cut == nil {
			t.Fatalf("%s was not divided", bytes.Join(args, []byte(" ")))
		}
		frames := make([][]byte, len(cut.Parts))
		slots := map[int]bool{}
		named := 0
		for _, i := range rapid.Permutation(indexes(len(frames))).Draw(t, "order") {
			p := &cut.Parts[i]
			if slot, err := command.SlotOfBytes(info, p.Args); err != nil || slot != p.Slot || slots[slot] {
				t.Fatalf("part %d, %s: slot %d, %v: want %d, once", i, bytes.Join(p.Args, []byte(" ")), slot, err, p.Slot)
			}
			slots[p.Slot] = true
			for _, key := range cut.Keys(i) {
				if named++; command.Slot(key) != p.Slot {
					t.Fatalf("part %d of slot %d has the key %q", i, p.Slot, key)
				}
			}
			frames[i] = parts.run(p.Args)
		}
		want, got := whole.run(args), cut.Join(frames)
		if twice && info.Name == "XREAD" { // the order of two replies for one stream is unspecified
			want, got = sorted(t, want), sorted(t, got)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", bytes.Join(args, []byte(" ")), got, want)
		}
		if !maps.Equal(parts.strings, whole.strings) {
			t.Errorf("%s left %v: want %v", bytes.Join(args, []byte(" ")), parts.strings, whole.strings)
		}
		if all, _ := command.KeysOfBytes(info, args, nil); named != len(all) {
			t.Errorf("the parts have %d keys: want %d", named, len(all))
		}
	})
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// sorted returns the bytes of the elements of a reply in an order that depends on the elements only.
func sorted(t *rapid.T, frame []byte) []byte {
	valid(t, frame)
	elements, err := resp.Elements(frame)
	if err != nil {
		return frame
	}
	if frame[0] == '%' {
		var pairs [][]byte
		for i := 0; i < len(elements); i += 2 {
			pairs = append(pairs, slices.Concat(elements[i], elements[i+1]))
		}
		elements = pairs
	}
	slices.SortFunc(elements, bytes.Compare)
	return slices.Concat(slices.Concat(elements...), frame[:1])
}

// valid fails the test unless the bytes are one complete frame.
func valid(t *rapid.T, frame []byte) {
	if n, err := resp.FrameLen(frame); err != nil || n != len(frame) {
		t.Fatalf("%q is not one frame: %d, %v", frame, n, err)
	}
}

// An error of one part is the reply to the whole command.
func TestAnErrorOfAPartIsTheReply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newInterpreter(t)
		args, _ := draw(t)
		info, _ := command.ClassifyBytes(args)
		cut := multislot.Divide(info, args)
		frames := make([][]byte, len(cut.Parts))
		for i, p := range cut.Parts {
			frames[i] = m.run(p.Args)
		}
		failed := []byte("-WRONGTYPE Operation against a key\r\n")
		if m.proto == 3 && rapid.Bool().Draw(t, "bulk") {
			failed = []byte("!11\r\nERR a\r\nfail\r\n")
		}
		frames[rapid.IntRange(0, len(frames)-1).Draw(t, "part")] = failed
		if got := cut.Join(frames); !bytes.Equal(got, failed) {
			t.Errorf("%s: got %q, want %q", info.Name, got, failed)
		}
	})
}

// frameGen draws replies of any kind.
var frameGen = rapid.SampledFrom([]string{
	"+OK\r\n", "-ERR x\r\n", ":1\r\n", ":-9223372036854775808\r\n", "$1\r\na\r\n", "$-1\r\n", "*-1\r\n", "_\r\n", "*0\r\n", "%0\r\n", "~0\r\n",
	"*1\r\n:1\r\n", "*2\r\n:1\r\n$1\r\na\r\n", "*1\r\n*0\r\n", "*1\r\n*2\r\n$1\r\na\r\n*0\r\n", "*1\r\n-ERR y\r\n", "%1\r\n$1\r\na\r\n*0\r\n",
	"%1\r\n*0\r\n_\r\n", "~1\r\n:2\r\n", "#t\r\n", ",1.5\r\n", "(12345678901234567890\r\n", "=5\r\ntxt:a\r\n", "!3\r\nERR\r\n", "*?\r\n:1\r\n.\r\n", "%?\r\n+a\r\n:1\r\n.\r\n",
})

// Whatever nodes reply, the joined reply is one complete frame.
func TestUnexpectedRepliesMakeOneFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		args, _ := draw(t)
		info, _ := command.ClassifyBytes(args)
		cut := multislot.Divide(info, args)
		frames := make([][]byte, len(cut.Parts))
		for i := range frames {
			frames[i] = []byte(frameGen.Draw(t, "frame"))
		}
		valid(t, cut.Join(frames))
		for policy := command.OneReply; policy <= command.SpecialReply; policy++ {
			valid(t, multislot.Merge(policy, frames))
		}
	})
}

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		policy command.ReplyPolicy
		frames []string
		want   string
	}{
		{command.AllSucceeded, []string{"+OK\r\n", "+OK\r\n"}, "+OK\r\n"},
		{command.AllSucceeded, []string{"+OK\r\n", "-ERR a\r\n", "-ERR b\r\n"}, "-ERR a\r\n"},
		{command.OneSucceeded, []string{"-NOTBUSY a\r\n", "+OK\r\n", "-NOTBUSY b\r\n"}, "+OK\r\n"},
		{command.OneSucceeded, []string{"-NOTBUSY a\r\n", "-NOTBUSY b\r\n"}, "-NOTBUSY a\r\n"},
		{command.AggSum, []string{":1\r\n", ":2\r\n", ":-5\r\n"}, ":-2\r\n"},
		{command.AggSum, []string{"*2\r\n:1\r\n:2\r\n", "*2\r\n:3\r\n:4\r\n"}, "*2\r\n:4\r\n:6\r\n"},
		{command.AggMin, []string{":3\r\n", ":1\r\n", ":2\r\n"}, ":1\r\n"},
		{command.AggMax, []string{":1\r\n", ":3\r\n", ":2\r\n"}, ":3\r\n"},
		{command.AggLogicalAnd, []string{"*3\r\n:1\r\n:0\r\n:1\r\n", "*3\r\n:1\r\n:1\r\n:0\r\n"}, "*3\r\n:1\r\n:0\r\n:0\r\n"},
		{command.AggLogicalOr, []string{":0\r\n", ":1\r\n"}, ":1\r\n"},
		{command.Joined, []string{"*1\r\n$1\r\na\r\n", "*0\r\n", "*1\r\n$1\r\nb\r\n"}, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
		{command.Joined, []string{"%1\r\n+a\r\n:1\r\n", "_\r\n", "%1\r\n+b\r\n:2\r\n"}, "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n"},
		{command.Joined, []string{"_\r\n", "_\r\n"}, "_\r\n"},
	} {
		var frames [][]byte
		for _, f := range c.frames {
			frames = append(frames, []byte(f))
		}
		if got := string(multislot.Merge(c.policy, frames)); got != c.want {
			t.Errorf("%v of %q: got %q, want %q", c.policy, c.frames, got, c.want)
		}
	}
}

// A node replies with the error of malformed commands, so they are not divided. Other commands never are.
func TestMalformedAndOtherCommandsAreNotDivided(t *testing.T) {
	for _, line := range []string{"MGET", "MSET a", "MSET a 1 b", "XREAD", "XREAD STREAMS a b 0", "XREAD COUNT 1 a 0", "SUNION a b", "MSETNX a 1 b 2", "GET a", "PING"} {
		args := bytes.Fields([]byte(line))
		info, _ := command.ClassifyBytes(args)
		if cut := multislot.Divide(info, args); cut != nil {
			t.Errorf("%s was divided into %d parts", line, len(cut.Parts))
		}
	}
}
