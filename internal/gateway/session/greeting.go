package session

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Greeting is what a server tells of itself in reply to HELLO. It is not changed once it is made.
type Greeting struct {
	name, version string
	fields        []greetingField // in the server's order
	major         int             // of version; 0: not known
}

// greetingField is one of a greeting. Those of the connection, such as its number, have no value.
type greetingField struct {
	name    string
	value   []byte // a frame that is the same in RESP2 and RESP3
	modules []module
}

// module is what a server tells of one of its modules: a map, as frames that are the same in RESP2 and RESP3.
type module struct {
	pairs int
	raw   []byte
}

// plainGreeting has the fields of all servers.
var standardFields = []greetingField{
	{name: "server"}, {name: "version"}, {name: "proto"}, {name: "id"}, {name: "mode"}, {name: "role"}, {name: "modules"},
}

// NewGreeting makes the greeting of a server of which no more is known: redis or valkey, and the version, which may be empty.
func NewGreeting(name, version string) *Greeting {
	major, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(major)
	return &Greeting{name: name, version: version, fields: standardFields, major: n}
}

// valkey8 reports whether it is Valkey that goes its own way: its versions before 8.0 are Redis 7.2 by another name.
func (g *Greeting) isValkey8() bool { return g.name == "valkey" && g.major >= 8 }

// takesClusterMode reports whether a server without a cluster takes READONLY or READWRITE.
func (g *Greeting) acceptsClusterMode(name string) bool {
	switch name {
	case "READONLY":
		return g.isValkey8()
	case "READWRITE":
		return g.isValkey8() || g.name == "redis" && g.major > 0 && g.major < 7
	}
	return false
}

// unknown is the greeting of a server of which nothing is known.
var unknownServer = NewGreeting("redis", "")

// ReadGreeting reads a server's reply to HELLO, a map or what RESP2 has for one. It gives nil for anything else.
func ReadGreeting(v *resp.Value) *Greeting {
	if v.Kind != resp.Map && v.Kind != resp.Array || len(v.Elems) == 0 || len(v.Elems)%2 != 0 {
		return nil
	}
	name, version := "redis", ""
	var fields []greetingField
	for i := 0; i < len(v.Elems); i += 2 {
		field, value := greetingField{name: string(v.Elems[i].Str)}, &v.Elems[i+1]
		switch field.name {
		case "server":
			name = string(value.Str)
		case "version":
			version = string(value.Str)
		case "proto", "id", "mode", "role":
		case "modules":
			field.modules = readModules(value.Elems)
		default:
			var ok bool
			if field.value, ok = appendPortable(nil, value); !ok {
				continue
			}
		}
		fields = append(fields, field)
	}
	g := NewGreeting(name, version)
	g.fields = fields
	return g
}

// readModules leaves out what differs between RESP2 and RESP3.
func readModules(list []resp.Value) (modules []module) {
	for i := range list {
		var m module
		for pairs := list[i].Elems; len(pairs) > 1; pairs = pairs[2:] {
			raw, ok := appendPortable(m.raw, &pairs[0])
			if !ok {
				continue
			}
			if raw, ok = appendPortable(raw, &pairs[1]); ok {
				m.raw, m.pairs = raw, m.pairs+1
			}
		}
		modules = append(modules, m)
	}
	return modules
}

// appendSame appends a string, an integer, or an array of them. Everything else may differ between RESP2 and RESP3.
func appendPortable(dst []byte, v *resp.Value) ([]byte, bool) {
	switch {
	case v.Null:
		return dst, false
	case v.Kind == resp.BulkString:
		return resp.AppendBulk(dst, v.Str), true
	case v.Kind == resp.SimpleString && !bytes.ContainsAny(v.Str, "\r\n"):
		return append(append(append(dst, '+'), v.Str...), '\r', '\n'), true
	case v.Kind == resp.Integer:
		return appendInteger(dst, v.Int), true
	case v.Kind != resp.Array:
		return dst, false
	}
	whole := resp.AppendArrayHeader(dst, len(v.Elems))
	for i := range v.Elems {
		var ok bool
		if v.Elems[i].Kind == resp.Array {
			return dst, false
		}
		if whole, ok = appendPortable(whole, &v.Elems[i]); !ok {
			return dst, false
		}
	}
	return whole, true
}

// greeting is the server's.
func (s *Session) greeting() *Greeting {
	if s.cfg.Greeting != nil {
		if g := s.cfg.Greeting(); g != nil {
			return g
		}
	}
	return unknownServer
}

// appendGreeting appends the reply to HELLO: what the server tells, with what is the session's own.
func (s *Session) appendGreeting(dst []byte) []byte {
	g := s.greeting()
	dst = s.appendMapHeader(dst, len(g.fields))
	for i := range g.fields {
		f := &g.fields[i]
		dst = resp.AppendBulkString(dst, f.name)
		switch f.name {
		case "server":
			dst = resp.AppendBulkString(dst, g.name)
		case "version":
			dst = resp.AppendBulkString(dst, cmp.Or(s.cfg.ServerVersion, g.version))
		case "proto":
			dst = appendInteger(dst, int64(s.identity.Proto))
		case "id":
			dst = appendInteger(dst, s.id)
		case "mode":
			dst = resp.AppendBulkString(dst, s.mode())
		case "role":
			dst = resp.AppendBulkString(dst, cmp.Or(s.cfg.Role, "master"))
		case "modules":
			dst = s.appendModules(dst, f.modules)
		default:
			dst = append(dst, f.value...)
		}
	}
	return dst
}

func (s *Session) mode() string {
	if s.cfg.Cluster {
		return "cluster"
	}
	return "standalone"
}

func (s *Session) appendModules(dst []byte, modules []module) []byte {
	dst = resp.AppendArrayHeader(dst, len(modules))
	for _, m := range modules {
		dst = append(s.appendMapHeader(dst, m.pairs), m.raw...)
	}
	return dst
}
