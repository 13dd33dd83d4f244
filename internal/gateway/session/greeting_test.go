package session_test

import (
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
	"pgregory.net/rapid"
)

// Whatever a server says to HELLO, a client gets a whole reply in its own protocol, with its own number.
func TestAnyGreetingMakesAWholeReply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said := drawValue(t, 4)
		greeting := session.ReadGreeting(&said)
		cfg := &session.Config{Greeting: func() *session.Greeting { return greeting }}
		s := session.New(cfg, 42, "")
		for _, x := range []struct {
			proto string
			kind  resp.Kind
		}{{"2", resp.Array}, {"3", resp.Map}} {
			raw, args := request("HELLO", x.proto)
			step := s.Next(raw, args)
			v, n, err := resp.Decode(step.Reply)
			if err != nil || n != len(step.Reply) || v.Kind != x.kind || x.proto == "2" && holds(&v, resp.Map) {
				t.Fatalf("HELLO %s: %q, %v", x.proto, step.Reply, err)
			}
			for i := 0; i < len(v.Elems); i += 2 {
				if string(v.Elems[i].Str) == "id" && v.Elems[i+1].Int != 42 {
					t.Fatalf("HELLO %s: another client's number in %q", x.proto, step.Reply)
				}
			}
		}
	})
}

func holds(v *resp.Value, kind resp.Kind) bool {
	for i := range v.Elems {
		if v.Elems[i].Kind == kind || holds(&v.Elems[i], kind) {
			return true
		}
	}
	return false
}

// drawValue draws a reply of at most depth levels: often a map with the names of a greeting.
func drawValue(t *rapid.T, depth int) resp.Value {
	kinds := []resp.Kind{resp.Map, resp.Array, resp.Set, resp.BulkString, resp.SimpleString, resp.Integer, resp.Null, resp.Double, resp.Boolean, resp.SimpleError}
	if depth == 0 {
		kinds = kinds[3:]
	}
	v := resp.Value{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch v.Kind {
	case resp.Map, resp.Array, resp.Set:
		for range rapid.IntRange(0, 5).Draw(t, "pairs") {
			name := rapid.SampledFrom([]string{"server", "version", "proto", "id", "mode", "role", "modules", "name", "zone", "a\r\nb"}).Draw(t, "name")
			v.Elems = append(v.Elems, resp.Value{Kind: resp.BulkString, Str: []byte(name)}, drawValue(t, depth-1))
		}
		if v.Kind == resp.Array && rapid.Bool().Draw(t, "odd") {
			v.Elems = append(v.Elems, resp.Value{Kind: resp.BulkString})
		}
	case resp.Null:
		v.Null = true
	case resp.Integer:
		v.Int = rapid.Int64().Draw(t, "number")
	default:
		v.Str = []byte(rapid.SampledFrom([]string{"", "x", "valkey", "8.0.1", "\r\n+OK\r\n"}).Draw(t, "text"))
	}
	return v
}
