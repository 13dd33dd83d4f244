package resp_test

import (
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-2b0d76a6/respool/resp"
)

func addSeeds(f *testing.F, add func(in []byte)) {
	for _, in := range slices.Concat(frames, malformed) {
		if len(in) < 2000 {
			add([]byte(in))
			add([]byte(in + "$3\r\nabc\r\n" + in))
		}
	}
}

// FuzzScanner cuts any input anywhere: frames end where Decode says, and errors come
// in the same frame.
func FuzzScanner(f *testing.F) {
	addSeeds(f, func(in []byte) { f.Add(in, uint64(len(in)), uint16(0)) })
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, limit uint16) {
		want, wantErr := decodeAll(t, in)
		for _, cut := range []func() int{whole, single, random(rand.New(rand.NewPCG(seed, 0)))} {
			ends, err := scanCut(t, new(resp.Scanner), in, cut)
			if !slices.Equal(ends, want) || (err != nil) != wantErr {
				t.Fatalf("%q: ends at %v, error %v: Decode says %v, error %v", in, ends, err, want, wantErr)
			}
			limited, err := scanCut(t, &resp.Scanner{Limit: int64(limit)}, in, cut)
			if within := endsWithin(want, int(limit)); !slices.Equal(limited, within) || len(within) < len(want) && err == nil {
				t.Fatalf("%q: ends with a limit of %d at %v, error %v: want %v", in, limit, limited, err, within)
			}
		}
	})
}

// decodeAll gives the ends of the frames in in, and whether an error follows them.
func decodeAll(t *testing.T, in []byte) (ends []int, failed bool) {
	for end := 0; end < len(in); {
		_, n, err := resp.Decode(in[end:])
		if want := reference(string(in[end:])); err == nil && n != want || err != nil && want >= 0 {
			t.Fatalf("%q: %d bytes, error %v: the reference says %d", in[end:], n, err, want)
		}
		if err != nil {
			return ends, err != io.ErrUnexpectedEOF
		}
		end += n
		ends = append(ends, end)
	}
	return ends, false
}

// endsWithin gives the ends of the frames before the first that is larger than limit.
func endsWithin(ends []int, limit int) []int {
	for i, start := 0, 0; i < len(ends) && limit > 0; i++ {
		if ends[i]-start > limit {
			return ends[:i]
		}
		start = ends[i]
	}
	return ends
}

// FuzzDecode checks what Decode says against the other readers of a frame.
func FuzzDecode(f *testing.F) {
	addSeeds(f, func(in []byte) { f.Add(in) })
	f.Fuzz(func(t *testing.T, in []byte) {
		v, n, err := resp.Decode(in)
		size, sizeErr := resp.FrameLen(in)
		if size != n || (err == nil) != (sizeErr == nil) {
			t.Fatalf("%q: Decode reads %d, error %v; FrameLen says %d, error %v", in, n, err, size, sizeErr)
		}
		if err != nil {
			return
		}
		again, _, err := resp.Decode(in[:n:n])
		if err != nil || !same(v, again) {
			t.Fatalf("%q alone decodes to %+v, error %v: want %+v", in[:n], again, err, v)
		}
		if _, _, err := resp.Decode(in[:n-1]); err != io.ErrUnexpectedEOF {
			t.Fatalf("%q without its last byte: error %v", in[:n], err)
		}
	})
}

// FuzzElements checks ReadHead and Elements against Decode.
func FuzzElements(f *testing.F) {
	addSeeds(f, func(in []byte) { f.Add(in) })
	f.Fuzz(func(t *testing.T, in []byte) {
		v, n, err := resp.Decode(in)
		head, headErr := resp.ReadHead(in)
		elems, elemsErr := resp.Elements(in)
		if err != nil {
			if elemsErr == nil {
				t.Fatalf("%q: Decode fails with %v, and Elements does not", in, err)
			}
			return
		}
		if headErr != nil || head.Kind != v.Kind || head.Null != v.Null || head.Size > n {
			t.Fatalf("%q: head %+v, error %v: want %+v", in, head, headErr, v)
		}
		if v.Kind != resp.Array && v.Kind != resp.Map && v.Kind != resp.Set && v.Kind != resp.Push {
			v.Attrs, v.Elems = nil, nil
			scalar := resp.Value{Kind: head.Kind, Null: head.Null, Str: head.Str, Format: head.Format, Int: head.Int, Float: head.Float}
			if v.Str == nil {
				scalar.Str = nil
			}
			if !same(v, scalar) || head.Size != n || elemsErr == nil {
				t.Fatalf("%q: head %+v, elements' error %v: want %+v", in, head, elemsErr, v)
			}
			return
		}
		if elemsErr != nil || len(elems) != len(v.Elems) {
			t.Fatalf("%q: %d elements, error %v: want %d", in, len(elems), elemsErr, len(v.Elems))
		}
		for i, elem := range elems {
			got, n, err := resp.Decode(elem)
			if err != nil || n != len(elem) || !same(got, v.Elems[i]) {
				t.Fatalf("%q: element %d is %q, error %v: want %+v", in, i, elem, err, v.Elems[i])
			}
		}
	})
}
