package resp_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/resp"
)

// scanCut scans in with its bytes cut into pieces whose lengths cut gives, and
// returns the ends of the frames. It checks what holds at every cut.
func scanCut(t *testing.T, s *resp.Scanner, in []byte, cut func() int) (ends []int, err error) {
	t.Helper()
	end, least := 0, int64(0)
	for end < len(in) {
		piece := in[end:min(len(in), end+max(1, cut()))]
		n, done, err := s.Scan(piece)
		switch {
		case n < 0 || n > len(piece):
			t.Fatalf("Scan(%q) read %d bytes", piece, n)
		case err != nil:
			if _, _, again := s.Scan([]byte("+OK\r\n")); again != err {
				t.Fatalf("after %v Scan gives %v: want the same error", err, again)
			}
			return ends, err
		case !done && n != len(piece):
			t.Fatalf("Scan(%q) read %d bytes and is not done", piece, n)
		case done && s.Kind() == 0:
			t.Fatalf("no kind after a whole frame")
		case done && s.Need() != 0:
			t.Fatalf("need is %d between frames", s.Need())
		case !done && s.Need() < 1:
			t.Fatalf("need is %d in mid-frame", s.Need())
		}
		end += n
		if total := s.Size() + s.Need(); !done && total > 0 && total < least {
			t.Fatalf("size and need fell from %d to %d", least, total)
		} else if least = total; done {
			if s.Size() < least {
				t.Fatalf("the frame has %d bytes, and was said to have %d at least", s.Size(), least)
			}
			ends, least = append(ends, end), 0
		}
	}
	return ends, nil
}

func whole() int { return 1 << 30 }

func single() int { return 1 }

func random(r *rand.Rand) func() int {
	return func() int { return 1 + r.IntN(1+r.IntN(40)) }
}

// generator makes random values and writes each in one of its forms.
type generator struct {
	*rand.Rand
}

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 0))}
}

func (g generator) bytes(alphabet string, most int) []byte {
	b := make([]byte, g.IntN(most+1))
	for i := range b {
		b[i] = alphabet[g.IntN(len(alphabet))]
	}
	return b
}

const anything = "ab \r\n\x00\xff:$*.;"

func (g generator) value(depth int) resp.Value {
	kinds := "+-:$_#,(!=$:+*%~"
	if depth == 0 {
		kinds = "+-:$_#,(!="
	}
	v := resp.Value{Kind: resp.Kind(kinds[g.IntN(len(kinds))])}
	switch v.Kind {
	case resp.SimpleString, resp.SimpleError:
		v.Str = g.bytes("abc \x00\xff*$", 90)
	case resp.Integer:
		v.Int = int64(g.Uint64()) >> g.IntN(64)
	case resp.BulkString, resp.BulkError:
		if v.Kind == resp.BulkString && g.IntN(8) == 0 {
			v.Null = true
		} else {
			v.Str = g.bytes(anything, 40)
		}
	case resp.Null:
		v.Null = true
	case resp.Boolean:
		v.Int = g.Int64N(2)
	case resp.Double:
		v.Float = []float64{g.NormFloat64(), math.Inf(1), math.Inf(-1), math.NaN(), 1e300 * g.Float64(), 5}[g.IntN(6)]
	case resp.BigNumber:
		v.Str = append([]byte("-1"), g.bytes("0123456789", 40)...)[g.IntN(2):]
	case resp.Verbatim:
		v.Format, v.Str = []string{"txt", "mkd", "x:\r"}[g.IntN(3)], g.bytes(anything, 20)
	case resp.Array:
		v.Null = g.IntN(8) == 0
	}
	if strings.ContainsRune("*%~", rune(v.Kind)) && !v.Null {
		n := g.IntN(5)
		if v.Kind == resp.Map {
			n *= 2
		}
		v.Elems = g.values(n, depth-1)
	}
	if g.IntN(10) == 0 && depth > 0 {
		v.Attrs = g.values(2*g.IntN(3), depth-1)
	}
	return v
}

func (g generator) values(n, depth int) []resp.Value {
	values := make([]resp.Value, n)
	for i := range values {
		values[i] = g.value(depth)
	}
	return values
}

// encode writes v, choosing between forms that mean the same.
func (g generator) encode(b *bytes.Buffer, v resp.Value) {
	for attrs := v.Attrs; ; {
		n := 2 * g.IntN(len(attrs)/2+1)
		if n > 0 || g.IntN(10) == 0 {
			fmt.Fprintf(b, "|%d\r\n", n/2)
			g.encodeAll(b, attrs[:n])
			attrs = attrs[n:]
		}
		if len(attrs) == 0 {
			break
		}
	}
	k := rune(v.Kind)
	switch v.Kind {
	case resp.SimpleString, resp.SimpleError, resp.BigNumber:
		fmt.Fprintf(b, "%c%s\r\n", k, v.Str)
	case resp.Integer:
		fmt.Fprintf(b, ":%s%d\r\n", []string{"", "+"}[g.IntN(2)&int(uint64(^v.Int)>>63)], v.Int)
	case resp.Null:
		b.WriteString("_\r\n")
	case resp.Boolean:
		fmt.Fprintf(b, "#%c\r\n", "ft"[v.Int])
	case resp.Double:
		text := strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(v.Float, 'g', -1, 64)), "+")
		fmt.Fprintf(b, ",%s\r\n", text)
	case resp.Verbatim:
		fmt.Fprintf(b, "=%d\r\n%s:%s\r\n", len(v.Str)+4, v.Format, v.Str)
	case resp.BulkString, resp.BulkError:
		g.encodeBulk(b, v)
	default:
		g.encodeAggregate(b, v)
	}
}

func (g generator) encodeBulk(b *bytes.Buffer, v resp.Value) {
	k := rune(v.Kind)
	switch {
	case v.Null:
		fmt.Fprintf(b, "%c-1\r\n", k)
	case v.Kind == resp.BulkString && g.IntN(5) == 0:
		b.WriteString("$?\r\n")
		for rest := v.Str; len(rest) > 0; {
			n := 1 + g.IntN(len(rest))
			fmt.Fprintf(b, ";%d\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		b.WriteString(";0\r\n")
	default:
		fmt.Fprintf(b, "%c%0*d\r\n%s\r\n", k, g.IntN(5), len(v.Str), v.Str)
	}
}

func (g generator) encodeAggregate(b *bytes.Buffer, v resp.Value) {
	k, n := rune(v.Kind), len(v.Elems)
	if v.Kind == resp.Map {
		n /= 2
	}
	switch {
	case v.Null:
		fmt.Fprintf(b, "%c-1\r\n", k)
	case g.IntN(5) == 0 && v.Kind != resp.Push:
		fmt.Fprintf(b, "%c?\r\n", k)
		g.encodeAll(b, v.Elems)
		b.WriteString(".\r\n")
	default:
		fmt.Fprintf(b, "%c%d\r\n", k, n)
		g.encodeAll(b, v.Elems)
	}
}

func (g generator) encodeAll(b *bytes.Buffer, values []resp.Value) {
	for _, v := range values {
		g.encode(b, v)
	}
}

// same compares values by what they mean.
func same(a, b resp.Value) bool {
	return a.Kind == b.Kind && a.Null == b.Null && bytes.Equal(a.Str, b.Str) && a.Format == b.Format &&
		a.Int == b.Int && (a.Float == b.Float || math.IsNaN(a.Float) && math.IsNaN(b.Float)) &&
		sameAll(a.Elems, b.Elems) && sameAll(a.Attrs, b.Attrs)
}

func sameAll(a, b []resp.Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}
