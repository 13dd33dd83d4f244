package resp_test

import (
	"bytes"
	"testing"

	"github.com/seed-2b0d76a6/respool/resp"
)

// FuzzStringOf holds the short cut against ReadHead, for whole frames.
func FuzzStringOf(f *testing.F) {
	addSeeds(f, func(in []byte) { f.Add(in) })
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := resp.FrameLen(in)
		if err != nil {
			return
		}
		frame := in[:n]
		got, ok := resp.StringOf(frame)
		h, err := resp.ReadHead(frame)
		if err != nil {
			t.Fatalf("%q is whole, but ReadHead says %v", frame, err)
		}
		plain := (frame[0] == byte(resp.SimpleString) || frame[0] == byte(resp.BulkString)) && !h.Null && !h.Stream
		if ok && !plain {
			t.Fatalf("%q is taken for a plain string", frame)
		}
		if ok && !bytes.Equal(got, h.Str) {
			t.Fatalf("%q: %q, ReadHead says %q", frame, got, h.Str)
		}
		if plain && !ok && len(h.Str) > 0 && n < 1000 && frame[1] != '0' {
			t.Fatalf("%q is a plain string that is not taken for one", frame)
		}
	})
}
