package session

import (
	"bytes"
	"cmp"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Greeting is a server's description of itself in the reply to HELLO. It is immutable.
type Greeting struct {
	name, version string
	fields        []greetingField // in the order of the server
	major         int             // of version; 0: unknown
}

// greetingField is one field of the reply to HELLO. A field of the connection, such as its ID, has no value.
type greetingField struct {
	name    string
	value   []byte // a frame that is identical in RESP2 and RESP3
	modules []module
}

// module is the description of a module: a map, whose frames are identical in RESP2 and RESP3.
type module struct {
	pairs int
	raw   []byte
}

// standardFields are the fields of all servers.
var standardFields = []greetingField{
	{name: "server"}, {name: "version"}, {name: "proto"}, {name: "id"}, {name: "mode"}, {name: "role"}, {name: "modules"},
}

// NewGreeting returns the greeting of a server of which only the name (redis or valkey) and the version are known. The
// version may be empty.
func NewGreeting(name, version string) *Greeting {
	major, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(major)
	return &Greeting{name: name, version: version, fields: standardFields, major: n}
}

// isValkey8 reports whether the server is Valkey 8.0 or later. Earlier versions behave like Redis 7.2.
func (g *Greeting) isValkey8() bool { return g.name == "valkey" && g.major >= 8 }

// acceptsClusterMode reports whether a server outside a cluster accepts a command: READONLY or READWRITE.
func (g *Greeting) acceptsClusterMode(name string) bool {
	switch name {
	case "READONLY":
		return g.isValkey8()
	case "READWRITE":
		return g.isValkey8() || g.name == "redis" && g.major > 0 && g.major < 7
	}
	return false
}

// nestingAborts reports whether MULTI or WATCH inside a transaction aborts it. Other servers only refuse the command.
func (g *Greeting) nestingAborts() bool { return g.isValkey8() }

// unknownServer is the greeting of an unknown server.
var unknownServer = NewGreeting("redis", "")

// ReadGreeting reads a server's reply to HELLO, which is a map or the equivalent array of RESP2. It returns nil for
// other replies.
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

// readModules omits the values that differ between RESP2 and RESP3.
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

// appendPortable appends a string, an integer, or an array of them. ok is false for other values, which may differ
// between RESP2 and RESP3.
func appendPortable(dst []byte, v *resp.Value) (out []byte, ok bool) {
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

// greeting returns the greeting of the server.
func (cfg *Config) greeting() *Greeting {
	if cfg.Greeting != nil {
		if g := cfg.Greeting(); g != nil {
			return g
		}
	}
	return unknownServer
}

// appendHello appends the reply to HELLO: the description of the server, with the fields of the session's connection.
func (g *Greeting) appendHello(dst []byte, s *Session) []byte {
	p := s.protocol()
	dst = p.appendMapHeader(dst, len(g.fields))
	for i := range g.fields {
		f := &g.fields[i]
		dst = resp.AppendBulkString(dst, f.name)
		switch f.name {
		case "server":
			dst = resp.AppendBulkString(dst, g.name)
		case "version":
			dst = resp.AppendBulkString(dst, cmp.Or(s.cfg.ServerVersion, g.version))
		case "proto":
			dst = appendInteger(dst, int64(p))
		case "id":
			dst = appendInteger(dst, s.id)
		case "mode":
			dst = resp.AppendBulkString(dst, s.cfg.mode())
		case "role":
			dst = resp.AppendBulkString(dst, cmp.Or(s.cfg.Role, "master"))
		case "modules":
			dst = appendModules(dst, f.modules, p)
		default:
			dst = append(dst, f.value...)
		}
	}
	return dst
}

func (cfg *Config) mode() string {
	if cfg.ClusterFace {
		return "cluster"
	}
	return "standalone"
}

func appendModules(dst []byte, modules []module, p protocol) []byte {
	dst = resp.AppendArrayHeader(dst, len(modules))
	for _, m := range modules {
		dst = append(p.appendMapHeader(dst, m.pairs), m.raw...)
	}
	return dst
}
