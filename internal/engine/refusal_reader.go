package engine

import (
	"bytes"
	"errors"

	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Error codes of a node that lost its role or its data. It executed nothing.
var (
	readOnlyCode   = []byte("READONLY")
	masterDownCode = []byte("MASTERDOWN")
	loadingCode    = []byte("LOADING")
	unblockedCode  = []byte("UNBLOCKED")

	replyUnblocked = []byte("-UNBLOCKED")
	replyExecAbort = []byte("-EXECABORT")

	// unblockedByRole is in the error that ends a blocked command when its server becomes a replica. CLIENT UNBLOCK
	// has another text.
	unblockedByRole = []byte("instance state changed")
	// abortedBy precedes the refusal of EXEC itself.
	abortedBy = []byte("EXECABORT Transaction discarded because of: ")
	// oldScript begins the errors of scripts before Redis 7. They contain oldReadOnly.
	oldScript   = []byte("ERR Error running script")
	oldReadOnly = []byte(" -READONLY You can't write against a read only")
)

// how states how certain it is, from the replies alone, that the server executed nothing.
type how uint8

const (
	notRefused     how = iota
	abortRefused       // EXEC aborted the transaction
	repliesRefused     // each reply is a refusal; a script can return one itself
	perhapsRefused     // EXEC's reply contains a refusal, which only a script causes
)

// refusalReader finds replies with which a server refuses commands because of its role or state.
type refusalReader struct {
	// Commands go to the primary, so READONLY shows that the node is none. A replica is expected to reply READONLY.
	wantsPrimary bool
}

// read reports whether the replies to the commands in raw are refusals that justify a retry on another node.
func (r refusalReader) read(raw []byte, frames [][]byte) (kind topology.Evidence, h how) {
	if len(frames) == 0 {
		return 0, notRefused
	}
	last := frames[len(frames)-1]
	if len(frames) > 1 && bytes.HasPrefix(raw, rawMulti) {
		return r.exec(frames, last)
	}
	for _, f := range frames {
		k, ok := r.one(f)
		if !ok {
			return 0, notRefused
		}
		kind = k
	}
	return kind, repliesRefused
}

// exec is read for MULTI, commands and EXEC.
func (r refusalReader) exec(frames [][]byte, last []byte) (kind topology.Evidence, h how) {
	if kind, ok := r.one(last); ok {
		return kind, abortRefused
	}
	if bytes.HasPrefix(last, replyExecAbort) {
		for _, f := range frames {
			if kind, ok := r.one(f); ok {
				return kind, abortRefused
			}
		}
		return 0, notRefused
	}
	if !bytes.Contains(last, []byte("\r\n-")) {
		return 0, notRefused
	}
	elements, err := resp.Elements(last)
	if err != nil {
		return 0, notRefused
	}
	for _, element := range elements {
		if kind, ok := r.one(element); ok {
			return kind, perhapsRefused
		}
	}
	return 0, notRefused
}

// one is read for one reply.
func (r refusalReader) one(frame []byte) (kind topology.Evidence, ok bool) {
	if len(frame) == 0 || frame[0] != '-' {
		return 0, false
	}
	text, _ := bytes.CutPrefix(frame[1:], abortedBy)
	switch {
	case bytes.HasPrefix(text, readOnlyCode), bytes.HasPrefix(text, oldScript) && bytes.Contains(text, oldReadOnly):
		return topology.ReadOnly, r.wantsPrimary
	case bytes.HasPrefix(text, unblockedCode):
		return topology.ReadOnly, bytes.Contains(text, unblockedByRole)
	case bytes.HasPrefix(text, masterDownCode):
		return topology.MasterDown, true
	case bytes.HasPrefix(text, loadingCode):
		return topology.Loading, true
	}
	return 0, false
}

// refusedDial reports whether a dial failed because the server is loading, or is a replica without a primary.
func refusedDial(err error) bool {
	se, ok := errors.AsType[*resp.ServerError](err)
	return ok && (se.Code == "LOADING" || se.Code == "MASTERDOWN")
}
