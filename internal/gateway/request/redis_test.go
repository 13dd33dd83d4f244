//go:build unix

package request_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// replies sends in on a new connection, half-closes it, and returns what the server sends until it closes.
func replies(t fataler, server *redistest.Server, in string) string {
	t.Helper()
	conn, err := net.Dial("tcp", server.PlainAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, in); err != nil {
		t.Fatalf("%.80q: %v", in, err)
	}
	_ = conn.(*net.TCPConn).CloseWrite() // fails if the server has closed already
	out, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // the server closes without reading the rest
		t.Fatalf("%.80q: %v", in, err)
	}
	return string(out)
}

var (
	// blankLine is a line of spaces. Valkey 8 parses the line after it as inline too. Valkey since 8.1 drops bytes 0xff
	// of inline commands.
	blankLine = regexp.MustCompile(`(^|\n)[ \t\r\v\f\x00]*\n`)

	protocolErrors = regexp.MustCompile("-ERR Protocol error: [^\r]*\r\n$")
)

// compare checks that the server replies to in as it replies to the requests that the scanner finds in it, followed by
// the scanner's error.
func compare(t fataler, server *redistest.Server, in string, unauthenticated bool) {
	t.Helper()
	v := server.Version()
	if v.Valkey() && (blankLine.MatchString(in) || v.Major+v.Minor > 8 && strings.Contains(in, "\xff")) || !v.Since(7, 0) && strings.Contains(in, "\x00") {
		return
	}
	got := scan(t, &request.Scanner{Unauthenticated: unauthenticated}, []byte(in), entire)
	want := replies(t, server, strings.Join(got.requests, ""))
	protocolErr := new(request.ProtocolError)
	switch {
	case errors.As(got.cause, &protocolErr):
		want += "-" + protocolErr.Reply() + "\r\n"
	case got.cause == request.ErrAttack:
		want = "" // the server drops its unsent replies
	case got.cause != nil:
		t.Fatalf("%.80q: %v", in, got.cause)
	}
	answer := replies(t, server, in)
	if v.Redis(8, 3) { // the server reports another error, or closes without a reply
		answer, want = protocolErrors.ReplaceAllString(answer, ""), protocolErrors.ReplaceAllString(want, "")
	}
	if answer != want {
		t.Errorf("%.200q: the server answers %.300q: want %.300q", in, answer, want)
	}
}

func TestRedisParsesKnownStreamsAlike(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Config{})
	for _, c := range streams {
		compare(t, server, c.in, false)
	}
	for _, in := range attacks {
		compare(t, server, "PING\r\n"+in, false)
		compare(t, server, in, false)
	}
	for c := range 256 {
		compare(t, server, fmt.Sprintf("*1\r\n%c1\r\n", byte(c)), false)
	}
}

func TestRedisParsesRandomStreamsAlike(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Config{})
	rapid.Check(t, func(rt *rapid.T) { compare(rt, server, stream().Draw(rt, "in"), false) })
}

func TestRedisUnquotesAlike(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Config{})
	piece := rapid.SampledFrom([]string{
		"a", "b", " ", " ", "\t", "\v", "\f", "\r", "\"", "\"", "'", "'", `\`, `\x41`, `\xfg`, `\x`, `\n`, `\q`, `\"`, `\'`, "\xff", "*", "é",
	})
	rapid.Check(t, func(rt *rapid.T) {
		words := strings.Join(rapid.SliceOfN(piece, 0, 15).Draw(rt, "words"), "")
		compare(rt, server, `EVAL "return ARGV" 0 `+words+"\r\n", false)
	})
}

func TestRedisHasTheSameLimitsBeforeAuthentication(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Config{Password: "secret"})
	for _, in := range []string{
		strict(make([]string, 10)),
		strict(make([]string, 11)),
		strict([]string{"ECHO", strings.Repeat("a", 16384)}),
		strict([]string{"ECHO", strings.Repeat("a", 16385)})[:40],
		"*2147483648\r\n",
		"*1\r\n$536870913\r\n",
		"*-5\r\nPING\r\n",
		"POST /\r\n",
	} {
		if !server.Version().Since(7, 0) && in == "POST /\r\n" {
			continue // the server checks the password first
		}
		compare(t, server, in, true)
	}
	// Inline commands have no limit.
	if answer := replies(t, server, "PING "+strings.Repeat("a ", 20)+"\n"); !strings.HasPrefix(answer, "-NOAUTH") {
		t.Errorf("20 words: the server answers %q", answer)
	}
	if !server.Version().Since(7, 0) {
		if answer := replies(t, server, "AUTH secret\r\n*1048577\r\n"); answer != "+OK\r\n-ERR Protocol error: invalid multibulk length\r\n" {
			t.Errorf("1048577 arguments: the server answers %q", answer)
		}
		return
	}
	// Redis 7 accepts more arguments than the default of Limits, but only a number of 31 bits.
	if answer := replies(t, server, "AUTH secret\r\n*2147483647\r\n$1\r\na\r\n"); answer != "+OK\r\n" {
		t.Errorf("2147483647 arguments: the server answers %q", answer)
	}
}
