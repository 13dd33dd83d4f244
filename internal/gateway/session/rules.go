package session

import "github.com/seed-2b0d76a6/respool/internal/command"

// inMulti says what becomes of a command between MULTI and EXEC.
type multiRule uint8

const (
	multiQueue  multiRule = iota // sent to the server with the others
	multiNow                     // carried out at once
	multiLocal                   // queued, but answered by the session when EXEC has run
	multiRefuse                  // refused, which spoils the transaction
)

// policy says who may send a command.
type policy uint8

const (
	anyClient policy = iota
	adminOnly
	noClient
)

// rule is what the session knows of a command beyond the command table.
type rule struct {
	run    func(*Session, request) Step // nil: as the command's class says
	multi  multiRule
	policy policy
}

// byName lists the commands that are more than ordinary. A container stands for the
// subcommands that the command table lacks.
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

	"MULTI":   {run: (*Session).multiCommand, multi: multiNow},
	"EXEC":    {run: (*Session).exec, multi: multiNow},
	"DISCARD": {run: (*Session).discard, multi: multiNow},
	"WATCH":   {run: (*Session).watch, multi: multiNow},
	"UNWATCH": {run: (*Session).unwatch},

	"SUBSCRIBE":    {run: (*Session).subscribe, multi: multiRefuse},
	"PSUBSCRIBE":   {run: (*Session).subscribe, multi: multiRefuse},
	"SSUBSCRIBE":   {run: (*Session).subscribe, multi: multiRefuse},
	"UNSUBSCRIBE":  {run: (*Session).unsubscribe, multi: multiRefuse},
	"PUNSUBSCRIBE": {run: (*Session).unsubscribe, multi: multiRefuse},
	"SUNSUBSCRIBE": {run: (*Session).unsubscribe, multi: multiRefuse},

	"MONITOR":      {run: (*Session).monitorCommand, multi: multiRefuse},
	"SCRIPT DEBUG": {run: (*Session).scriptDebug, multi: multiRefuse},
	"WAIT":         {run: (*Session).wait},
	"WAITAOF":      {run: (*Session).wait},
	// The server reads nothing more from the conn of a script until it has ended.
	"SCRIPT KILL":    {run: (*Session).forwardInAnyDB},
	"FUNCTION KILL":  {run: (*Session).forwardInAnyDB},
	"FUNCTION STATS": {run: (*Session).forwardInAnyDB},

	"CLIENT":         {},
	"CLIENT ID":      {run: (*Session).clientID, multi: multiLocal},
	"CLIENT SETNAME": {run: (*Session).clientSetName, multi: multiLocal},
	"CLIENT GETNAME": {run: (*Session).clientGetName, multi: multiLocal},
	"CLIENT SETINFO": {run: (*Session).clientSetInfo, multi: multiLocal},
	"CLIENT CAPA":    {run: (*Session).clientCapa, multi: multiLocal},
	// It would make the server take a lane for a source of imported keys.
	"CLIENT IMPORT-SOURCE": {policy: noClient},
	"CLIENT NO-EVICT":      {run: (*Session).clientNoEvict, multi: multiLocal},
	"CLIENT NO-TOUCH":      {run: (*Session).clientNoTouch, multi: multiLocal},
	"CLIENT GETREDIR":      {run: (*Session).clientGetRedir, multi: multiLocal},
	"CLIENT TRACKINGINFO":  {run: (*Session).clientTrackingInfo, multi: multiLocal},
	"CLIENT REPLY":         {run: (*Session).clientReply, multi: multiRefuse},
	"CLIENT TRACKING":      {run: (*Session).clientTracking, multi: multiRefuse},
	"CLIENT CACHING":       {run: (*Session).clientCaching, multi: multiRefuse},
	"CLIENT INFO":          {run: (*Session).clientInfo, multi: multiRefuse},
	"CLIENT LIST":          {run: (*Session).clientList, multi: multiRefuse},
	"CLIENT KILL":          {run: (*Session).clientKill, multi: multiRefuse},
	"CLIENT UNBLOCK":       {run: (*Session).clientUnblock, multi: multiRefuse},
	"CLIENT PAUSE":         {run: (*Session).clientPause, multi: multiRefuse, policy: adminOnly},
	"CLIENT UNPAUSE":       {run: (*Session).clientUnpause, multi: multiRefuse, policy: adminOnly},

	// DEBUG may change its conn.
	"DEBUG":  {run: (*Session).forwardAndDestroy, multi: multiRefuse, policy: adminOnly},
	"CONFIG": {policy: adminOnly},
	// Its pattern decides: see asksForSecrets.
	"CONFIG GET": {},
	// They show hashes of passwords.
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
}

// rules holds byName, and the operator's commands beside, for a quick look. Nobody changes it.
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

// subcommandPolicy is the container's, if info is a subcommand.
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

// consoleInfo and consoleRule are RESPOOL's, which no server knows.
var (
	consoleInfo = &command.Info{Name: "RESPOOL", Arity: -1, Class: command.Stateful}
	consoleRule = &rule{run: (*Session).console, multi: multiRefuse}
)

func (s *Session) console(r request) Step {
	return Step{Kind: Console, Barrier: true, Raw: r.raw, Info: r.info}
}
