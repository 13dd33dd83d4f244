package session

import (
	"fmt"
	"strings"
	"time"
)

// ConnInfo is the gateway's information about a client connection, for CLIENT LIST.
type ConnInfo struct {
	LocalAddr string
	FD        int
	Age, Idle time.Duration // since the client connected, since its last request
	Output    int           // bytes that wait to be sent to the client
	Blocked   bool          // the client waits for a slow command
	Unix      bool          // the connection is a unix socket
}

// AppendInfo appends the session's line of CLIENT LIST, with its line break. Sizes of buffers that only a server has
// are 0.
func (s *Session) AppendInfo(dst []byte, c ConnInfo) []byte {
	subs := &s.subscriptions
	queued, memory := s.multi.queueInfo()
	redirect := -1
	if s.pin.tracking() {
		redirect = 0
	}
	last := "NULL"
	if s.last != nil {
		last = fullName(s.last)
	}
	dst = fmt.Appendf(dst, "id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d",
		s.id, s.addr, c.LocalAddr, c.FD, s.attributes.name, int64(c.Age/time.Second), int64(c.Idle/time.Second), s.flags(c), s.identity.DB)
	dst = fmt.Appendf(dst, " sub=%d psub=%d ssub=%d multi=%d qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=%d rbs=0 rbp=0 obl=%d",
		len(subs[Channel].order), len(subs[Pattern].order), len(subs[Shard].order), queued, memory, c.Output)
	dst = fmt.Appendf(dst, " oll=0 omem=0 tot-mem=%d events=r cmd=%s user=%s redir=%d resp=%d",
		memory+c.Output, last, s.identity.User, redirect, s.identity.Proto)
	if lib := s.attributes.library; lib != (library{}) {
		dst = fmt.Appendf(dst, " lib-name=%s lib-ver=%s", lib.name, lib.version)
	}
	return append(dst, '\n')
}

// Text returns the reply for lines of AppendInfo.
func (s *Session) Text(lines []byte) []byte { return s.protocol().text(lines) }

// flags returns the flags of CLIENT LIST.
func (s *Session) flags(c ConnInfo) string {
	var b strings.Builder
	for _, flag := range []struct {
		set  bool
		char byte
	}{
		{s.monitor, 'O'},
		{s.subscriptions.total() > 0, 'P'},
		{s.multi.open, 'x'},
		{c.Blocked, 'b'},
		{s.pin.tracking(), 't'},
		{s.pin.tracking() && s.pin.broadcast, 'B'},
		{s.pin.watchLost, 'd'},
		{c.Unix, 'U'},
		{s.readOnly, 'r'},
		{s.attributes.noEvict, 'e'},
		{s.attributes.noTouch, 'T'},
	} {
		if flag.set {
			b.WriteByte(flag.char)
		}
	}
	if b.Len() == 0 {
		return "N"
	}
	return b.String()
}

// Type returns the type of the client for CLIENT LIST TYPE and CLIENT KILL TYPE.
func (s *Session) Type() string {
	if s.subscriptions.total() > 0 {
		return "pubsub"
	}
	return "normal"
}
