package session

import (
	"bytes"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

// request is a request with the description of its command.
type request struct {
	raw     []byte
	args    [][]byte
	info    *command.Info // nil for an unknown command
	rule    *rule         // nil for a command without a rule
	class   command.Class // of the command with these arguments
	unknown bool          // the effect of the command, or of the subcommand of info, on its connection is unknown
	// notOnServer means that the server does not have the command.
	notOnServer bool
	// learned means that the server was queried for the command.
	learned bool
}

// resolve completes the description of the command with its rule and, if the command table lacks the command, with the
// description from the server.
func (r *request) resolve(cfg *Config, authenticated bool) (known command.Known) {
	r.unknown = r.info == nil || r.info.Container() && len(r.args) > 1
	if !r.unknown {
		r.rule = rules[r.info]
		return command.Learned
	}
	switch {
	case r.zeroInName():
		r.notOnServer = true
		return command.Absent
	case equalFold(r.args[0], "respool"):
		r.unknown, r.info, r.rule = false, consoleInfo, consoleRule
		return command.Learned
	}
	r.rule = rules[r.info] // the rule of a container is also that of subcommands that the table lacks
	if cfg.Lookup == nil || r.rule != nil && !cfg.mayLearn(r) {
		r.notOnServer = true
		return command.Absent
	}
	info, known := cfg.Lookup(r.args)
	if known == command.Learned {
		r.unknown, r.info, r.class = info.Class == command.Unknown, info, info.Class
	}
	r.notOnServer = known == command.Absent || known == command.NotAsked && !authenticated
	return known
}

// mayLearn reports whether the server is queried for a subcommand of a container with a rule: clients must be allowed
// to run it.
func (cfg *Config) mayLearn(r *request) bool {
	return !isClient(r.info) && r.rule.policy != noClient && (cfg.Admin || r.rule.policy == anyClient)
}

// zeroInName reports whether the name of the command or subcommand contains a zero byte. A server may compare names
// only up to the zero byte, and so execute a command with another name.
func (r *request) zeroInName() bool {
	return hasZero(r.args[0]) || r.info != nil && r.info.Container() && hasZero(r.args[1])
}

func hasZero(b []byte) bool { return bytes.IndexByte(b, 0) >= 0 }
