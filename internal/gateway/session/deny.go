package session

import (
	"fmt"
	"path"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/command"
)

const noAuth = "-NOAUTH Authentication required."

// denyReason returns the error text if the session refuses a request, or an empty string.
func (s *Session) denyReason(r request) string {
	local := !s.authenticated || s.multi.open || s.subscriberMode()
	switch {
	case r.notOnServer && (local || isClient(r.info) || r.zeroInName()):
		return unknownText(r)
	case (local || r.rule != nil) && !r.unknown && !arityFits(r.info, len(r.args)):
		return fmt.Sprintf("wrong number of arguments for '%s' command", fullName(r.info))
	case !s.authenticated && !allowedBeforeAuth[r.info]:
		return noAuth
	case s.multi.open && r.info != nil && (r.info.NoMulti || (r.info == infoMulti || r.info == infoWatch) && s.cfg.greeting().nestingAborts()):
		return "Command not allowed inside a transaction"
	}
	if text := s.cfg.policyReason(r); text != "" {
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

// policyReason returns the error text if the gateway does not allow a command, or an empty string.
func (cfg *Config) policyReason(r request) string {
	if r.rule == nil {
		if r.info != nil && r.info.Admin && !r.info.ReadOnly && !cfg.Admin { // a command that only the server knows
			return needsAdmin(r)
		}
		return ""
	}
	switch {
	case r.rule.policy == noClient && cfg.Cluster && !cfg.ClusterFace && ofCluster(r.info):
		return clusterDisabled
	case r.rule.policy == noClient:
		return fmt.Sprintf("respool: %s is not possible through the gateway", givenName(r))
	case r.rule.policy == adminOnly && !cfg.Admin:
		return needsAdmin(r)
	case r.info == infoConfigGet && !cfg.Admin && matchesSecret(r.args[2:]):
		return fmt.Sprintf("-NOPERM respool: CONFIG GET of %s, or of a pattern that matches one, needs admin: true in the gateway's configuration",
			strings.Join(secretSettings, ", "))
	}
	return cfg.lockoutReason(r)
}

// lockoutReason returns the error text if a command would change the login of the gateway's own server user: the server
// would refuse the gateway's next connection.
func (cfg *Config) lockoutReason(r request) string {
	if cfg.OwnUser == "" || !changesLogin(r, cfg.OwnUser) {
		return ""
	}
	return fmt.Sprintf("respool: %s would lock the gateway out, because it logs in as user %q with the credentials of its URL: "+
		"change the user on the server and the URL together", r.info.Name, cfg.OwnUser)
}

// changesLogin reports whether a command changes the login of a user.
func changesLogin(r request, user string) bool {
	switch r.info {
	case infoConfigSet:
		for i := 2; i < len(r.args) && user == command.DefaultUser; i += 2 {
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

// secretSettings are server settings that contain passwords. With one of them a client could connect to a server
// directly as the gateway's user.
var secretSettings = []string{"requirepass", "masterauth", "tls-key-file-pass", "tls-client-key-file-pass"}

// matchesSecret reports whether one of the patterns of a CONFIG GET matches a secret setting.
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

// givenName returns the name of a command as the client sent it, if the command or subcommand is unknown.
func givenName(r request) string {
	if r.info == nil {
		return strings.ToUpper(cString(r.args[0], 128))
	}
	if r.unknown && r.info.Container() && len(r.args) > 1 {
		return r.info.Name + " " + strings.ToUpper(cString(r.args[1], 128))
	}
	return r.info.Name
}

func arityFits(info *command.Info, n int) bool {
	if info.Arity <= 0 { // 0: unknown
		return n >= -info.Arity
	}
	return n == info.Arity
}

// unknownText returns a server's error text for an unknown command.
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

// fullName returns a command's name as servers print it: client|id.
func fullName(info *command.Info) string {
	return strings.ReplaceAll(strings.ToLower(info.Name), " ", "|")
}

var (
	infoExec   = command.Lookup("EXEC")
	infoMulti  = command.Lookup("MULTI")
	infoWatch  = command.Lookup("WATCH")
	infoSelect = command.Lookup("SELECT")
	infoClient = command.Lookup("CLIENT")

	infoCluster = command.Lookup("CLUSTER")
	// PFCOUNT caches its count in the key.
	infoPFCount = command.Lookup("PFCOUNT")

	infoConfigGet  = command.LookupSub("CONFIG", "GET")
	infoConfigSet  = command.LookupSub("CONFIG", "SET")
	infoACLSetUser = command.LookupSub("ACL", "SETUSER")
	infoACLDelUser = command.LookupSub("ACL", "DELUSER")

	// allowedBeforeAuth are the commands for clients that have not authenticated.
	allowedBeforeAuth = infos("AUTH", "HELLO", "QUIT", "RESET")
	// allowedForSubscribers are the commands for subscribers in RESP2.
	allowedForSubscribers = infos("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE",
		"PING", "QUIT", "RESET")
	// keylessCommands affect all clients or the whole keyspace without a key.
	keylessCommands = infos("PUBLISH", "SPUBLISH", "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO",
		"DBSIZE", "KEYS", "SCAN", "RANDOMKEY", "PFCOUNT")
	notKeyspace = infos("WATCH", "SSUBSCRIBE", "SUNSUBSCRIBE")
	// publishers may publish to channels. Servers do not allow read-only scripts to publish.
	publishers = infos("PUBLISH", "SPUBLISH", "EVAL", "EVALSHA", "FCALL")
	// subscriberQueries return information about subscribers.
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

func ofCluster(info *command.Info) bool {
	return info != nil && (info == infoCluster || isSubcommandOf(info, "CLUSTER"))
}

func isClient(info *command.Info) bool { return info == infoClient }

// touchesKeyspace reports whether a server refuses the command from a client in MONITOR.
func touchesKeyspace(info *command.Info) bool {
	if info == nil {
		return false
	}
	return info.Write || keylessCommands[info] || len(info.Keys) > 0 && !notKeyspace[info]
}
