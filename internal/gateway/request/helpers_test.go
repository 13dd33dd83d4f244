package request_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
	"github.com/seed-2b0d76a6/respool/resp"
)

// full has all fields set that the reference needs.
func full(lim request.Limits) request.Limits {
	set := func(n *int64, to int64) {
		if *n == 0 {
			*n = to
		}
	}
	if lim.Line == 0 {
		lim.Line = 64 << 10
	}
	if lim.Args == 0 {
		lim.Args = 1 << 20
	}
	set(&lim.Bulk, 512<<20)
	set(&lim.Total, 1<<30)
	return lim
}

// The ways to split a stream: each returns the size of the next chunk.
func entire() int { return 1 << 30 }
func single() int { return 1 }
func random(r *rand.Rand) func() int {
	return func() int { return r.IntN(1 << r.IntN(8)) }
}

// fataler is a test, or a draw of rapid.
type fataler interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
}

// scan reads in, split into chunks that are overwritten after use. It checks the invariants and returns the outcome. It
// joins parts.
func scan(t fataler, s *request.Scanner, in []byte, cut func() int) (out outcome) {
	t.Helper()
	var parts reassembly
	for len(in) > 0 {
		chunk := bytes.Clone(in[:min(len(in), cut())])
		in = in[len(chunk):]
		for rest := chunk; ; {
			before := bytes.Clone(rest)
			req, n, err := s.Next(rest)
			if !bytes.Equal(before, rest) {
				t.Fatalf("the input %q was changed to %q", before, rest)
			}
			if err != nil {
				checkError(t, s, err)
				out.err, out.cause = err.Error(), err
				return out
			}
			rest = rest[n:]
			if req.Raw == nil {
				if len(rest) > 0 {
					t.Fatalf("no request, and %d bytes left", len(rest))
				}
				break
			}
			if whole := parts.add(t, s, req); whole != "" {
				out.requests = append(out.requests, whole)
			}
		}
		clear(chunk)
		if s.Idle() && s.Held() > 32*24 {
			t.Fatalf("%d bytes held between requests", s.Held())
		}
	}
	return out
}

func checkError(t fataler, s *request.Scanner, err error) {
	t.Helper()
	again, n, sameErr := s.Next([]byte("PING\r\n"))
	if again.Raw != nil || n != 0 || sameErr != err {
		t.Fatalf("behind the error %v: request %q, %d bytes, error %v", err, again.Raw, n, sameErr)
	}
	if protocolErr := new(request.ProtocolError); errors.As(err, &protocolErr) && strings.ContainsAny(protocolErr.Reply(), "\r\n") {
		t.Fatalf("the reply %q has a line end inside", protocolErr.Reply())
	}
	if s.Held() != 0 {
		t.Fatalf("%d bytes held behind an error", s.Held())
	}
}

// reassembly joins parts.
type reassembly struct {
	raw   []byte
	args  []string
	count int
}

// add returns the request once it is complete.
func (a *reassembly) add(t fataler, s *request.Scanner, req request.Request) string {
	t.Helper()
	mid := a.raw != nil
	if behind := req.Part == request.Middle || req.Part == request.Last; behind != mid {
		t.Fatalf("part %v, %d bytes behind the request's start", req.Part, len(a.raw))
	}
	if len(req.Raw) == 0 || (req.Part == request.First || req.Part == request.Middle) == s.Idle() {
		t.Fatalf("part %v of %d bytes, idle: %v", req.Part, len(req.Raw), s.Idle())
	}
	if !mid {
		*a = reassembly{count: req.Count}
		for _, arg := range req.Args {
			a.args = append(a.args, string(arg))
		}
	} else if req.Args != nil || req.Count != 0 {
		t.Fatalf("part %v has %d of %d arguments", req.Part, len(req.Args), req.Count)
	}
	a.raw = append(a.raw, req.Raw...)
	if !s.Idle() {
		return ""
	}
	whole := string(a.raw)
	a.raw = nil
	args := elements(t, whole)
	if len(args) != a.count || !slices.Equal(args[:len(a.args)], a.args) {
		t.Fatalf("request %q: arguments %q, %d announced", whole, a.args, a.count)
	}
	if size := int64(len(whole)); req.Inline {
		if req.Part != request.Whole {
			t.Fatalf("inline request %q in parts", whole)
		}
	} else if inParts := s.Limits.Stream > 0 && size > s.Limits.Stream; inParts != mid {
		t.Fatalf("request of %d bytes, in parts: %v, limit %d", size, mid, s.Limits.Stream)
	}
	if !mid && len(a.args) != a.count {
		t.Fatalf("whole request %q: arguments %q", whole, a.args)
	}
	return whole
}

// elements parses an array in canonical form with package resp.
func elements(t fataler, raw string) (args []string) {
	t.Helper()
	v, n, err := resp.Decode([]byte(raw))
	if err != nil || n != len(raw) || v.Kind != resp.Array {
		t.Fatalf("%q is no array in the strict form: %d bytes, error %v", raw, n, err)
	}
	for _, elem := range v.Elems {
		if elem.Kind != resp.BulkString || elem.Null {
			t.Fatalf("%q holds %v", raw, elem.Kind)
		}
		args = append(args, string(elem.Str))
	}
	return args
}
