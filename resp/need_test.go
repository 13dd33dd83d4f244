package resp_test

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/resp"
)

// smallest is the length of the smallest value, and of the end mark of a streamed aggregate.
const smallest = 3

// missing counts by a walk over all levels what the value at the start of b lacks at least. It returns the bytes
// of b that belong to the value, and whether the value is whole. Scalars and first lines that are cut are left to a scanner of their own.
func missing(b []byte) (n int, lacks *big.Int, whole bool) {
	if len(b) == 0 {
		return 0, big.NewInt(smallest), false
	}
	end := bytes.Index(b, []byte("\r\n"))
	if !bytes.ContainsRune([]byte("*%~>|"), rune(b[0])) || end < 0 {
		var s resp.Scanner
		n, done, _ := s.Scan(b)
		return n, big.NewInt(s.Need()), done
	}
	text, n := string(b[1:end]), end+2
	switch {
	case text == "-1":
		return n, new(big.Int), true
	case text == "?":
		n, lacks, whole = missingOfStream(b, n)
	default:
		n, lacks, whole = missingOfCount(b, n, text)
	}
	if b[0] != '|' {
		return n, lacks, whole
	}
	if !whole {
		return n, lacks.Add(lacks, big.NewInt(smallest)), false
	}
	m, lacks, whole := missing(b[n:])
	return n + m, lacks, whole
}

func missingOfCount(b []byte, n int, text string) (int, *big.Int, bool) {
	left, ok := new(big.Int).SetString(text, 10)
	if !ok {
		panic(text)
	}
	if b[0] == '%' || b[0] == '|' {
		left.Lsh(left, 1)
	}
	for ; left.Sign() > 0; left.Sub(left, big.NewInt(1)) {
		m, lacks, whole := missing(b[n:])
		if n += m; !whole {
			others := left.Sub(left, big.NewInt(1))
			return n, lacks.Add(lacks, others.Mul(others, big.NewInt(smallest))), false
		}
	}
	return n, new(big.Int), true
}

func missingOfStream(b []byte, n int) (int, *big.Int, bool) {
	for count := 1; ; count++ {
		if rest := b[n:]; len(rest) == 0 || rest[0] == '.' {
			got := min(len(rest), smallest)
			lacks := smallest - got
			if got == 0 && b[0] == '%' && count%2 == 0 {
				lacks += smallest // the last key's value
			}
			return n + got, big.NewInt(int64(lacks)), lacks == 0
		}
		m, lacks, whole := missing(b[n:])
		if n += m; !whole {
			lacks.Add(lacks, big.NewInt(smallest))
			if b[0] == '%' && count%2 == 1 {
				lacks.Add(lacks, big.NewInt(smallest))
			}
			return n, lacks, false
		}
	}
}

// nest writes an aggregate with siblings before and behind the one that the next level is. Once in a while it claims more than
// there is; nothing can follow that.
func nest(t *rapid.T, g generator, b *bytes.Buffer, depth int) (claimed bool) {
	kind := rapid.SampledFrom([]rune("**%%~|")).Draw(t, "kind")
	before, behind := rapid.IntRange(0, 3).Draw(t, "before"), rapid.IntRange(0, 3).Draw(t, "behind")
	pairs := kind == '%' || kind == '|'
	if pairs && (before+behind)%2 == 0 {
		behind++
	}
	count := int64(before + 1 + behind)
	if pairs {
		count /= 2
	}
	streams := kind != '|' && rapid.IntRange(0, 3).Draw(t, "streamed") == 0
	if claimed = !streams && rapid.IntRange(0, 15).Draw(t, "claims") == 0; claimed {
		count += rapid.Int64Range(1, math.MaxInt64/2-10).Draw(t, "more")
	}
	if streams {
		fmt.Fprintf(b, "%c?\r\n", kind)
	} else {
		fmt.Fprintf(b, "%c%d\r\n", kind, count)
	}
	for range before {
		g.encode(b, g.value(1))
	}
	if depth > 0 {
		if nest(t, g, b, depth-1) {
			return true
		}
	} else {
		g.encode(b, g.value(1))
	}
	for range behind {
		g.encode(b, g.value(1))
	}
	switch {
	case streams:
		b.WriteString(".\r\n")
	case kind == '|' && !claimed:
		g.encode(b, g.value(0))
	}
	return claimed
}

func TestScannerNeedsWhatAWalkOverAllLevelsCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := generator{rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))}
		var b bytes.Buffer
		nest(t, g, &b, rapid.IntRange(0, 40).Draw(t, "depth"))
		frame := b.Bytes()
		piece := rapid.IntRange(1, 50).Draw(t, "piece")
		var s resp.Scanner
		for n := 0; n < len(frame); {
			next := min(len(frame), n+piece)
			m, done, err := s.Scan(frame[n:next])
			if err != nil || done && next != len(frame) {
				t.Fatalf("%q cut at %d: done %t, error %v", frame, next, done, err)
			}
			n += m
			_, want, whole := missing(frame[:n])
			if !want.IsInt64() {
				want.SetInt64(math.MaxInt64)
			}
			if whole != done || s.Need() != want.Int64() {
				t.Fatalf("%q: need is %d, done %t: want %v, %t", frame[:n], s.Need(), done, want, whole)
			}
		}
	})
}
