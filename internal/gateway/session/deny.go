package session

import (
	"fmt"
	"path"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"

	"github.com/seed-2b0d76a6/respool/resp"
)

const noAuth = "-NOAUTH Authentication required."

// objection is the text of the error by which a request is refused before anything else, or
// empty.
func (s *Session) denyReason(r request) string {
	local := !s.authenticated || s.multi.open || s.subscriberMode()
	switch {
	case r.notOnServer && (local || isClient(r.info) || r.zeroInName()):
		return unknownText(r)
	case (local || r.rule != nil) && !r.unknown && !arityFits(r.info, len(r.args)):
		return fmt.Sprintf("wrong number of arguments for '%s' command", fullName(r.info))
	case !s.authenticated && !allowedBeforeAuth[r.info]:
		return noAuth
	case s.multi.open && r.info != nil && (r.info.NoMulti || s.nestedMultiAborts(r.info)):
		return "Command not allowed inside a transaction"
	}
	if text := s.policyReason(r); text != "" {
		return text
	}
	switch {
	case s.subscriberMode() && !allowedForSubscribers[r.info]:
		return fmt.Sprintf("Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"+
			" are allowed in this context", strings.ToLower(strings.ReplaceAll(givenName(r), " ", "|")))
	case s.monitor && touchesKeyspace(r.info):
		return "Replica can't interact with the keyspace"
	}
	return ""
}

// notNested reports whether the server has MULTI and WATCH spoil a transaction. Others refuse them and go on.
func (s *Session) nestedMultiAborts(info *command.Info) bool {
	return (info == infoMulti || info == infoWatch) && s.greeting().isValkey8()
}

// forbidden refuses what the gateway does not let through.
func (s *Session) policyReason(r request) string {
	if r.rule == nil {
		if r.info != nil && r.info.Admin && !r.info.ReadOnly && !s.cfg.Admin { // one that the server alone knows
			return needsAdmin(r)
		}
		return ""
	}
	switch {
	case r.rule.policy == noClient:
		return fmt.Sprintf("respool: %s is not possible through the gateway", givenName(r))
	case r.rule.policy == adminOnly && !s.cfg.Admin:
		return needsAdmin(r)
	case r.info == infoConfigGet && !s.cfg.Admin && matchesSecret(r.args[2:]):
		return fmt.Sprintf("-NOPERM respool: CONFIG GET of %s, or of a pattern that matches one, needs admin: true in the gateway's configuration",
			strings.Join(secretSettings, ", "))
	}
	return s.lockoutReason(r)
}

// lockOut refuses what would change the login of the gateway's own user: the server would let the gateway in no more
// once its connections have to be replaced.
func (s *Session) lockoutReason(r request) string {
	if s.cfg.OwnUser == "" || !changesLogin(r, s.cfg.OwnUser) {
		return ""
	}
	return fmt.Sprintf("respool: %s would lock the gateway out, which logs in as user %q with what its URL holds: "+
		"change it at the server, and the URL with it", r.info.Name, s.cfg.OwnUser)
}

// changesLogin is whether a command changes how a user logs in.
func changesLogin(r request, user string) bool {
	switch r.info {
	case infoConfigSet:
		for i := 2; i < len(r.args) && user == DefaultUser; i += 2 {
			if equalFold(r.args[i], "requirepass") {
				return true
			}
		}
	case infoACLDelUser:
		for _, name := range r.args[2:] {
			if string(name) == user {
				return true
			}
		}
	case infoACLSetUser:
		if string(r.args[2]) != user {
			return false
		}
		for _, word := range r.args[3:] {
			if len(word) > 0 && strings.IndexByte("><#!", word[0]) >= 0 || equalFold(word, "off") || equalFold(word, "reset") || equalFold(word, "resetpass") {
				return true
			}
		}
	}
	return false
}

func needsAdmin(r request) string {
	return fmt.Sprintf("-NOPERM respool: %s needs admin: true in the gateway's configuration", givenName(r))
}

// secrets are settings of servers that hold passwords: with one of them a client could go straight to a server, as
// the gateway's user.
var secretSettings = []string{"requirepass", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass"}

// asksForSecrets is whether one of the patterns of a CONFIG GET matches a secret.
func matchesSecret(patterns [][]byte) bool {
	for _, pattern := range patterns {
		lower := strings.ToLower(cString(pattern, len(pattern)))
		for _, name := range secretSettings {
			if ok, err := path.Match(lower, name); ok || err != nil {
				return true
			}
		}
	}
	return false
}

// asGiven is the name of a command, with a subcommand that nobody knows.
func givenName(r request) string {
	if r.info == nil {
		return strings.ToUpper(cString(r.args[0], 128))
	}
	if r.unknown && r.info.Container() && len(r.args) > 1 {
		return r.info.Name + " " + strings.ToUpper(cString(r.args[1], 128))
	}
	return r.info.Name
}

// reject answers with an error of its own. Inside MULTI the transaction is spoilt; an EXEC
// that is refused ends it.
func (s *Session) reject(r request, text string) Step {
	if r.info != nil && r.info == infoExec {
		return s.endMulti(resp.AppendError(nil, "-EXECABORT Transaction discarded because of: "+strings.TrimPrefix(text, "-")))
	}
	s.abortMulti()
	return failure(text)
}

func arityFits(info *command.Info, n int) bool {
	if info.Arity <= 0 { // 0: nobody told
		return n >= -info.Arity
	}
	return n == info.Arity
}

// unknownText is a server's text for a command that it does not know.
func unknownText(r request) string {
	if r.info != nil && r.info.Container() {
		return fmt.Sprintf("unknown subcommand '%s'. Try %s HELP.", cString(r.args[1], 128), r.info.Name)
	}
	const limit = 128
	var begin strings.Builder
	for _, arg := range r.args[1:] {
		if begin.Len() >= limit {
			break
		}
		fmt.Fprintf(&begin, "'%s' ", cString(arg, limit-begin.Len()))
	}
	return fmt.Sprintf("unknown command '%s', with args beginning with: %s", cString(r.args[0], limit), begin.String())
}

// fullName is a command's name as servers print it: client|id.
func fullName(info *command.Info) string {
	return strings.ReplaceAll(strings.ToLower(info.Name), " ", "|")
}

var (
	infoExec   = command.Lookup("EXEC")
	infoMulti  = command.Lookup("MULTI")
	infoWatch  = command.Lookup("WATCH")
	infoSelect = command.Lookup("SELECT")
	infoClient = command.Lookup("CLIENT")
	// It writes what it has counted.
	infoPFCount = command.Lookup("PFCOUNT")

	infoConfigGet  = command.LookupSub("CONFIG", "GET")
	infoConfigSet  = command.LookupSub("CONFIG", "SET")
	infoACLSetUser = command.LookupSub("ACL", "SETUSER")
	infoACLDelUser = command.LookupSub("ACL", "DELUSER")

	// open may be sent before the client has named itself.
	allowedBeforeAuth = infos("AUTH", "HELLO", "QUIT", "RESET")
	// forSubscribers may be sent by subscribers under RESP2.
	allowedForSubscribers = infos("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE",
		"PING", "QUIT", "RESET")
	// spread reach every client or the whole keyspace without a key.
	keylessCommands = infos("PUBLISH", "SPUBLISH", "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO",
		"DBSIZE", "KEYS", "SCAN", "RANDOMKEY", "PFCOUNT")
	notKeyspace = infos("WATCH", "SSUBSCRIBE", "SUNSUBSCRIBE")
	// publishers may publish to channels. The scripts that only read are not let do that by servers.
	publishers = infos("PUBLISH", "SPUBLISH", "EVAL", "EVALSHA", "FCALL")
	// subscriberQueries tell who is subscribed.
	subscriberQueries = subInfos("PUBSUB", "CHANNELS", "NUMPAT", "NUMSUB", "SHARDCHANNELS", "SHARDNUMSUB")
)

func infos(names ...string) map[*command.Info]bool {
	m := make(map[*command.Info]bool, len(names))
	for _, name := range names {
		m[command.Lookup(name)] = true
	}
	return m
}

func subInfos(container string, names ...string) map[*command.Info]bool {
	m := make(map[*command.Info]bool, len(names))
	for _, name := range names {
		m[command.LookupSub(container, name)] = true
	}
	return m
}

func isClient(info *command.Info) bool { return info == infoClient }

// touchesKeyspace is whether a server refuses the command of a client that monitors.
func touchesKeyspace(info *command.Info) bool {
	if info == nil {
		return false
	}
	return info.Write || keylessCommands[info] || len(info.Keys) > 0 && !notKeyspace[info]
}
