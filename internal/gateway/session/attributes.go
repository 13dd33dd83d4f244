package session

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/resp"
)

func (s *Session) clientID(request) Step { return answer(resp.AppendInteger(nil, s.id)) }

func (s *Session) clientSetName(r request) Step {
	if !validName(r.args[2]) {
		return failure(badName)
	}
	s.name = string(r.args[2])
	return answer(replyOK)
}

func (s *Session) clientGetName(request) Step {
	if s.name == "" {
		return answer(s.null())
	}
	return answer(resp.AppendBulkString(nil, s.name))
}

// clientSetInfo keeps what a client library says of itself, as servers from 7.2 on do.
func (s *Session) clientSetInfo(r request) Step {
	attribute, field := "", (*string)(nil)
	switch {
	case equalFold(r.args[2], "lib-name"):
		attribute, field = "lib-name", &s.lib.name
	case equalFold(r.args[2], "lib-ver"):
		attribute, field = "lib-ver", &s.lib.version
	default:
		return failure(fmt.Sprintf("Unrecognized option '%s'", cString(r.args[2], len(r.args[2]))))
	}
	if !validName(r.args[3]) {
		return failure(attribute + " cannot contain spaces, newlines or special characters.")
	}
	*field = string(r.args[3])
	return answer(replyOK)
}

// clientCapa takes what a client can do; servers ignore what they do not use.
func (s *Session) clientCapa(request) Step { return answer(replyOK) }

// clientNoEvict keeps a wish that has no meaning for shared conns.
func (s *Session) clientNoEvict(r request) Step { return flag(&s.noEvict, r.args[2]) }

// clientNoTouch keeps a wish that has no meaning for shared conns.
func (s *Session) clientNoTouch(r request) Step { return flag(&s.noTouch, r.args[2]) }

func flag(to *bool, word []byte) Step {
	switch {
	case equalFold(word, "on"):
		*to = true
	case equalFold(word, "off"):
		*to = false
	default:
		return failure("syntax error")
	}
	return answer(replyOK)
}

func (s *Session) clientGetRedir(r request) Step {
	if s.pins&pinTracking != 0 {
		return s.forward(r)
	}
	return answer(resp.AppendInteger(nil, -1))
}

func (s *Session) clientTrackingInfo(r request) Step {
	if s.pins&pinTracking != 0 {
		return s.forward(r)
	}
	b := s.appendMapHeader(nil, 3)
	b = resp.AppendBulkString(b, "flags")
	if s.identity.Proto == 3 {
		b = appendHeader(b, '~', 1)
	} else {
		b = appendHeader(b, '*', 1)
	}
	b = resp.AppendBulkString(b, "off")
	b = appendInteger(resp.AppendBulkString(b, "redirect"), -1)
	return answer(append(resp.AppendBulkString(b, "prefixes"), replyEmpty...))
}

// clientReply turns replies off and on. SKIP concerns the next request alone.
func (s *Session) clientReply(r request) Step {
	switch mode := r.args[2]; {
	case equalFold(mode, "on"):
		s.replyOff, s.skipThis = false, false
		return answer(replyOK)
	case equalFold(mode, "off"):
		s.replyOff = true
		return Step{}
	case equalFold(mode, "skip"):
		s.skipNext = !s.replyOff
		return Step{}
	}
	return failure("syntax error")
}
