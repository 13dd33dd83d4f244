// Package refusal reads replies with which a server refuses commands because of its role or state, and executes none
// of them. It also remembers the refusals of one server. It performs no I/O and starts no goroutine.
//
// It does not decide whether to retry.
package refusal

import (
	"bytes"
	"errors"
	"slices"

	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Error codes of a node that lost its role, its data or the slot. It executed nothing.
var (
	readOnlyCode   = []byte("READONLY")
	masterDownCode = []byte("MASTERDOWN")
	loadingCode    = []byte("LOADING")
	unblockedCode  = []byte("UNBLOCKED")

	movedCode       = []byte("MOVED ")
	askCode         = []byte("ASK ")
	tryAgainCode    = []byte("TRYAGAIN ")
	clusterDownCode = []byte("CLUSTERDOWN ")

	rawMulti       = []byte("*1\r\n$5\r\nMULTI\r\n")
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

// How states how certain it is, from the replies alone, that the server executed nothing.
type How uint8

const (
	None    How = iota // no refusal
	Aborted            // EXEC aborted the transaction
	Replies            // each reply is a refusal; a script can return one itself
	Perhaps            // EXEC's reply contains a refusal, which only a script causes
)

// Reader finds refusals in replies.
type Reader struct {
	// WantsPrimary: commands go to the primary, so READONLY shows that the node is none. A replica is expected to reply
	// READONLY.
	WantsPrimary bool
	// Cluster: the server is a node of a cluster, whose refusals name the reason.
	Cluster bool
}

// Read reports whether the replies to the commands in raw are refusals that justify a retry on another node.
func (r Reader) Read(raw []byte, frames [][]byte) (kind topology.Evidence, how How) {
	if len(frames) == 0 {
		return 0, None
	}
	last := frames[len(frames)-1]
	if len(frames) > 1 && bytes.HasPrefix(raw, rawMulti) {
		return r.exec(frames, last)
	}
	for _, f := range frames {
		k, ok := r.One(f)
		if !ok {
			return 0, None
		}
		kind = k
	}
	return kind, Replies
}

// exec is Read for MULTI, commands and EXEC.
func (r Reader) exec(frames [][]byte, last []byte) (kind topology.Evidence, how How) {
	if kind, ok := r.One(last); ok {
		return kind, Aborted
	}
	if bytes.HasPrefix(last, replyExecAbort) {
		for _, f := range frames {
			if kind, ok := r.One(f); ok {
				return kind, Aborted
			}
		}
		return 0, None
	}
	if !bytes.Contains(last, []byte("\r\n-")) {
		return 0, None
	}
	elements, err := resp.Elements(last)
	if err != nil {
		return 0, None
	}
	for _, element := range elements {
		if kind, ok := r.One(element); ok {
			return kind, Perhaps
		}
	}
	return 0, None
}

// One is Read for one reply.
func (r Reader) One(frame []byte) (kind topology.Evidence, ok bool) {
	if len(frame) == 0 || frame[0] != '-' {
		return 0, false
	}
	text, _ := bytes.CutPrefix(frame[1:], abortedBy)
	switch {
	case bytes.HasPrefix(text, readOnlyCode), bytes.HasPrefix(text, oldScript) && bytes.Contains(text, oldReadOnly):
		return topology.ReadOnly, r.WantsPrimary
	case bytes.HasPrefix(text, unblockedCode):
		return topology.ReadOnly, bytes.Contains(text, unblockedByRole)
	case bytes.HasPrefix(text, masterDownCode):
		return topology.MasterDown, true
	case bytes.HasPrefix(text, loadingCode):
		return topology.Loading, true
	case r.Cluster:
		return ofCluster(text)
	}
	return 0, false
}

// ofCluster reads the text of an error of a cluster's node.
func ofCluster(text []byte) (kind topology.Evidence, ok bool) {
	switch {
	case bytes.HasPrefix(text, movedCode):
		return topology.Moved, true
	case bytes.HasPrefix(text, askCode):
		return topology.Asked, true
	case bytes.HasPrefix(text, tryAgainCode):
		return topology.TryAgain, true
	case bytes.HasPrefix(text, clusterDownCode):
		return topology.ClusterDown, true
	}
	return 0, false
}

// OfDial reports whether a dial failed because the server is loading, or is a replica without a primary.
func OfDial(err error) bool {
	se, ok := errors.AsType[*resp.ServerError](err)
	return ok && (se.Code == "LOADING" || se.Code == "MASTERDOWN")
}

// RunsScripts reports whether a command in raw may run a script, which may return a refusal itself after it wrote.
func RunsScripts(raw []byte) bool {
	for len(raw) > 0 {
		n, err := resp.FrameLen(raw)
		if err != nil {
			return true // it was sent: assume the worst case
		}
		args, err := resp.Elements(raw[:n])
		if err != nil {
			return true
		}
		for i := range args {
			args[i], _ = resp.StringOf(args[i])
		}
		if isScript(command.ClassifyBytes(args)) {
			return true
		}
		raw = raw[n:]
	}
	return false
}

// scripts are the commands whose reply a script determines.
var scripts = []*command.Info{command.Lookup("EVAL"), command.Lookup("EVALSHA"), command.Lookup("FCALL")}

// isScript is also true for a command that the table lacks: a module's command may run others.
func isScript(info *command.Info, _ command.Class) bool {
	return info == nil || slices.Contains(scripts, info)
}
