package session

// replyMode is the state of CLIENT REPLY.
type replyMode struct {
	off      bool // CLIENT REPLY OFF
	skip     bool // the current request gets no reply
	skipNext bool // the next request gets no reply
}

// begin starts a request.
func (m *replyMode) begin() { m.skip, m.skipNext = m.skipNext, false }

// end ends a request.
func (m *replyMode) end() { m.skip = false }

// silent reports whether the current request gets no reply.
func (m *replyMode) silent() bool { return m.off || m.skip }

// set handles CLIENT REPLY. SKIP affects only the next request.
func (m *replyMode) set(r request) Step {
	switch mode := r.args[2]; {
	case equalFold(mode, "on"):
		m.off, m.skip = false, false
		return answer(replyOK)
	case equalFold(mode, "off"):
		m.off = true
		return Step{}
	case equalFold(mode, "skip"):
		m.skipNext = !m.off
		return Step{}
	}
	return failure("syntax error")
}
