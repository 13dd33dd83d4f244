package resp_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// frames are well formed, and each is one frame.
var frames = []string{
	"+OK\r\n", "+\r\n", "-ERR unknown command 'x'\r\n", "+" + strings.Repeat("long ", 100) + "\r\n",
	"+" + strings.Repeat("x", 1<<20) + "\r\n",
	":0\r\n", ":+5\r\n", ":-17\r\n", ":007\r\n", ":9223372036854775807\r\n", ":-9223372036854775808\r\n",
	":" + strings.Repeat("0", 31) + "1\r\n",
	"$0\r\n\r\n", "$5\r\nhe\r\no\r\n", "$-1\r\n", "$005\r\nhello\r\n", "$00000000000003\r\nabc\r\n",
	"$?\r\n;0\r\n", "$?\r\n;4\r\nHell\r\n;6\r\no worl\r\n;1\r\nd\r\n;0\r\n", "$?\r\n;1\r\nx\r\n;000\r\n",
	"*0\r\n", "*-1\r\n", "*3\r\n:1\r\n:2\r\n:3\r\n", "*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n",
	"*2\r\n*3\r\n:1\r\n$5\r\nhello\r\n:2\r\n#f\r\n", "*3\r\n$5\r\nhello\r\n$-1\r\n*-1\r\n",
	"*?\r\n.\r\n", "*?\r\n:1\r\n:2\r\n*?\r\n.\r\n:3\r\n.\r\n", "*1\r\n*0\r\n", "*0001\r\n_\r\n",
	"_\r\n", "#t\r\n", "#f\r\n",
	",1.23\r\n", ",10\r\n", ",inf\r\n", ",-inf\r\n", ",nan\r\n", ",-nan\r\n", ",+1.5E-10\r\n", ",.5\r\n", ",5.\r\n", ",1e999\r\n",
	"," + strings.Repeat("1", 512) + "\r\n",
	"(3492890328409238509324850943850943825024385\r\n", "(-1\r\n", "(+0\r\n", "(\r\n", "(no number\r\n", "+" + strings.Repeat("x", 5000) + "\r\n",
	"!21\r\nSYNTAX invalid syntax\r\n", "!0\r\n\r\n", "=15\r\ntxt:Some string\r\n", "=4\r\nmkd:\r\n",
	"%0\r\n", "%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n", "%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n", "%?\r\n.\r\n",
	"~0\r\n", "~3\r\n+a\r\n$?\r\n;1\r\nb\r\n;0\r\n#t\r\n", "~?\r\n,1\r\n.\r\n",
	">3\r\n+message\r\n+channel\r\n$2\r\nhi\r\n", ">0\r\n",
	"|1\r\n+key-popularity\r\n%2\r\n$1\r\na\r\n,0.1923\r\n$1\r\nb\r\n,0.0012\r\n*2\r\n:2039123\r\n:9543892\r\n",
	"*3\r\n:1\r\n:2\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n", "|0\r\n|0\r\n+OK\r\n", "|1\r\n+a\r\n|0\r\n+b\r\n>1\r\n+c\r\n",
	"*?\r\n|1\r\n+a\r\n+b\r\n+c\r\n.\r\n", "%?\r\n|0\r\n+a\r\n|0\r\n*?\r\n.\r\n.\r\n",
	strings.Repeat("*1\r\n", 127) + "*0\r\n", strings.Repeat("*?\r\n", 128) + strings.Repeat(".\r\n", 128),
}

// malformed input is refused at its last byte, or before.
var malformed = []string{
	"\r", "\n", "x", " ", "\x00", ".", ";", "?", "P", "GET / HTTP/1.1\r\n",
	"+a\rb", "+a\n", "+\r\r", "-a\n",
	":\r", ":-\r", ":+\r", ":1a", ":--", ":1-", ":9223372036854775808", ":-9223372036854775809", ":1\n", ":1\r1",
	":" + strings.Repeat("0", 33),
	"$\r", "$-\r", "$-2", "$-0\r", "$-10", "$+1", "$--1", "$?1", "$1?", "$9223372036854775808", "$3\r\nabcX", "$3\r\nabc\rX", "$1\ra",
	"$" + strings.Repeat("0", 33), "$0\r\nx", "$99999999999999999999",
	"$?\r\n$", "$?\r\n.", "$?\r\n;\r", "$?\r\n;-1", "$?\r\n;?", "$?\r\n;1\r\nab", "$?\r\n;2\r\nab;",
	"*-2", "*+1", "*x", "*1\r\n.", "*1\r\n;", "*1\r\n>", "*?\r\n>", ".\r\n", "*?\r\n|0\r\n.", "|0\r\n.", "|0\r\n;",
	"_x", "_\rx", "#x", "#tt", "#\r", "#T", ",\r", ",1.2.3", ",e5", ",1e\r", ",1e+\r", ",.\r", ",-\r", ",infi", ",in\r", ",Inf", ",nanx", ",na\r",
	",0x1", ",1_0", ",+-1", ",1e5.", "," + strings.Repeat("1", 513),
	"(1\n", "(1\r1", "!-1", "!?", "=-1", "=?", "=3\r\n", "=0\r\n", "=4\r\nabcd", "=5\r\ntxt;", "=3\r\ntxt",
	"%-1", "%?\r\n+a\r\n.", "%9223372036854775807\r\n", "~-1", ">-1", ">?", "|-1", "|?", "|9223372036854775807\r\n",
}

func TestScannerRefusesWhatIsNestedTooDeep(t *testing.T) {
	for _, kind := range []string{"*", "~", ">", "|"} {
		open := kind + "1\r\n" + strings.Repeat("*1\r\n", resp.MaxDepth-2)
		if n, err := resp.FrameLen([]byte(open + "*0\r\n" + map[string]string{"|": "+v\r\n+OK\r\n"}[kind])); err != nil {
			t.Errorf("%s: %d, %v", kind, n, err)
		}
		var s resp.Scanner
		if _, _, err := s.Scan([]byte(open + "*1\r\n*0\r\n")); err == nil {
			t.Errorf("%s: one level more was taken", kind)
		}
	}
}

func TestScannerFindsTheEndOfEveryFrameAtEveryCut(t *testing.T) {
	for _, frame := range frames {
		in := []byte(frame + "+next\r\n")
		ends, err := scanCut(t, new(resp.Scanner), in, whole)
		if err != nil || !slices.Equal(ends, []int{len(frame), len(in)}) {
			t.Fatalf("%.60q: ends at %v, error %v", frame, ends, err)
		}
		if reference(string(in)) != len(frame) {
			t.Fatalf("%.60q: the reference says it ends at %d", frame, reference(string(in)))
		}
		for cut := 1; cut < len(frame); cut += 1 + len(frame)/1000 {
			var s resp.Scanner
			n, done, err := s.Scan(in[:cut])
			if n != cut || done || err != nil {
				t.Fatalf("%.60q cut at %d: read %d, done %v, error %v", frame, cut, n, done, err)
			}
			if s.Size() != int64(cut) || s.Need() < 1 || s.Need() > int64(len(frame)-cut) {
				t.Fatalf("%.60q cut at %d: size %d, need %d, of %d", frame, cut, s.Size(), s.Need(), len(frame))
			}
			n, done, err = s.Scan(in[cut:])
			if n != len(frame)-cut || !done || err != nil || s.Size() != int64(len(frame)) {
				t.Fatalf("%.60q cut at %d: then read %d, done %v, error %v", frame, cut, n, done, err)
			}
		}
		if ends, err := scanCut(t, new(resp.Scanner), in, single); err != nil || len(ends) != 2 {
			t.Fatalf("%.60q byte by byte: ends at %v, error %v", frame, ends, err)
		}
	}
}

func TestScannerRefusesMalformedInputAtEveryCut(t *testing.T) {
	for _, in := range malformed {
		for _, cut := range []func() int{whole, single} {
			ends, err := scanCut(t, new(resp.Scanner), []byte(in), cut)
			var protocol *resp.ProtocolError
			if !errors.As(err, &protocol) || len(ends) != 0 {
				t.Errorf("%.60q: ends at %v, error %v: want a *ProtocolError", in, ends, err)
			} else if len(protocol.Reason) > 120 || !strings.Contains(protocol.Reason, "found") {
				t.Errorf("%.60q: reason is %q", in, protocol.Reason)
			}
		}
		if reference(in+strings.Repeat("\r\n", 200)) >= 0 {
			t.Errorf("%.60q: the reference takes it for a frame", in)
		}
	}
}

func TestScannerErrorsNameWhatWasFound(t *testing.T) {
	for in, want := range map[string]string{
		"HTTP/1.1":     `found "H": want the kind of a value`,
		"$-2\r\n":      `found "2" in the first line of a bulk string: want -1, the only negative length`,
		"$1\r\nab\r\n": `found "b" in a bulk string: want "\r"`,
		":\r\n":        `found an integer without its text`,
	} {
		_, err := resp.FrameLen([]byte(in))
		if want = "resp: protocol error: " + want; err == nil || err.Error() != want {
			t.Errorf("%q: error is %v: want %s", in, err, want)
		}
	}
}

func TestScannerKnowsTheKindBehindAttributes(t *testing.T) {
	for _, frame := range frames {
		v, _, err := resp.Decode([]byte(frame))
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []func() int{whole, single} {
			var s resp.Scanner
			if _, err := scanCut(t, &s, []byte(frame), cut); err != nil || s.Kind() != v.Kind {
				t.Errorf("%.60q: kind is %v, error %v: want %v", frame, s.Kind(), err, v.Kind)
			}
		}
	}
}

func TestScannerRefusesExactlyTheFramesBeyondItsLimit(t *testing.T) {
	for _, frame := range frames {
		for _, cut := range []func() int{whole, single, random(rand.New(rand.NewPCG(1, 1)))} {
			size := int64(len(frame))
			if _, err := scanCut(t, &resp.Scanner{Limit: size}, []byte(frame), cut); err != nil {
				t.Errorf("%.60q at its own size: %v", frame, err)
			}
			_, err := scanCut(t, &resp.Scanner{Limit: size - 1}, []byte(frame), cut)
			var large *resp.TooLargeError
			if !errors.Is(err, resp.ErrTooLarge) || !errors.As(err, &large) || large.Limit != size-1 || large.Claimed < size || !strings.Contains(err.Error(), "limit") {
				t.Errorf("%.60q at a limit of %d: %v", frame, size-1, err)
			}
		}
	}
}

func TestScannerRefusesClaimsBeforeTheirBytes(t *testing.T) {
	huge := strconv.FormatInt(1<<62, 10)
	for _, in := range []string{
		"$" + huge + "\r\n", "$9223372036854775807\r\n", "*" + huge + "\r\n", "%2305843009213693952\r\n", "~9223372036854775807\r\n",
		"*2\r\n+OK\r\n$" + huge + "\r\n", "*400\r\n", "$997\r\n", "*2\r\n$990\r\n", "*200\r\n*200\r\n", "!1000\r\n", "|200\r\n", "$?\r\n;990\r\n",
	} {
		for _, cut := range []func() int{whole, single} {
			if _, err := scanCut(t, &resp.Scanner{Limit: 1000}, []byte(in), cut); !errors.Is(err, resp.ErrTooLarge) {
				t.Errorf("%q: %v: want ErrTooLarge", in, err)
			}
			var s resp.Scanner
			if _, err := scanCut(t, &s, []byte(in), cut); err != nil || s.Need() < 300 {
				t.Errorf("%q without a limit: need %d, error %v", in, s.Need(), err)
			}
		}
	}
}

func TestScannerNeedsWhatIsLeftOfABody(t *testing.T) {
	var s resp.Scanner
	for in, want := range map[string]int64{
		"$100\r\n": 102, "$100\r\nabc": 99, "$1\r\na": 2, "$1\r\na\r": 1, "*2\r\n$100\r\nabc": 102,
		"*?\r\n$10\r\n": 15, "%?\r\n+a\r\n": 6, "|0\r\n": 3, "$?\r\n;5\r\n": 11, "$9223372036854775807\r\n": math.MaxInt64,
	} {
		s.Reset()
		if _, _, err := s.Scan([]byte(in)); err != nil || s.Need() != want {
			t.Errorf("%q: need is %d, error %v: want %d", in, s.Need(), err, want)
		}
	}
}

func TestScannerStartsAnewAfterReset(t *testing.T) {
	for _, in := range []string{"$5\r\nhe", "*?\r\n*2\r\n+a", "x", "|0\r\n"} {
		s := resp.Scanner{Limit: 20}
		s.Scan([]byte(in))
		s.Reset()
		if s.Size() != 0 || s.Need() != 0 || s.Kind() != 0 || s.Limit != 20 {
			t.Errorf("%q: after Reset size %d, need %d, kind %v, limit %d", in, s.Size(), s.Need(), s.Kind(), s.Limit)
		}
		if n, done, err := s.Scan([]byte("+OK\r\n:1")); n != 5 || !done || err != nil {
			t.Errorf("%q: after Reset read %d, done %v, error %v", in, n, done, err)
		}
	}
}

func TestScannerAllocatesNothingForFrames(t *testing.T) {
	in := []byte("+OK\r\n$5\r\nhello\r\n*2\r\n$1\r\na\r\n:1\r\n%1\r\n*2\r\n*1\r\n_\r\n_\r\n,1\r\n|1\r\n+a\r\n+b\r\n*?\r\n$?\r\n;0\r\n.\r\n")
	var s resp.Scanner
	for _, piece := range []int{1, 7, len(in)} {
		allocs := testing.AllocsPerRun(100, func() {
			for rest := in; len(rest) > 0; {
				n, _, err := s.Scan(rest[:min(piece, len(rest))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations in pieces of %d bytes", allocs, piece)
		}
	}
}

func TestRandomValuesRoundTripAtRandomCuts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for i := range uint64(2000) {
		g := newGenerator(seed + i)
		var in bytes.Buffer
		var values []resp.Value
		var want []int
		for range 1 + g.IntN(4) {
			v := g.value(4)
			if v.Kind == resp.Array && !v.Null && g.IntN(2) == 0 {
				v.Kind = resp.Push
			}
			g.encode(&in, v)
			values, want = append(values, v), append(want, in.Len())
		}
		for _, cut := range []func() int{whole, single, random(g.Rand)} {
			ends, err := scanCut(t, new(resp.Scanner), in.Bytes(), cut)
			if err != nil || !slices.Equal(ends, want) {
				t.Fatalf("seed %d: %q ends at %v, error %v: want %v", seed+i, in.Bytes(), ends, err, want)
			}
		}
		for rest := in.Bytes(); len(values) > 0; values = values[1:] {
			v, n, err := resp.Decode(rest)
			if err != nil || !same(v, values[0]) {
				t.Fatalf("seed %d: %q decodes to %+v, error %v: want %+v", seed+i, rest, v, err, values[0])
			}
			rest = rest[n:]
		}
	}
}
