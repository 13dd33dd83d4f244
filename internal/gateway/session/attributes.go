package session

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/resp"
)

const invalidName = "Client names cannot contain spaces, newlines or special characters."

// attributes are the properties that a client sets for itself with CLIENT commands.
type attributes struct {
	name             string
	library          library
	noEvict, noTouch bool // without effect on shared connections
}

// library is the client library of CLIENT SETINFO. As on a server, RESET keeps it.
type library struct{ name, version string }

func (a *attributes) setName(r request) Step {
	if !validName(r.args[2]) {
		return failure(invalidName)
	}
	a.name = string(r.args[2])
	return answer(replyOK)
}

// setInfo handles CLIENT SETINFO as servers since 7.2 do.
func (a *attributes) setInfo(r request) Step {
	attribute, field := "", (*string)(nil)
	switch {
	case equalFold(r.args[2], "lib-name"):
		attribute, field = "lib-name", &a.library.name
	case equalFold(r.args[2], "lib-ver"):
		attribute, field = "lib-ver", &a.library.version
	default:
		return failure(fmt.Sprintf("Unrecognized option '%s'", cString(r.args[2], len(r.args[2]))))
	}
	if !validName(r.args[3]) {
		return failure(attribute + " cannot contain spaces, newlines or special characters.")
	}
	*field = string(r.args[3])
	return answer(replyOK)
}

func (a *attributes) setNoEvict(r request) Step { return setFlag(&a.noEvict, r.args[2]) }

func (a *attributes) setNoTouch(r request) Step { return setFlag(&a.noTouch, r.args[2]) }

func setFlag(flag *bool, value []byte) Step {
	switch {
	case equalFold(value, "on"):
		*flag = true
	case equalFold(value, "off"):
		*flag = false
	default:
		return failure("syntax error")
	}
	return answer(replyOK)
}

// validName reports whether a client may have this name, so that CLIENT LIST stays readable.
func validName(name []byte) bool {
	for _, c := range name {
		if c < '!' || c > '~' {
			return false
		}
	}
	return true
}

func (s *Session) clientID(request) Step { return answer(resp.AppendInteger(nil, s.id)) }

func (s *Session) clientGetName(request) Step {
	if s.attributes.name == "" {
		return answer(s.protocol().null())
	}
	return answer(resp.AppendBulkString(nil, s.attributes.name))
}

func (s *Session) clientTrackingInfo(r request) Step {
	if s.pin.tracking() {
		return s.pin.forward(r)
	}
	p := s.protocol()
	b := p.appendMapHeader(nil, 3)
	b = resp.AppendBulkString(b, "flags")
	b = p.appendSetHeader(b, 1)
	b = resp.AppendBulkString(b, "off")
	b = appendInteger(resp.AppendBulkString(b, "redirect"), -1)
	return answer(append(resp.AppendBulkString(b, "prefixes"), replyEmpty...))
}
