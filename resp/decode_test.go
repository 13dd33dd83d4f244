package resp_test

import (
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/resp"
)

func bulk(s string) resp.Value   { return resp.Value{Kind: resp.BulkString, Str: []byte(s)} }
func simple(s string) resp.Value { return resp.Value{Kind: resp.SimpleString, Str: []byte(s)} }
func integer(n int64) resp.Value { return resp.Value{Kind: resp.Integer, Int: n} }
func double(f float64) resp.Value {
	return resp.Value{Kind: resp.Double, Float: f}
}

func aggregate(k resp.Kind, elems ...resp.Value) resp.Value {
	return resp.Value{Kind: k, Elems: elems}
}

func TestDecodeGivesTheValue(t *testing.T) {
	for in, want := range map[string]resp.Value{
		"+OK\r\n":                               simple("OK"),
		"-ERR no\r\n":                           {Kind: resp.SimpleError, Str: []byte("ERR no")},
		":-9223372036854775808\r\n":             integer(math.MinInt64),
		":9223372036854775807\r\n":              integer(math.MaxInt64),
		":+05\r\n":                              integer(5),
		"$5\r\nhe\r\no\r\n":                     bulk("he\r\no"),
		"$-1\r\n":                               {Kind: resp.BulkString, Null: true},
		"*-1\r\n":                               {Kind: resp.Array, Null: true},
		"_\r\n":                                 {Kind: resp.Null, Null: true},
		"#t\r\n":                                {Kind: resp.Boolean, Int: 1},
		"#f\r\n":                                {Kind: resp.Boolean},
		",1.23\r\n":                             double(1.23),
		",-inf\r\n":                             double(math.Inf(-1)),
		",+inf\r\n":                             double(math.Inf(1)),
		",-nan\r\n":                             double(math.NaN()),
		",1e999\r\n":                            double(math.Inf(1)),
		",.5e1\r\n":                             double(5),
		"(-349289032840932850932485\r\n":        {Kind: resp.BigNumber, Str: []byte("-349289032840932850932485")},
		"!5\r\nERR x\r\n":                       {Kind: resp.BulkError, Str: []byte("ERR x")},
		"=15\r\ntxt:Some string\r\n":            {Kind: resp.Verbatim, Format: "txt", Str: []byte("Some string")},
		"=4\r\nabc:\r\n":                        {Kind: resp.Verbatim, Format: "abc"},
		"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n": bulk("Hello"),
		"*0\r\n":                                aggregate(resp.Array),
		"*?\r\n:1\r\n*?\r\n.\r\n.\r\n":          aggregate(resp.Array, integer(1), aggregate(resp.Array)),
		"%1\r\n+a\r\n*1\r\n:1\r\n":              aggregate(resp.Map, simple("a"), aggregate(resp.Array, integer(1))),
		"%?\r\n+a\r\n:1\r\n.\r\n":               aggregate(resp.Map, simple("a"), integer(1)),
		"~2\r\n+a\r\n$1\r\nb\r\n":               aggregate(resp.Set, simple("a"), bulk("b")),
		">2\r\n+message\r\n$2\r\nhi\r\n":        aggregate(resp.Push, simple("message"), bulk("hi")),
		"|1\r\n+ttl\r\n:9\r\n|0\r\n+OK\r\n":     {Kind: resp.SimpleString, Str: []byte("OK"), Attrs: []resp.Value{simple("ttl"), integer(9)}},
		"*1\r\n|1\r\n+ttl\r\n:9\r\n:3\r\n":      aggregate(resp.Array, resp.Value{Kind: resp.Integer, Int: 3, Attrs: []resp.Value{simple("ttl"), integer(9)}}),
	} {
		v, n, err := resp.Decode([]byte(in + "rest"))
		if err != nil || n != len(in) || !same(v, want) {
			t.Errorf("%q: %+v, %d bytes, error %v: want %+v", in, v, n, err, want)
		}
	}
}

func TestDecodeWaitsForTheWholeFrame(t *testing.T) {
	for _, frame := range frames {
		for cut := 0; cut < len(frame); cut += 1 + len(frame)/200 {
			in := []byte(frame[:cut])
			if _, _, err := resp.Decode(in); err != io.ErrUnexpectedEOF {
				t.Fatalf("Decode of %.60q cut at %d: %v", frame, cut, err)
			}
			if _, err := resp.FrameLen(in); err != io.ErrUnexpectedEOF {
				t.Fatalf("FrameLen of %.60q cut at %d: %v", frame, cut, err)
			}
			if _, err := resp.ReadHead(in); err != nil && err != io.ErrUnexpectedEOF {
				t.Fatalf("ReadHead of %.60q cut at %d: %v", frame, cut, err)
			}
			if _, err := resp.Elements(in); err == nil {
				t.Fatalf("Elements of %.60q cut at %d gives no error", frame, cut)
			}
		}
	}
}

func TestDecodeTakesNoMemoryForClaims(t *testing.T) {
	for _, in := range []string{"*1000000000\r\n:1\r\n", "$1000000000\r\nab", "*4611686018427387904\r\n", "%1000000000\r\n", "~1000000000\r\n*1000000000\r\n"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		resp.Decode([]byte(in))
		resp.Elements([]byte(in))
		runtime.ReadMemStats(&after)
		allocated := after.TotalAlloc - before.TotalAlloc
		if allocated > 1<<16 {
			t.Errorf("%q takes %d bytes of memory", in, allocated)
		}
	}
}

func TestReadHeadReadsNoFurtherThanItMust(t *testing.T) {
	for in, want := range map[string]resp.Head{
		"+OK\r\n":                        {Kind: resp.SimpleString, Str: []byte("OK"), Size: 5},
		":-7\r\n":                        {Kind: resp.Integer, Int: -7, Str: []byte("-7"), Size: 5},
		"#t\r\n":                         {Kind: resp.Boolean, Int: 1, Str: []byte("t"), Size: 4},
		",1.5\r\n":                       {Kind: resp.Double, Float: 1.5, Str: []byte("1.5"), Size: 6},
		"_\r\n":                          {Kind: resp.Null, Null: true, Size: 3},
		"$-1\r\n":                        {Kind: resp.BulkString, Null: true, Size: 5},
		"$2\r\nhi\r\n":                   {Kind: resp.BulkString, Str: []byte("hi"), Size: 8},
		"$?\r\n;2\r\nhi\r\n;0\r\n":       {Kind: resp.BulkString, Stream: true, Str: []byte("hi"), Size: 16},
		"=6\r\nmkd:ab\r\n":               {Kind: resp.Verbatim, Format: "mkd", Str: []byte("ab"), Size: 12},
		"*-1\r\n":                        {Kind: resp.Array, Null: true, Size: 5},
		"*0\r\n":                         {Kind: resp.Array, Size: 4},
		"*3\r\n":                         {Kind: resp.Array, Int: 3, Size: 4},
		"%4611686018427387903\r\n+a":     {Kind: resp.Map, Int: 1<<62 - 1, Size: 22},
		"*?\r\nwhatever":                 {Kind: resp.Array, Stream: true, Size: 4},
		">2\r\n":                         {Kind: resp.Push, Int: 2, Size: 4},
		"|1\r\n+a\r\n+b\r\n|0\r\n~5\r\n": {Kind: resp.Set, Int: 5, Size: 20},
	} {
		h, err := resp.ReadHead([]byte(in))
		if err != nil || string(h.Str) != string(want.Str) || (h.Str == nil) != (want.Str == nil) {
			t.Errorf("%q: %+v, error %v: want %+v", in, h, err, want)
		}
		h.Str, want.Str = nil, nil
		if h.Kind != want.Kind || h.Null != want.Null || h.Stream != want.Stream || h.Int != want.Int ||
			h.Float != want.Float || h.Format != want.Format || h.Size != want.Size {
			t.Errorf("%q: %+v: want %+v", in, h, want)
		}
	}
}

func TestElementsGivesFramesWithTheirAttributes(t *testing.T) {
	for in, want := range map[string]string{
		"*0\r\n": "", "*-1\r\n": "", "*?\r\n.\r\n": "",
		"*2\r\n$1\r\na\r\n*1\r\n:1\r\n":             "$1\r\na\r\n|*1\r\n:1\r\n",
		"%1\r\n+a\r\n|0\r\n+b\r\n":                  "+a\r\n||0\r\n+b\r\n",
		"%?\r\n+a\r\n+b\r\n.\r\n":                   "+a\r\n|+b\r\n",
		"|1\r\n+x\r\n+y\r\n~?\r\n+a\r\n_\r\n.\r\n+": "+a\r\n|_\r\n",
	} {
		elems, err := resp.Elements([]byte(in))
		got := make([]string, len(elems))
		for i, e := range elems {
			got[i] = string(e)
		}
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q: %q, error %v: want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"+OK\r\n", "$?\r\n;0\r\n", "_\r\n", "*1\r\n>0\r\n", "*1\r\n.\r\n", "*?\r\n.x", "%?\r\n+a\r\n.\r\n"} {
		var protocol *resp.ProtocolError
		if _, err := resp.Elements([]byte(in)); !errors.As(err, &protocol) {
			t.Errorf("%q: error is %v: want a *ProtocolError", in, err)
		}
	}
}

func TestReadingScalarsAllocatesNothing(t *testing.T) {
	for _, in := range []string{"+OK\r\n", ":12\r\n", "$5\r\nhello\r\n", ",1.5\r\n", "=6\r\ntxt:ab\r\n", "|1\r\n+a\r\n+b\r\n*5\r\n", "%?\r\n", "#t\r\n"} {
		b := []byte(in)
		if allocs := testing.AllocsPerRun(100, func() { resp.ReadHead(b); resp.FrameLen(b) }); allocs != 0 {
			t.Errorf("%q: %v allocations", in, allocs)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range "+-:$*_#,(!=%~|>;." {
		name := resp.Kind(k).String()
		if seen[name] || strings.Contains(name, `"`) {
			t.Errorf("kind %c is called %s", k, name)
		}
		seen[name] = true
	}
	if name := resp.Kind('x').String(); name != `"x"` {
		t.Errorf("kind x is called %s", name)
	}
}
