package session

import (
	"fmt"
	"strconv"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

const (
	wrongPassword = "-WRONGPASS invalid username-password pair or user is disabled."
	noPassword    = "AUTH <password> called without any password configured for the default user." +
		" Are you sure your configuration is correct?"
	helloNoAuth = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass>" +
		" option can be used to authenticate the client and select the RESP protocol version at the same time"
)

// helloOptions are the arguments of HELLO.
type helloOptions struct {
	proto       int // 0: no change
	credentials *Credentials
	name        string
	named       bool
}

func (s *Session) auth(r request) Step {
	switch {
	case len(r.args) > 3:
		return failure("syntax error")
	case len(r.args) == 3:
		return s.identify(Credentials{User: string(r.args[1]), Password: string(r.args[2])}, nil)
	case !s.cfg.NeedAuth && !s.cfg.Password:
		return failure(noPassword)
	}
	return s.identify(Credentials{User: command.DefaultUser, Password: string(r.args[1]), PasswordOnly: true}, nil)
}

func (s *Session) identify(c Credentials, h *helloOptions) Step {
	return Step{
		Kind: Identify, Barrier: true, OnPin: s.pin.held(), Credentials: &c, helloOptions: h,
		onDone: (*Session).identified,
	}
}

// identified applies verified credentials. If there is a frame, it is the reply of Redis, which may be an error.
func (s *Session) identified(step *Step, frames [][]byte) Outcome {
	if len(frames) > 0 && isError(frames[0]) {
		return Outcome{Reply: frames[0]}
	}
	s.authenticated = true
	s.pin.taint(step.OnPin)
	s.identity.User = step.Credentials.User
	if step.helloOptions != nil {
		return Outcome{Reply: s.applyHello(step.helloOptions)}
	}
	return Outcome{Reply: replyOK}
}

func (s *Session) helloCommand(r request) Step {
	h, text := parseHello(r.args)
	switches := h.proto != 0 && h.proto != s.identity.Proto
	switch {
	case text != "":
		return failure(text)
	case h.credentials != nil && s.pin.held() && switches:
		return failure("respool: HELLO cannot change user and protocol while the connection is held for WATCH or CLIENT TRACKING")
	case h.credentials != nil:
		return s.identify(*h.credentials, &h)
	case !s.authenticated:
		return failure(helloNoAuth)
	case s.pin.held() && switches:
		s.pin.taint(true)
		return Step{
			Kind: Pinned, OnPin: true, Barrier: true, Replies: 1, Raw: helloRequest(h.proto),
			helloOptions: &h, onDone: (*Session).protocolSwitched,
		}
	}
	return Step{Barrier: switches, Reply: s.applyHello(&h)}
}

func (s *Session) protocolSwitched(step *Step, frames [][]byte) Outcome {
	if isError(frames[0]) {
		return Outcome{Reply: frames[0]}
	}
	return Outcome{Reply: s.applyHello(step.helloOptions)}
}

// changesIdentity reports whether a HELLO changes the user or the protocol.
func changesIdentity(args [][]byte, proto int) bool {
	h, text := parseHello(args)
	return text == "" && (h.credentials != nil || h.proto != 0 && h.proto != proto)
}

// parseHello parses HELLO with its options. text is the error, if there is one. Then HELLO changes nothing, as on
// servers since 7.2. Older servers execute the options before the invalid one.
func parseHello(args [][]byte) (h helloOptions, text string) {
	if len(args) < 2 {
		return h, ""
	}
	version, ok := parseInt(args[1])
	switch {
	case !ok:
		return h, "Protocol version is not an integer or out of range"
	case version < 2 || version > 3:
		return h, "-NOPROTO unsupported protocol version"
	}
	h.proto = int(version)
	for rest := args[2:]; len(rest) > 0; {
		switch option := rest[0]; {
		case equalFold(option, "auth") && len(rest) > 2:
			h.credentials = &Credentials{User: string(rest[1]), Password: string(rest[2])}
			rest = rest[3:]
		case equalFold(option, "setname") && len(rest) > 1:
			if !validName(rest[1]) {
				return helloOptions{}, invalidName
			}
			h.name, h.named = string(rest[1]), true
			rest = rest[2:]
		default:
			return helloOptions{}, fmt.Sprintf("Syntax error in HELLO option '%s'", cString(option, len(option)))
		}
	}
	return h, ""
}

// applyHello applies the options of HELLO, except the credentials, and returns its reply.
func (s *Session) applyHello(h *helloOptions) []byte {
	if h.named {
		s.attributes.name = h.name
	}
	if h.proto != 0 {
		s.identity.Proto = h.proto
	}
	return s.cfg.greeting().appendHello(nil, s)
}

// helloRequest returns the request that changes the protocol of a connection.
func helloRequest(proto int) []byte { return makeRequest("HELLO", strconv.Itoa(proto)) }
