package resp_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

type (
	name   string
	raw    []byte
	count  int
	size   uint32
	ratio  float32
	degree float64
	flag   bool
	letter byte
)

func TestAppendCommandWritesEveryArgument(t *testing.T) {
	for _, c := range []struct {
		arg  any
		want string
	}{
		{"", ""}, {"a\r\nb", "a\r\nb"}, {strings.Repeat("x", 100), strings.Repeat("x", 100)},
		{[]byte("raw"), "raw"}, {[]byte(nil), ""},
		{0, "0"}, {-12, "-12"}, {int8(-128), "-128"}, {int16(300), "300"}, {int32(-5), "-5"}, {int64(math.MinInt64), "-9223372036854775808"},
		{uint(7), "7"}, {uint8(255), "255"}, {uint16(1), "1"}, {uint32(1 << 31), "2147483648"}, {uint64(math.MaxUint64), "18446744073709551615"},
		{uintptr(9), "9"},
		{1.5, "1.5"}, {float32(0.1), "0.1"}, {0.1, "0.1"}, {1e6, "1000000"}, {1e20, "100000000000000000000"}, {1e21, "1e+21"}, {1e-7, "1e-07"},
		{0.000001, "0.000001"}, {0.0, "0"}, {math.Inf(1), "inf"}, {math.Inf(-1), "-inf"}, {math.NaN(), "nan"}, {-math.MaxFloat64, "-1.7976931348623157e+308"},
		{true, "1"}, {false, "0"},
		{name("n"), "n"}, {raw("r"), "r"}, {count(-3), "-3"}, {size(3), "3"}, {ratio(0.1), "0.1"}, {degree(0.1), "0.1"}, {flag(true), "1"},
		{net.IP("1234"), "1234"}, {[]letter("ab"), "ab"}, {letter('a'), "97"}, {time.March, "3"},
	} {
		got, err := resp.AppendCommand([]byte("before"), []any{"SET", c.arg})
		want := "before*2\r\n$3\r\nSET\r\n$" + strconv.Itoa(len(c.want)) + "\r\n" + c.want + "\r\n"
		if err != nil || string(got) != want {
			t.Errorf("%T(%v): %q, error %v: want %q", c.arg, c.arg, got, err, want)
		}
	}
}

func TestAppendCommandRefusesWhatItWouldHaveToGuess(t *testing.T) {
	text := "x"
	const basic = "want string, []byte, integer, float or bool"
	for _, c := range []struct {
		arg  any
		want string
	}{
		{nil, "type nil: " + basic},
		{map[string]int{}, "type map[string]int: " + basic},
		{&text, "type *string: " + basic},
		{[]string{"a"}, "type []string: " + basic},
		{[2]byte{}, "type [2]uint8: " + basic},
		{1i, "type complex128: " + basic},
		{struct{}{}, "type struct {}: " + basic},
		{errors.New("x"), "type *errors.errorString: " + basic},
		{time.Second, "type time.Duration: want seconds or milliseconds as a number"},
		{time.Unix(0, 0), "type time.Time: want seconds or milliseconds as a number"},
	} {
		got, err := resp.AppendCommand([]byte("before"), []any{"SET", "k", c.arg, "x"})
		var argument *resp.ArgumentError
		if !errors.As(err, &argument) || argument.Index != 2 || err.Error() != "argument 2 has "+c.want || string(got) != "before" {
			t.Errorf("%T: %q, error %v", c.arg, got, err)
		}
	}
	for _, none := range [][]any{nil, {}} {
		got, err := resp.AppendCommand([]byte("before"), none)
		var argument *resp.ArgumentError
		if !errors.As(err, &argument) || !strings.Contains(err.Error(), "no arguments") || string(got) != "before" {
			t.Errorf("no arguments: %q, error %v", got, err)
		}
	}
}

func TestAppendCommandAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 1<<10)
	key, value := strings.Repeat("k", 20), []byte(strings.Repeat("v", 64))
	n, f := time.Now().UnixNano(), rand.Float64()
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := resp.AppendCommand(dst, []any{"SET", key, value, "PX", n, uint32(n), f, float32(f), n > 0, name(key), count(n), raw(value)}); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestCommandsReadBack(t *testing.T) {
	for _, n := range []int{0, 1, 9, 10, 99, 100, 12345} {
		text := strings.Repeat("x", n)
		b := resp.AppendArrayHeader(nil, 2)
		b = resp.AppendBulkString(b, text)
		b = resp.AppendBulk(b, []byte(text))
		v, size, err := resp.Decode(b)
		if err != nil || size != len(b) || !same(v, aggregate(resp.Array, bulk(text), bulk(text))) {
			t.Errorf("%d bytes: %.60q, error %v", n, b, err)
		}
	}
}

func TestFloatsReadBackTheSame(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	for range 10000 {
		f := math.Float64frombits(r.Uint64())
		b, err := resp.AppendCommand(nil, []any{f, float32(f)})
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := resp.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		long, _ := strconv.ParseFloat(string(v.Elems[0].Str), 64)
		short, _ := strconv.ParseFloat(string(v.Elems[1].Str), 32)
		if f == f && (long != f || float32(short) != float32(f)) {
			t.Fatalf("seed %d: %v is sent as %q", seed, f, b)
		}
	}
}

func TestErrorsAndIntegersAreWhatServersWrite(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"it failed", "-ERR it failed\r\n"},
		{"-LOADING wait", "-LOADING wait\r\n"},
		{"two\r\nlines", "-ERR two  lines\r\n"},
		{"", "-ERR \r\n"},
	} {
		if got := string(resp.AppendError([]byte("+OK\r\n"), c.text)); got != "+OK\r\n"+c.want {
			t.Errorf("%q: %q", c.text, got)
		}
	}
	for n, want := range map[int64]string{0: ":0\r\n", -5: ":-5\r\n", math.MaxInt64: ":9223372036854775807\r\n"} {
		if got := string(resp.AppendInteger(nil, n)); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
