package command_test

import (
	stdbytes "bytes"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// FuzzClassify uses the lines of its input as arguments. Strings and bytes must have the same results.
func FuzzClassify(f *testing.F) {
	for _, c := range classified {
		if raw, ok := toBytes(c.args); ok {
			f.Add(stdbytes.Join(raw, []byte("\n")))
		}
	}
	f.Add([]byte("MIGRATE\nhost\n6379\n\n0\n5000\nKEYS\na"))
	f.Add([]byte("EVAL\nreturn 1\n1\nkey"))
	f.Add([]byte("BLMPOP\n1e300\n1\na\nLEFT"))
	f.Fuzz(func(t *testing.T, input []byte) {
		raw := stdbytes.Split(input, []byte("\n"))
		args := make([]any, len(raw))
		for i, arg := range raw {
			args[i] = string(arg)
		}
		info, class := command.Classify(args)
		if (info == nil) != (class == command.Unknown) {
			t.Fatalf("%q: %v is %s", raw, info, class)
		}
		if inBytes, same := command.ClassifyBytes(raw); inBytes != info || same != class {
			t.Fatalf("%q: %q is %s, and %q is %s in bytes", raw, nameOf(info), class, nameOf(inBytes), same)
		}
		block := command.BlockFor(info, args)
		if block < command.NoBlock {
			t.Fatalf("%q: blocks for %v", raw, block)
		}
		if same := command.BlockForBytes(info, raw); same != block {
			t.Fatalf("%q: blocks for %v, and for %v in bytes", raw, block, same)
		}
		if class == command.Multiplexed && block != command.NoBlock {
			t.Fatalf("%q: shares a connection and blocks for %v", raw, block)
		}
	})
}
