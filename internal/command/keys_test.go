package command_test

import (
	_ "embed"
	"slices"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

func TestMovableKeysAreThoseThatArgumentsPlace(t *testing.T) {
	check(t, "movable", `BLMPOP, BZMPOP, EVAL, EVALSHA, EVALSHA_RO, EVAL_RO, FCALL, FCALL_RO, GEORADIUS, GEORADIUSBYMEMBER,
		LMPOP, MIGRATE, MSETEX, SINTERCARD, SORT, SORT_RO, XREAD, XREADGROUP, ZDIFF, ZDIFFSTORE, ZINTER, ZINTERCARD, ZINTERSTORE,
		ZMPOP, ZUNION, ZUNIONSTORE`, func(info *command.Info) bool { return info.Movable })
}

// keyCase is a line of testdata/keys.txt.
type keyCase struct {
	line    string
	args    []string
	keys    []int
	refused bool // by every server
	routed  bool // by other keys than COMMAND GETKEYS lists
}

//go:embed testdata/keys.txt
var keyLines string

func keyCases() (cases []keyCase) {
	for line := range strings.Lines(keyLines) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		c := keyCase{line: line}
		line, c.routed = strings.CutPrefix(line, "?")
		line, c.refused = strings.CutPrefix(line, "!")
		for i, word := range strings.Fields(line) {
			word, key := strings.CutPrefix(word, "*")
			if key {
				c.keys = append(c.keys, i)
			}
			c.args = append(c.args, strings.Trim(word, "'"))
		}
		cases = append(cases, c)
	}
	return cases
}

// infoOf returns the command that args name, and args as values.
func infoOf(args []string) (*command.Info, []any) {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg
	}
	info, _ := command.Classify(values)
	return info, values
}

func inBytes(args []string) [][]byte {
	raw := make([][]byte, len(args))
	for i, arg := range args {
		raw[i] = []byte(arg)
	}
	return raw
}

func TestKeysAreAsListed(t *testing.T) {
	listed := map[*command.Info]bool{}
	for _, c := range keyCases() {
		info, values := infoOf(c.args)
		if info == nil {
			t.Errorf("%s: the command is unknown", c.line)
			continue
		}
		if len(c.keys) > 0 {
			listed[info] = true
		}
		got, ok := command.KeysOf(info, values, []int{-1})
		if !slices.Equal(got[1:], c.keys) || ok == c.refused || got[0] != -1 {
			t.Errorf("%s: the keys are %v and ok is %t, want %v", c.line, got[1:], ok, c.keys)
		}
		if same, ok := command.KeysOfBytes(info, inBytes(c.args), nil); !slices.Equal(same, c.keys) || ok == c.refused {
			t.Errorf("%s in bytes: the keys are %v and ok is %t, want %v", c.line, same, ok, c.keys)
		}
	}
	for info := range command.All() {
		if len(info.Keys) > 0 && !listed[info] {
			t.Errorf("%s has keys and is not in testdata/keys.txt", info.Name)
		}
	}
}

func TestKeysAmongArgumentsOfOtherTypes(t *testing.T) {
	for _, c := range []struct {
		args []any
		want []int
		ok   bool
	}{
		{[]any{"XREAD", "COUNT", 10, "BLOCK", 5, text("STREAMS"), "a", 7, 0, "$"}, []int{6, 7}, true},
		{[]any{"EVAL", "script", 2, 1, 2.5, 3}, []int{3, 4}, true},
		{[]any{"EVAL", "script", 2.0, "a", "b"}, []int{3, 4}, true},
		{[]any{"EVAL", "script", uint8(1), "a", "b"}, []int{3}, true},
		{[]any{"EVAL", "script", true, "a"}, []int{3}, true}, // it is sent as 1
		{[]any{"EVAL", "script", 1.5, "a"}, nil, false},
		{[]any{"EVAL", "script", -1, "a"}, nil, false},
		{[]any{"EVAL", "script", nil, "a"}, nil, false},
		{[]any{"EVAL", "script", 1 << 40, "a"}, nil, false},
		{[]any{"MIGRATE", "host", 1, bytes(nil), 0, 9, "KEYS", "a"}, []int{7}, true},
		{[]any{"MIGRATE", "host", 1, 0, 0, 9, "KEYS", "a"}, nil, false},
		{[]any{"SORT", "a", "LIMIT", 0, 1, "STORE", 5}, []int{1, 6}, true},
		{[]any{"SORT", "a", "STORE\x00x", "b"}, []int{1, 3}, true}, // servers read options as C strings
	} {
		info, _ := command.Classify(c.args)
		if got, ok := command.KeysOf(info, c.args, nil); !slices.Equal(got, c.want) || ok != c.ok {
			t.Errorf("%v: the keys are %v and ok is %t, want %v", c.args, got, ok, c.want)
		}
	}
	if got, ok := command.KeysOf(nil, []any{"NEW", "a"}, nil); got != nil || ok {
		t.Errorf("an unknown command has the keys %v", got)
	}
	if got, ok := command.KeysOf(command.Lookup("FLUSHALL"), nil, nil); got != nil || ok {
		t.Errorf("a command without its name has the keys %v", got)
	}
}

// FuzzKeys uses the lines of its input as arguments.
func FuzzKeys(f *testing.F) {
	for _, c := range keyCases() {
		f.Add(strings.Join(c.args, "\n"))
	}
	f.Fuzz(func(t *testing.T, input string) {
		words := strings.Split(input, "\n")
		info, values := infoOf(words)
		keys, ok := command.KeysOfBytes(info, inBytes(words), nil)
		if !ok && len(keys) > 0 {
			t.Fatalf("%q: refused with the keys %v", words, keys)
		}
		for i, key := range keys {
			if key < 1 || key >= len(words) || i > 0 && key <= keys[i-1] {
				t.Fatalf("%q: the keys are %v", words, keys)
			}
		}
		if same, also := command.KeysOf(info, values, nil); !slices.Equal(same, keys) || also != ok {
			t.Fatalf("%q: the keys are %v, and %v in bytes", words, same, keys)
		}
		slot, err := command.SlotOfBytes(info, inBytes(words))
		if (slot == command.NoSlot) != (err != nil || len(keys) == 0) || slot < command.NoSlot || slot >= command.Slots {
			t.Fatalf("%q: slot %d: %v", words, slot, err)
		}
	})
}
