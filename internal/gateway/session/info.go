package session

import (
	"fmt"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/resp"
)

// Facts are what the gateway knows of a client's connection and the session does not.
type ConnInfo struct {
	LocalAddr string
	FD        int
	Age, Idle time.Duration // since the client connected, since its last request
	Output    int           // bytes that wait to be sent to the client
	Blocked   bool          // it waits for a command that takes long
	Unix      bool          // it has connected to a unix socket
}

// AppendInfo appends the session's line of CLIENT LIST, with its line break. What only a
// server could know of its own buffers is 0.
func (s *Session) AppendInfo(dst []byte, f ConnInfo) []byte {
	channels, patterns, shards := s.Subscriptions()
	queued, memory, redirect := -1, 0, -1
	if s.multi.open {
		queued = 0
		if t := s.multi.queued; t != nil {
			queued, memory = t.n, t.bytes
		}
	}
	if s.pins&pinTracking != 0 {
		redirect = 0
	}
	last := "NULL"
	if s.last != nil {
		last = fullName(s.last)
	}
	dst = fmt.Appendf(dst, "id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d",
		s.id, s.addr, f.LocalAddr, f.FD, s.name, int64(f.Age/time.Second), int64(f.Idle/time.Second), s.flags(f), s.identity.DB)
	dst = fmt.Appendf(dst, " sub=%d psub=%d ssub=%d multi=%d qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=%d rbs=0 rbp=0 obl=%d",
		channels, patterns, shards, queued, memory, f.Output)
	dst = fmt.Appendf(dst, " oll=0 omem=0 tot-mem=%d events=r cmd=%s user=%s redir=%d resp=%d",
		memory+f.Output, last, s.identity.User, redirect, s.identity.Proto)
	if s.lib != (library{}) {
		dst = fmt.Appendf(dst, " lib-name=%s lib-ver=%s", s.lib.name, s.lib.version)
	}
	return append(dst, '\n')
}

// Text makes a reply of the lines that AppendInfo gives: a verbatim string under RESP3.
func (s *Session) Text(lines []byte) []byte {
	if s.identity.Proto == 2 {
		return bulk(lines)
	}
	b := appendHeader(nil, byte(resp.Verbatim), len("txt:")+len(lines))
	b = append(append(b, "txt:"...), lines...)
	return append(b, '\r', '\n')
}

// flags are as in CLIENT LIST.
func (s *Session) flags(f ConnInfo) string {
	channels, patterns, shards := s.Subscriptions()
	var b strings.Builder
	for _, flag := range []struct {
		set  bool
		char byte
	}{
		{s.monitor, 'O'},
		{channels+patterns+shards > 0, 'P'},
		{s.multi.open, 'x'},
		{f.Blocked, 'b'},
		{s.pins&pinTracking != 0, 't'},
		{s.pins&pinTracking != 0 && s.broadcast, 'B'},
		{s.watchLost, 'd'},
		{f.Unix, 'U'},
		{s.readOnly, 'r'},
		{s.noEvict, 'e'},
		{s.noTouch, 'T'},
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

// Type is what CLIENT LIST TYPE and CLIENT KILL TYPE know the session as.
func (s *Session) Type() string {
	if channels, patterns, shards := s.Subscriptions(); channels+patterns+shards > 0 {
		return "pubsub"
	}
	return "normal"
}
