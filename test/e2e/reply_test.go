package e2e_test

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
	"github.com/seed-2b0d76a6/respool/resp"
)

// conversions shows the conversions of a reply, in the order Text, Int64, Float64, Bool, Array, Map. "-" means that the kind does
// not convert, "nil" is ErrNil, and "!" is another error.
func conversions(t *testing.T, r respool.Reply) string {
	t.Helper()
	var out []string
	add := func(v any, err error) {
		switch {
		case err == nil:
			out = append(out, fmt.Sprint(v))
		case errors.Is(err, respool.ErrNil):
			out = append(out, "nil")
		case strings.Contains(err.Error(), "the reply is of kind "+r.Kind().String()+": want "):
			out = append(out, "-")
		default:
			out = append(out, "!")
		}
	}
	text, err := r.Text()
	add(text, err)
	if b, berr := r.Bytes(); string(b) != text || (berr == nil) != (err == nil) {
		t.Errorf("Text returns %q, %v but Bytes %q, %v", text, err, b, berr)
	}
	n, err := r.Int64()
	add(n, err)
	f, err := r.Float64()
	add(f, err)
	b, err := r.Bool()
	add(b, err)
	elems, err := r.Array()
	add(len(elems), err)
	m, err := r.Map()
	add(len(m), err)
	return strings.Join(out, " ")
}

func TestReplyConversionsByKind(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	const big = "1234567999999999999999999999999999999"
	f, _ := strconv.ParseFloat(big, 64)
	asBig := big + " ! " + fmt.Sprint(f) + " - - -"
	text, double := "3.141", "3.141"
	if !s.Version().Since(7, 0) {
		text, double = "3.1415926535900001", "3.14159265359"
	}
	tests := []struct {
		args  string
		kind2 resp.Kind
		want2 string
		kind3 resp.Kind
		want3 string
	}{
		{"DEBUG PROTOCOL integer", resp.Integer, "12345 12345 12345 ! - -", resp.Integer, "12345 12345 12345 ! - -"},
		{"DEBUG PROTOCOL double", resp.BulkString, text + " ! " + double + " - - -", resp.Double, text + " - " + double + " - - -"},
		{"DEBUG PROTOCOL null", resp.BulkString, "nil nil nil nil nil nil", resp.Null, "nil nil nil nil nil nil"},
		{"DEBUG PROTOCOL array", resp.Array, "- - - - 3 !", resp.Array, "- - - - 3 !"},
		{"DEBUG PROTOCOL set", resp.Array, "- - - - 3 !", resp.Set, "- - - - 3 !"},
		{"DEBUG PROTOCOL map", resp.Array, "- - - - 6 3", resp.Map, "- - - - 6 3"},
		{"DEBUG PROTOCOL true", resp.Integer, "1 1 1 true - -", resp.Boolean, "true 1 - true - -"},
		{"DEBUG PROTOCOL false", resp.Integer, "0 0 0 false - -", resp.Boolean, "false 0 - false - -"},
		{"DEBUG PROTOCOL bignum", resp.BulkString, asBig, resp.BigNumber, asBig},
		{"ECHO 42", resp.BulkString, "42 42 42 - - -", resp.BulkString, "42 42 42 - - -"},
		{"ECHO 1", resp.BulkString, "1 1 1 true - -", resp.BulkString, "1 1 1 true - -"},
		{"ECHO 0", resp.BulkString, "0 0 0 false - -", resp.BulkString, "0 0 0 false - -"},
		{"ECHO 1e3", resp.BulkString, "1e3 ! 1000 - - -", resp.BulkString, "1e3 ! 1000 - - -"},
		{"ECHO -inf", resp.BulkString, "-inf ! -Inf - - -", resp.BulkString, "-inf ! -Inf - - -"},
		{"ECHO 9223372036854775808", resp.BulkString, "9223372036854775808 ! 9.223372036854776e+18 - - -",
			resp.BulkString, "9223372036854775808 ! 9.223372036854776e+18 - - -"},
		{"PING", resp.SimpleString, "PONG ! ! - - -", resp.SimpleString, "PONG ! ! - - -"},
		{"GET missing", resp.BulkString, "nil nil nil nil nil nil", resp.Null, "nil nil nil nil nil nil"},
		{"BLPOP missing 0.002", resp.Array, "nil nil nil nil nil nil", resp.Null, "nil nil nil nil nil nil"},
		{"HGETALL missing", resp.Array, "- - - - 0 0", resp.Map, "- - - - 0 0"},
		{"SMEMBERS missing", resp.Array, "- - - - 0 0", resp.Set, "- - - - 0 0"},
		{"EXISTS missing", resp.Integer, "0 0 0 false - -", resp.Integer, "0 0 0 false - -"},
		{"GET missing more", resp.SimpleError, "! ! ! ! ! !", resp.SimpleError, "! ! ! ! ! !"},
	}
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		for _, tt := range tests {
			kind, want := tt.kind2, tt.want2
			if protocol == 3 {
				kind, want = tt.kind3, tt.want3
			}
			r := c.Do(bounded(t), fieldsOf(tt.args)...)
			if r.Kind() != kind {
				t.Errorf("%s: kind %v: want %v", tt.args, r.Kind(), kind)
			}
			if got := conversions(t, r); got != want {
				t.Errorf("%s: %s: want %s", tt.args, got, want)
			}
			if r.IsNil() != strings.HasPrefix(want, "nil") {
				t.Errorf("%s: IsNil is %v", tt.args, r.IsNil())
			}
		}
	})
}

func TestVerbatimStringsAreTextWithoutTheirFormat(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		r := mustDo(t, c, "DEBUG", "PROTOCOL", "verbatim")
		wantText(t, r, "This is a verbatim\nstring")
		if protocol == 3 && r.Kind() != resp.Verbatim {
			t.Errorf("kind %v", r.Kind())
		}
		info, err := mustDo(t, c, "INFO", "server").Text()
		if err != nil || !strings.HasPrefix(info, "# Server\r\nredis_version:") {
			t.Errorf("INFO returns %.60q, %v", info, err)
		}
	})
}

func TestAttributesAndPushesDoNotDisturbReplies(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.Protocol, o.MaxConnections = 3, 1 })
	conn, err := c.Acquire(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for range 10 {
		r := conn.Do(bounded(t), "DEBUG", "PROTOCOL", "attrib")
		wantText(t, r, "Some real reply following the attribute")
		if r.Kind() != resp.BulkString || r.String() != "Some real reply following the attribute" {
			t.Errorf("kind %v, %v", r.Kind(), r)
		}
		wantText(t, conn.Do(bounded(t), "DEBUG", "PROTOCOL", "push"), "Some real reply following the push reply")
	}
	p := conn.Pipeline()
	for range 10 {
		p.Do("DEBUG", "PROTOCOL", "push").Do("DEBUG", "PROTOCOL", "attrib").Do("ECHO", "end")
	}
	replies, err := p.Exec(bounded(t))
	if err != nil || len(replies) != 30 {
		t.Fatalf("%d replies, %v", len(replies), err)
	}
	wantText(t, replies[0], "Some real reply following the push reply")
	wantText(t, replies[1], "Some real reply following the attribute")
	wantText(t, replies[29], "end")
	if n := c.Stats().Dials; n != 1 {
		t.Errorf("%d dials: want 1", n)
	}
}

func TestNestedReplies(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		const script = `return {1, {err='MY own failure'}, {'deep', {err='OTHER one'}}, false}`
		r := mustDo(t, c, "EVAL", script, 0)
		elems, err := r.Array()
		if err != nil || len(elems) != 4 {
			t.Fatalf("%d elements, %v", len(elems), err)
		}
		wantServerError(t, elems[1].Err(), "MY")
		if _, err := elems[1].Text(); !errors.Is(err, &respool.ServerError{Code: "MY", Message: "own failure"}) {
			t.Errorf("Text of a nested error returns %v", err)
		}
		deep, err := elems[2].Array()
		if err != nil {
			t.Fatal(err)
		}
		wantText(t, deep[0], "deep")
		wantServerError(t, deep[1].Err(), "OTHER")
		if !elems[3].IsNil() || elems[3].Err() != nil {
			t.Errorf("a nested null: %v, %v", elems[3], elems[3].Err())
		}
		_, err = r.Texts()
		wantWords(t, err, "element 1", "MY own failure")
		wantServerError(t, err, "MY")
	})
}

func TestTextsAndMap(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		mustDo(t, c, "HSET", "h", "a", 1, "b", "two", "empty", "")
		m, err := mustDo(t, c, "HGETALL", "h").Map()
		if err != nil || len(m) != 3 {
			t.Fatalf("%d fields, %v", len(m), err)
		}
		if n, err := m["a"].Int64(); n != 1 || err != nil {
			t.Errorf("a is %d, %v", n, err)
		}
		wantText(t, m["b"], "two")
		wantText(t, m["empty"], "")
		if _, err := m["absent"].Text(); err == nil {
			t.Error("the zero Reply converts")
		}

		mustDo(t, c, "MSET", "k1", "v1", "k3", "v3")
		texts, err := mustDo(t, c, "MGET", "k1", "k2", "k3").Texts()
		if err != nil || fmt.Sprintf("%q", texts) != `["v1" "" "v3"]` {
			t.Errorf("MGET returns %q, %v", texts, err)
		}
		_, err = mustDo(t, c, "MGET", "k1", "k2", "k3").Map()
		wantWords(t, err, "3 elements", "keys and values")
		_, err = mustDo(t, c, "MGET", "k2", "k1").Map()
		if !errors.Is(err, respool.ErrNil) {
			t.Errorf("a null as key returns %v", err)
		}
		_, err = mustDo(t, c, "EVAL", "return {{1}, 2}", 0).Map()
		wantWords(t, err, "key 0", "array")

		pairs, err := mustDo(t, c, "DEBUG", "PROTOCOL", "map").Map()
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]bool{"0": false, "1": true, "2": false} {
			if got, err := pairs[key].Bool(); got != want || err != nil {
				t.Errorf("%s is %v, %v", key, got, err)
			}
		}
	})
}

// A reply converts to the same value in both protocols.
func TestNumbersAreEqualInBothProtocols(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	scores := map[string]float64{"1.5": 1.5, "3": 3, "-0.25": -0.25, "inf": math.Inf(1), "-inf": math.Inf(-1), "1e+100": 1e100}
	inBoth(t, s, func(t *testing.T, c *respool.Client, protocol int) {
		for text, f := range scores {
			mustDo(t, c, "ZADD", "z", f, "member")
			r := mustDo(t, c, "ZSCORE", "z", "member")
			if got, err := r.Float64(); got != f || err != nil {
				t.Errorf("Float64 returns %v, %v: want %v", got, err, f)
			}
			wantText(t, r, text)
		}
	})
}

func TestRepliesAreIndependentOfEachOther(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, nil)
	r := mustDo(t, c, "ECHO", "first")
	b, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	copy(b, "XXXXX")
	wantText(t, r, "first")
	kept := make([]respool.Reply, 1000)
	p := c.Pipeline()
	for i := range kept {
		kept[i] = mustDo(t, c, "ECHO", i)
		p.Do("ECHO", -i)
	}
	replies, err := p.Exec(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range kept {
		wantText(t, kept[i], strconv.Itoa(i))
		wantText(t, replies[i], strconv.Itoa(-i))
		b, _ := replies[i].Bytes()
		_ = append(b, "more"...)
	}
	wantText(t, replies[1], "-1")
}

func TestReplyStrings(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	c := newClient(t, s, func(o *respool.Options) { o.Protocol = 3 })
	for args, want := range map[string]string{
		"ECHO hello": "hello", "GET missing": "(nil)", "DEBUG PROTOCOL array": "(array of 3)",
		"DEBUG PROTOCOL map": "(map of 3)", "DEBUG PROTOCOL set": "(set of 3)", "DEBUG PROTOCOL integer": "12345",
		"GET": "ERR wrong number of arguments for 'get' command",
	} {
		if got := fmt.Sprint(c.Do(bounded(t), fieldsOf(args)...)); got != want {
			t.Errorf("%s prints %q: want %q", args, got, want)
		}
	}
	var zero respool.Reply
	if zero.Err() == nil || zero.IsNil() || zero.Kind() != 0 || zero.String() != zero.Err().Error() {
		t.Errorf("the zero Reply: %v, %v, %v", zero, zero.IsNil(), zero.Kind())
	}
}
