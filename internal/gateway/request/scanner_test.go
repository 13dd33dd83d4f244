package request_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

// streams are inputs and their meaning in redis-server.
var streams = []struct {
	in   string
	want []string // arguments, separated by bars
	err  string
}{
	{in: "*1\r\n$4\r\nPING\r\n", want: []string{"PING"}},
	{in: "*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", want: []string{"GET|", "PING"}},
	{in: "*2\r\n$4\r\nECHO\r\n$12\r\n\r\n*1\r\n$4\r\n\x00\r\r\n", want: []string{"ECHO|\r\n*1\r\n$4\r\n\x00\r"}},
	{in: "*1\r\n$0\r\n\r\n", want: []string{""}},
	{in: "*0\r\n*-1\r\n*-9223372036854775808\r\nPING\r\n", want: []string{"PING"}},
	{in: "\r\n\n  \r\n\t\v\f\r\r\nPING\n", want: []string{"PING"}},
	{in: "PING\r\n*1\r\n$4\r\nPING\r\nPING", want: []string{"PING", "PING"}},
	// Redis checks neither the byte after a CR nor the bytes after an argument.
	{in: "*1\rx$4\r$PINGab*1\r\n$4\r\nPING\n\r", want: []string{"PING", "PING"}},
	{in: "*0\r*PING\n", want: []string{"PING"}},

	{in: " set  a\vb\t'c d' \r\n", want: []string{"set|a\vb|c d"}},
	{in: `a "b\n\r\t\b\a\x41\xfF\xZ1\q\"\\" 'c\n\'' d"e" ""` + "\n", want: []string{"a|b\n\r\t\b\aA\xffxZ1q\"\\|c\\n'|de|"}},
	{in: "'a'\v'b'\f\"c\"\rd\n", want: []string{"a|b|c|d"}},
	{in: "'a\\\\'' b\n", want: []string{"a\\'|b"}},
	{in: "'a\\'\n", err: "unbalanced quotes in request"},
	{in: "PING\n'a\n", want: []string{"PING"}, err: "unbalanced quotes in request"},
	{in: "\"a\\\n", err: "unbalanced quotes in request"},
	{in: "\"a\"b\n", err: "unbalanced quotes in request"},
	{in: "'a'\"b\"\n", err: "unbalanced quotes in request"},
	{in: "\"\\x4\"\n", want: []string{"x4"}},

	{in: "*\r\n", err: "invalid multibulk length"},
	{in: "*x\r\n", err: "invalid multibulk length"},
	{in: "*01\r\n", err: "invalid multibulk length"},
	{in: "*+1\r\n", err: "invalid multibulk length"},
	{in: "*-0\r\n", err: "invalid multibulk length"},
	{in: "*-\r\n", err: "invalid multibulk length"},
	{in: "* 1\r\n", err: "invalid multibulk length"},
	{in: "*1\n$4\nPING\n\r\n", err: "invalid multibulk length"},
	{in: "*2147483648\r\n", err: "invalid multibulk length"},
	{in: "*9223372036854775808\r\n", err: "invalid multibulk length"},
	{in: "*-9223372036854775809\r\n", err: "invalid multibulk length"},
	{in: "*18446744073709551617\r\n", err: "invalid multibulk length"},
	{in: "*1\r\n$-1\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$04\r\nPING\r\n", err: "invalid bulk length"},
	{in: "*1\r\n$536870913\r\n", err: "invalid bulk length"},
	{in: "*2\r\n$4\r\nPING\r\n:1\r\n", err: "expected '$', got ':'"},
	{in: "*1\r\n\r\n", err: "expected '$', got ' '"},
	{in: "*1\r\n\n\r\n", err: "expected '$', got ' '"},
	{in: "*1\r\nPING\r\n", err: "expected '$', got 'P'"},
	{in: "*1\r\n*1\r\n", err: "expected '$', got '*'"},
	{in: "*1\r\n\xff\r\n", err: "expected '$', got '\xff'"},

	{in: strings.Repeat("a", 64<<10) + "\n", want: []string{strings.Repeat("a", 64<<10)}},
	{in: strings.Repeat("a", 64<<10+1), err: "too big inline request"},
	{in: "PING\x00\n" + strings.Repeat("\n", 64<<10), err: "too big inline request"},
	{in: "*" + strings.Repeat("1", 64<<10), err: "too big mbulk count string"},
	{in: "*" + strings.Repeat("1", 64<<10-1) + "\r\n", err: "invalid multibulk length"},
	{in: "*1\x00\r\n$4\r\nPING\r\n" + strings.Repeat("\r\n", 32<<10), err: "too big mbulk count string"},
	{in: "*1\r\n" + strings.Repeat("$", 64<<10+1), err: "too big bulk count string"},
	{in: "*1\r\n\x00\r\n" + strings.Repeat("1", 64<<10), err: "too big bulk count string"},
	{in: "*1\r\n$1\x00\r\na\r\n"}, // waits for more input
}

// attacks end a connection without a reply.
var attacks = []string{
	"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"Host: localhost\r\n",
	"*1\r\n$5\r\nhOSt:\r\n",
	"*2\r\n$7\r\npost\x00ab\r\n$1\r\na\r\n",
}

// The input is split in three ways.
func cuts() []func() int {
	return []func() int{entire, single, random(rand.New(rand.NewPCG(1, 2)))}
}

func TestRequestsAndErrorsAreThoseOfRedis(t *testing.T) {
	for _, c := range streams {
		want := outcome{}
		for _, args := range c.want {
			want.requests = append(want.requests, strict(strings.Split(args, "|")))
		}
		if c.err != "" {
			want.err = protocolError(c.err)
		}
		if got := reference(c.in, full(request.Limits{}), false); !got.equal(want) {
			t.Errorf("%.80q: the reference reads %.200q: want %.200q", c.in, got, want)
		}
		for i, cut := range cuts() {
			if got := scan(t, new(request.Scanner), []byte(c.in), cut); !got.equal(want) {
				t.Errorf("%.80q in cut %d: %.200q: want %.200q", c.in, i, got, want)
			}
		}
	}
}

func TestCrossProtocolAttacksHaveTheirOwnError(t *testing.T) {
	for _, in := range attacks {
		for _, cut := range cuts() {
			got := scan(t, new(request.Scanner), []byte("PING\r\n"+in), cut)
			if len(got.requests) != 1 || got.err != request.ErrAttack.Error() {
				t.Errorf("%q: %q", in, got)
			}
		}
	}
	for _, in := range []string{"posts\r\n", "host\r\n", "GET / HTTP/1.1\r\n", "ECHO POST\r\n", "*1\r\n$5\r\nHost\x1a\r\n"} {
		if got := scan(t, new(request.Scanner), []byte(in), entire); got.err != "" || len(got.requests) != 1 {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestLimitsBeforeAuthentication(t *testing.T) {
	arg := "$1\r\na\r\n"
	long := "*1\r\n$16384\r\n" + strings.Repeat("a", 16384) + "\r\n"
	for _, c := range []struct{ in, err string }{
		{in: "*10\r\n" + strings.Repeat(arg, 10)},
		{in: "*11\r\n" + strings.Repeat(arg, 11), err: "unauthenticated multibulk length"},
		{in: long},
		{in: "*1\r\n$16385\r\n" + strings.Repeat("a", 16385) + "\r\n", err: "unauthenticated bulk length"},
		{in: strings.Repeat("a ", 11) + "\n"},
	} {
		for _, cut := range cuts() {
			got := scan(t, &request.Scanner{Unauthenticated: true}, []byte(c.in), cut)
			if c.err == "" && (got.err != "" || len(got.requests) != 1) || c.err != "" && got.err != protocolError(c.err) {
				t.Errorf("%.40q: %.100q", c.in, got)
			}
		}
	}
	// Only clients that must authenticate have these limits.
	s := request.Scanner{Unauthenticated: true}
	scan(t, &s, []byte("AUTH secret\n"), entire)
	s.Unauthenticated = false
	if got := scan(t, &s, []byte(long+"*11\r\n"+strings.Repeat(arg, 11)), entire); got.err != "" || len(got.requests) != 2 {
		t.Errorf("once authenticated: %.100q", got)
	}
}

func TestLimits(t *testing.T) {
	in := "*2\r\n$4\r\nECHO\r\n$12\r\nabcdefghijkl\r\n"
	size := int64(len(in))
	for _, c := range []struct {
		lim request.Limits
		err string
	}{
		{lim: request.Limits{Line: 40, Args: 2, Bulk: 12, Total: size}},
		{request.Limits{Args: 1}, protocolError("invalid multibulk length")},
		{request.Limits{Bulk: 11}, protocolError("invalid bulk length")},
		{request.Limits{Total: size - 1}, request.ErrTooLarge.Error()},
		{request.Limits{Total: size - 1, Stream: 8}, request.ErrTooLarge.Error()},
	} {
		for _, cut := range cuts() {
			if got := scan(t, &request.Scanner{Limits: c.lim}, []byte(in), cut); got.err != c.err {
				t.Errorf("%+v: %q: want error %q", c.lim, got, c.err)
			}
		}
	}
}
