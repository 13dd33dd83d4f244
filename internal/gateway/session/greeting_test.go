package session_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/internal/gateway/session"
	"github.com/seed-2b0d76a6/respool/resp"
)

// For every reply of a server to HELLO, a client gets a complete reply in its own protocol: the fields of the server,
// with the values of the session's connection. Values that differ between the protocols are omitted.
func TestEveryGreetingGivesACompleteReply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		said := drawGreeting(t)
		greeting := session.ReadGreeting(&said)
		cfg := &session.Config{Greeting: func() *session.Greeting { return greeting }}
		s := session.New(cfg, 42, "")
		for _, proto := range []int64{2, 3} {
			raw, args := request("HELLO", fmt.Sprint(proto))
			step := s.Next(raw, args)
			v, n, err := resp.Decode(step.Reply)
			if err != nil || n != len(step.Reply) {
				t.Fatalf("HELLO %d: %q, %v", proto, step.Reply, err)
			}
			if want := greetingFor(&said, proto, 42); !equal(&v, &want) {
				t.Fatalf("HELLO %d: %q\nwant %+v", proto, step.Reply, want)
			}
		}
	})
}

func equal(a, b *resp.Value) bool {
	return a.Kind == b.Kind && a.Null == b.Null && a.Int == b.Int && bytes.Equal(a.Str, b.Str) &&
		slices.EqualFunc(a.Elems, b.Elems, func(x, y resp.Value) bool { return equal(&x, &y) })
}

func text(s string) resp.Value { return resp.Value{Kind: resp.BulkString, Str: []byte(s)} }

// mapFor returns a map in the encoding of the protocol.
func mapFor(proto int64, elems []resp.Value) resp.Value {
	if proto == 2 {
		return resp.Value{Kind: resp.Array, Elems: elems}
	}
	return resp.Value{Kind: resp.Map, Elems: elems}
}

// greetingFor returns the expected reply for the client with this ID.
func greetingFor(said *resp.Value, proto, id int64) resp.Value {
	elems := said.Elems
	if said.Kind != resp.Map && said.Kind != resp.Array || len(elems) == 0 || len(elems)%2 != 0 {
		elems = nil
		for _, name := range []string{"server", "version", "proto", "id", "mode", "role", "modules"} {
			elems = append(elems, text(name), text(map[string]string{"server": "redis"}[name]))
		}
	}
	own := map[string]resp.Value{
		"server": text("redis"), "version": text(""), "proto": {Kind: resp.Integer, Int: proto}, "id": {Kind: resp.Integer, Int: id},
		"mode": text("standalone"), "role": text("master"),
	}
	for i := 0; i < len(elems); i += 2 { // the last value of a duplicate field counts
		if name := string(elems[i].Str); name == "server" || name == "version" {
			own[name] = text(string(elems[i+1].Str))
		}
	}
	var fields []resp.Value
	for i := 0; i < len(elems); i += 2 {
		name, value := string(elems[i].Str), elems[i+1]
		mine, ok := own[name]
		switch {
		case ok:
			value = mine
		case name == "modules":
			value = modulesFor(value.Elems, proto)
		case !portable(&value):
			continue
		}
		fields = append(fields, text(name), value)
	}
	return mapFor(proto, fields)
}

func modulesFor(list []resp.Value, proto int64) resp.Value {
	modules := resp.Value{Kind: resp.Array}
	for _, m := range list {
		var pairs []resp.Value
		for i := 0; i+1 < len(m.Elems); i += 2 {
			if portable(&m.Elems[i]) && portable(&m.Elems[i+1]) {
				pairs = append(pairs, m.Elems[i], m.Elems[i+1])
			}
		}
		modules.Elems = append(modules.Elems, mapFor(proto, pairs))
	}
	return modules
}

// portable reports whether a value is identical in both protocols: a string, an integer, or a flat array of them.
func portable(v *resp.Value) bool {
	switch v.Kind {
	case resp.BulkString, resp.Integer:
		return true
	case resp.SimpleString:
		return !strings.ContainsAny(string(v.Str), "\r\n")
	case resp.Array:
		return !slices.ContainsFunc(v.Elems, func(e resp.Value) bool { return e.Kind == resp.Array || !portable(&e) })
	}
	return false
}

// drawGreeting draws a map with the names of a greeting, or sometimes any value.
func drawGreeting(t *rapid.T) resp.Value {
	if rapid.IntRange(0, 7).Draw(t, "anything") == 0 {
		return drawValue(t, 4)
	}
	v := resp.Value{Kind: rapid.SampledFrom([]resp.Kind{resp.Map, resp.Array}).Draw(t, "root")}
	for range rapid.IntRange(0, 10).Draw(t, "fields") {
		name, value := drawName(t), drawFieldValue(t)
		if name == "modules" && rapid.Bool().Draw(t, "list") {
			value = resp.Value{Kind: resp.Array}
			for range rapid.IntRange(0, 3).Draw(t, "modules") {
				m := resp.Value{Kind: resp.Map}
				for range rapid.IntRange(0, 3).Draw(t, "pairs") {
					m.Elems = append(m.Elems, text(drawName(t)), drawFieldValue(t))
				}
				value.Elems = append(value.Elems, m)
			}
		}
		v.Elems = append(v.Elems, text(name), value)
	}
	return v
}

// drawFieldValue draws frequent values: a string, a number, or a list of values.
func drawFieldValue(t *rapid.T) resp.Value {
	switch rapid.IntRange(0, 3).Draw(t, "value") {
	case 0:
		return text("x")
	case 1:
		v := resp.Value{Kind: resp.Array}
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			e := resp.Value{Kind: resp.Integer, Int: 1}
			if rapid.IntRange(0, 3).Draw(t, "hidden") == 0 {
				e = drawValue(t, 1)
			}
			v.Elems = append(v.Elems, e)
		}
		return v
	}
	return drawValue(t, 2)
}

func drawName(t *rapid.T) string {
	return rapid.SampledFrom([]string{"server", "version", "proto", "id", "mode", "role", "modules", "name", "zone", "a\r\nb"}).Draw(t, "name")
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
			v.Elems = append(v.Elems, text(drawName(t)), drawValue(t, depth-1))
		}
		if v.Kind == resp.Array && rapid.Bool().Draw(t, "odd") {
			v.Elems = append(v.Elems, text(""))
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
