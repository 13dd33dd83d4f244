package engine

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// scripts keeps the sources that SCRIPT LOAD sent to a cluster, for primaries that do not have them yet: new ones, and
// those that were restarted.
type scripts struct {
	mu      sync.Mutex
	sources map[string][]byte // by digest, in lower case
	order   []string          // of the digests, the oldest first
	size    int               // of all sources, in bytes
}

// mostScripts limits the sources that are kept, in bytes.
const mostScripts = 16 << 20

var (
	infoScriptLoad  = subcommand("SCRIPT", "LOAD")
	infoScriptFlush = subcommand("SCRIPT", "FLUSH")

	replyNoScript = []byte("-NOSCRIPT")
)

func subcommand(args ...any) *command.Info {
	info, _ := command.Classify(args)
	return info
}

// notice keeps the source of a SCRIPT LOAD that all primaries executed, and forgets all sources at SCRIPT FLUSH.
func (s *scripts) notice(info *command.Info, raw []byte) {
	switch info {
	case infoScriptLoad:
		if args, err := appendArguments(nil, raw); err == nil && len(args) == 3 {
			s.keep(bytes.Clone(args[2]))
		}
	case infoScriptFlush:
		s.mu.Lock()
		s.sources, s.order, s.size = nil, nil, 0
		s.mu.Unlock()
	}
}

func (s *scripts) keep(source []byte) {
	if len(source) > mostScripts {
		return
	}
	sum := sha1.Sum(source)
	digest := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sources[digest]; known {
		return
	}
	if s.sources == nil {
		s.sources = map[string][]byte{}
	}
	s.sources[digest], s.order, s.size = source, append(s.order, digest), s.size+len(source)
	for s.size > mostScripts {
		oldest := s.order[0]
		s.size -= len(s.sources[oldest])
		delete(s.sources, oldest)
		s.order = s.order[1:]
	}
}

func (s *scripts) source(digest string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sources[strings.ToLower(digest)]
}

// lacksScript returns the source of the script that an encoded command names, if its reply says that the node does not have
// the script, and the engine does.
func (e *Engine) lacksScript(raw []byte, frames [][]byte) []byte {
	if e.cluster == nil || len(frames) != 1 || !bytes.HasPrefix(frames[0], replyNoScript) {
		return nil
	}
	args, err := appendArguments(nil, raw)
	if err != nil || len(args) < 2 {
		return nil
	}
	return e.scripts.source(string(args[1]))
}

// namesScript reports whether a command names a script by its digest.
func namesScript(info *command.Info) bool { return info == infoEvalSha || info == infoEvalShaRO }

// doScript is doShared for a command that names a script. If the node lacks the script and the engine has it, it loads the
// script and sends the command again.
func (e *Engine) doScript(ctx context.Context, info *command.Info, args []any, at slot) ([]byte, error) {
	frame, err := e.doShared(ctx, info, args, at)
	if err != nil || !bytes.HasPrefix(frame, replyNoScript) {
		return frame, err
	}
	raw, err := encode(args)
	if err != nil || !e.loadAgain(ctx, Identity{}, raw, [][]byte{frame}) {
		return frame, nil
	}
	return e.doShared(ctx, info, args, at)
}

// loadAgain loads the script that a node lacks on all primaries. It reports whether the command is worth another attempt.
func (e *Engine) loadAgain(ctx context.Context, id Identity, raw []byte, frames [][]byte) bool {
	source := e.lacksScript(raw, frames)
	if source == nil {
		return false
	}
	_, err := e.doEverywhere(ctx, infoScriptLoad, id, encodeBytes([][]byte{[]byte("SCRIPT"), []byte("LOAD"), source}))
	return err == nil
}
