package session

import "github.com/seed-2b0d76a6/respool/internal/command"

// multiRule is the handling of a command between MULTI and EXEC.
type multiRule uint8

const (
	multiQueue  multiRule = iota // queue it for the server
	multiNow                     // execute it immediately
	multiLocal                   // queue it; the session answers it after EXEC
	multiRefuse                  // refuse it and abort the transaction
)

// policy is the set of clients that may run a command.
type policy uint8

const (
	anyClient policy = iota
	adminOnly        // clients of a gateway with Admin
	noClient
)

// rule is the session's handling of a command, beyond the command table.
type rule struct {
	run    func(*Session, request) Step // nil: the class of the command decides
	multi  multiRule
	policy policy
}

// The functions below adapt handlers that need only a part of the session.

func stateless(f func(request) Step) func(*Session, request) Step {
	return func(_ *Session, r request) Step { return f(r) }
}

func onPin(f func(*pinnedConn, request) Step) func(*Session, request) Step {
	return func(s *Session, r request) Step { return f(&s.pin, r) }
}

func onMulti(f func(*multi, request) Step) func(*Session, request) Step {
	return func(s *Session, r request) Step { return f(&s.multi, r) }
}

func onReplyMode(f func(*replyMode, request) Step) func(*Session, request) Step {
	return func(s *Session, r request) Step { return f(&s.replies, r) }
}

func onAttributes(f func(*attributes, request) Step) func(*Session, request) Step {
	return func(s *Session, r request) Step { return f(&s.attributes, r) }
}

// namedRules are the rules by command name. The rule of a container also applies to subcommands that the command table
// lacks.
var namedRules = map[string]rule{
	"PING":      {run: (*Session).ping},
	"ECHO":      {run: (*Session).echo},
	"QUIT":      {run: (*Session).quit, multi: multiNow},
	"RESET":     {run: (*Session).reset, multi: multiNow},
	"SELECT":    {run: (*Session).selectDB},
	"AUTH":      {run: (*Session).auth, multi: multiRefuse},
	"HELLO":     {run: (*Session).helloCommand, multi: multiLocal},
	"READONLY":  {run: (*Session).clusterMode, multi: multiLocal},
	"READWRITE": {run: (*Session).clusterMode, multi: multiLocal},
	"ASKING":    {run: (*Session).clusterMode, multi: multiLocal},

	"MULTI":   {run: onMulti((*multi).begin), multi: multiNow},
	"EXEC":    {run: (*Session).exec, multi: multiNow},
	"DISCARD": {run: (*Session).discard, multi: multiNow},
	"WATCH":   {run: (*Session).watch, multi: multiNow},
	"UNWATCH": {run: onPin((*pinnedConn).unwatch)},

	"SUBSCRIBE":    {run: (*Session).subscribe, multi: multiRefuse},
	"PSUBSCRIBE":   {run: (*Session).subscribe, multi: multiRefuse},
	"SSUBSCRIBE":   {run: (*Session).subscribe, multi: multiRefuse},
	"UNSUBSCRIBE":  {run: (*Session).unsubscribe, multi: multiRefuse},
	"PUNSUBSCRIBE": {run: (*Session).unsubscribe, multi: multiRefuse},
	"SUNSUBSCRIBE": {run: (*Session).unsubscribe, multi: multiRefuse},

	"MONITOR":      {run: (*Session).startMonitor, multi: multiRefuse},
	"SCRIPT DEBUG": {run: onPin((*pinnedConn).scriptDebug), multi: multiRefuse},
	"WAIT":         {run: (*Session).wait},
	"WAITAOF":      {run: (*Session).wait},
	// A server does not read from the connection of a script until the script has ended.
	"SCRIPT KILL":    {run: onPin((*pinnedConn).forwardInAnyDB)},
	"FUNCTION KILL":  {run: onPin((*pinnedConn).forwardInAnyDB)},
	"FUNCTION STATS": {run: onPin((*pinnedConn).forwardInAnyDB)},

	"CLIENT":         {},
	"CLIENT ID":      {run: (*Session).clientID, multi: multiLocal},
	"CLIENT SETNAME": {run: onAttributes((*attributes).setName), multi: multiLocal},
	"CLIENT GETNAME": {run: (*Session).clientGetName, multi: multiLocal},
	"CLIENT SETINFO": {run: onAttributes((*attributes).setInfo), multi: multiLocal},
	"CLIENT CAPA":    {run: stateless(clientCapa), multi: multiLocal},
	// It would mark a lane as a source of imported keys.
	"CLIENT IMPORT-SOURCE": {policy: noClient},
	"CLIENT NO-EVICT":      {run: onAttributes((*attributes).setNoEvict), multi: multiLocal},
	"CLIENT NO-TOUCH":      {run: onAttributes((*attributes).setNoTouch), multi: multiLocal},
	"CLIENT GETREDIR":      {run: onPin((*pinnedConn).clientGetRedir), multi: multiLocal},
	"CLIENT TRACKINGINFO":  {run: (*Session).clientTrackingInfo, multi: multiLocal},
	"CLIENT REPLY":         {run: onReplyMode((*replyMode).set), multi: multiRefuse},
	"CLIENT TRACKING":      {run: onPin((*pinnedConn).clientTracking), multi: multiRefuse},
	"CLIENT CACHING":       {run: onPin((*pinnedConn).clientCaching), multi: multiRefuse},
	"CLIENT INFO":          {run: stateless(clientInfo), multi: multiRefuse},
	"CLIENT LIST":          {run: stateless(clientList), multi: multiRefuse},
	"CLIENT KILL":          {run: stateless(clientKill), multi: multiRefuse},
	"CLIENT UNBLOCK":       {run: stateless(clientUnblock), multi: multiRefuse},
	"CLIENT PAUSE":         {run: stateless(clientPause), multi: multiRefuse, policy: adminOnly},
	"CLIENT UNPAUSE":       {run: stateless(clientUnpause), multi: multiRefuse, policy: adminOnly},

	// DEBUG may change its connection.
	"DEBUG":  {run: onPin((*pinnedConn).forwardAndDestroy), multi: multiRefuse, policy: adminOnly},
	"CONFIG": {policy: adminOnly},
	// The patterns decide: see matchesSecret.
	"CONFIG GET": {},
	// Their replies contain password hashes.
	"ACL LIST":    {policy: adminOnly},
	"ACL GETUSER": {policy: adminOnly},
	"MODULE":      {policy: adminOnly},
	"ACL":         {policy: adminOnly},

	"SYNC":           {policy: noClient},
	"PSYNC":          {policy: noClient},
	"REPLCONF":       {policy: noClient},
	"SHUTDOWN":       {policy: noClient},
	"RESTORE-ASKING": {policy: noClient},
	"SENTINEL":       {policy: noClient},
	"CLUSTER":        {policy: noClient},

	"CLUSTER SLOTS":           {run: onSelf((*Session).clusterSlots), multi: multiLocal},
	"CLUSTER SHARDS":          {run: onSelf((*Session).clusterShards), multi: multiLocal},
	"CLUSTER NODES":           {run: onSelf((*Session).clusterNodes), multi: multiLocal},
	"CLUSTER MYID":            {run: onSelf((*Session).clusterMyID), multi: multiLocal},
	"CLUSTER MYSHARDID":       {run: onSelf((*Session).clusterMyID), multi: multiLocal},
	"CLUSTER INFO":            {run: onClusterFace((*Session).clusterInfo), multi: multiLocal},
	"CLUSTER KEYSLOT":         {run: onClusterFace((*Session).clusterKeySlot), multi: multiLocal},
	"CLUSTER REPLICAS":        {run: onClusterFace((*Session).clusterReplicas), multi: multiLocal},
	"CLUSTER SLAVES":          {run: onClusterFace((*Session).clusterReplicas), multi: multiLocal},
	"CLUSTER LINKS":           {run: onClusterFace((*Session).clusterLinks), multi: multiLocal},
	"CLUSTER COUNTKEYSINSLOT": {run: onClusterFace((*Session).forwardBySlot)},
	"CLUSTER GETKEYSINSLOT":   {run: onClusterFace((*Session).forwardBySlot)},
}

// rules holds namedRules and a rule for each other administrative command. It is immutable.
var rules = makeRules()

func makeRules() map[*command.Info]*rule {
	m := make(map[*command.Info]*rule)
	container := policy(anyClient)
	for info := range command.All() {
		r, listed := namedRules[info.Name]
		switch {
		case info.Container():
			container = r.policy
		case listed:
		case isSubcommandOf(info, "SENTINEL"):
			r, listed = rule{policy: noClient}, true
		case info.Admin && !info.ReadOnly:
			r, listed = rule{policy: max(adminOnly, subcommandPolicy(info, container))}, true
		}
		if listed {
			m[info] = &r
		}
	}
	return m
}

// subcommandPolicy returns the policy of the container if info is a subcommand.
func subcommandPolicy(info *command.Info, container policy) policy {
	for i := range len(info.Name) {
		if info.Name[i] == ' ' {
			return container
		}
	}
	return anyClient
}

func isSubcommandOf(info *command.Info, container string) bool {
	return len(info.Name) > len(container) && info.Name[:len(container)] == container && info.Name[len(container)] == ' '
}

// consoleInfo and consoleRule describe RESPOOL, which no server has.
var (
	consoleInfo = &command.Info{Name: "RESPOOL", Arity: -1, Class: command.Stateful}
	consoleRule = &rule{run: stateless(console), multi: multiRefuse}
)

func console(r request) Step {
	return Step{Kind: Console, Barrier: true, Raw: r.raw, Info: r.info}
}

// clientCapa handles CLIENT CAPA. Like a server, the gateway ignores capabilities that it does not use.
func clientCapa(request) Step { return answer(replyOK) }
